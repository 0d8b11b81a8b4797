"""What each kernel takes from a GPU, and the least time that it needs there: the roofline of Williams et al. 2009.

    time >= max(bytes / bandwidth, FLOPs / peak)

for arrays that come from memory. Arrays that a kernel has just left in the L2 cache may be read faster. A launch takes
more time, and so do too few threads to keep a GPU busy.
Two tables say what the kernels of kernels.cu take. `minigan kernelcheck` checks the first against NVIDIA's compiler;
the second is counted by hand from the source.
"""

from functools import partial
from typing import NamedTuple

# name -> the most registers of a thread, which are allocated in eights; bytes of shared memory of a block; the most
# bytes of local memory of a thread, 0 if left out.
RESOURCES = {
    'bits': (40, 0), 'uniform': (40, 0), 'gather_images': (16, 0), 'stack': (16, 0),
    'normal': (56, 0, 32),  # sinf and cosf have a slow path for large angles, which is never taken
    'tanh_backward': (16, 0), 'moving_average_': (16, 0), 'leaky_relu_dropout_backward': (16, 0),
    'cross_entropy': (24, 1024), 'cross_entropy_backward': (16, 0), 'adam_': (24, 0), 'sgd_momentum_': (16, 0),
    'scale_dropout': (40, 0), 'scale_dropout_backward': (16, 0),
    'maxout_dropout': (56, 0), 'maxout_dropout_backward': (64, 0),
    'sigmoid_scale': (24, 0), 'sigmoid_scale_backward': (16, 0),
    'square_sums': (40, 3072), 'euclidean_norm': (64, 3072), 'clip_norm_': (48, 2048),
    'add_noise': (56, 0, 32), 'advance_': (56, 0), 'patches': (48, 0), 'unpatches': (40, 0),
    'batch_norm_moments': (32, 1024), 'batch_norm_leaky_relu_': (56, 1024),
    'batch_norm_leaky_relu_sums': (40, 1024), 'batch_norm_leaky_relu_backward_': (48, 1024),
    'dense': (144, 26_624), 'dense_backward_input': (152, 26_624), 'dense_backward_params_': (152, 26_624),
    'dense_leaky_relu_dropout': (112, 26_624), 'dense_tanh': (120, 26_624),
    'sum_parts': (40, 0), 'bias_leaky_relu_dropout': (40, 0), 'bias_tanh': (40, 0),
}

# How FLOPs are counted. 1: a float's addition, multiplication, comparison, maximum or conversion; -x and |x| are free,
# and so is what is the same for a whole column. FUNCTION: a division, root, exponential, logarithm, tanh, sine or
# cosine; the special function unit gives 16 results a clock, while the others give 128 multiply-adds, 256 FLOPs (64
# and 128 on the A100 and T4; not
# compared with the CUDA C++ Programming Guide, throughput of arithmetic instructions). PHILOX: a block of random
# numbers is integer work, but takes the same slots: a round has two 64-bit products, each of at least four 32-bit
# multiply-adds, and four exclusive ors and two sums of two words each. Indices are not counted.
FUNCTION = 16
PHILOX = 10 * (2 * 4 * 2 + 4 * 2 + 2 * 2)
UNIFORM = 3  # shift, convert, multiply


def product(m, n, outputs=1, after=0):
    """Bytes and FLOPs of the product of m x n and n x n numbers, for an element of m x n.

    outputs: how many arrays it leaves; after: FLOPs that follow for each of their elements.
    """
    return 4 * (1 + outputs + n / m), 2 * n + after


TRAFFIC = {  # for an element of m x n: bytes that must come from or go to memory, each once; FLOPs; or a function of
    # m and n that gives them
    'dense': product, 'dense_backward_input': product, 'dense_backward_params_': product,
    'dense_leaky_relu_dropout': partial(product, outputs=2, after=PHILOX + 6),
    'dense_tanh': partial(product, after=1 + FUNCTION),
    'tanh_backward': (12, 3),
    'cross_entropy': (4, 7 + 2 * FUNCTION),
    'cross_entropy_backward': (8, 7 + 2 * FUNCTION),
    'stack': (16, 0),  # of two arrays of m x n
    'gather_images': (5, 3),
    'adam_': (28, 8 + 2 * FUNCTION),  # with a first moment; without, 8 bytes and 2 FLOPs less
    'sgd_momentum_': (20, 4),
    'moving_average_': (12, 3),
    'square_sums': (4, 4),
    'euclidean_norm': (4, 4),
    'clip_norm_': (8, 1),
    'advance_': (0, 0),  # a few hundred numbers, however large m and n are
    'batch_norm_moments': (4, 4),  # what it leaves is small next to x: two numbers for a column of a chunk
    'patches': (5, 0),  # of a number of the patches, four times as many as of the images: k = 2 stride
    'unpatches': (5, 1),
    'sum_parts': (16, 3),  # of three parts, as for the next two
    'bias_leaky_relu_dropout': (20, PHILOX + 8),  # a Philox block of its own for each element
    'leaky_relu_dropout_backward': (12, 3),
    'bias_tanh': (16, 3 + FUNCTION),
    'batch_norm_leaky_relu_': (12, 10),
    'batch_norm_leaky_relu_sums': (8, 8),
    'batch_norm_leaky_relu_backward_': (12, 17),
    'bits': (2, PHILOX / 16 + 2),
    'uniform': (4, PHILOX / 8 + UNIFORM),
    'scale_dropout': (12, PHILOX + 4),  # a Philox block of its own for each element
    'scale_dropout_backward': (12, 2),
    'maxout_dropout': (20, PHILOX + 4),  # for 3 pieces
    'maxout_dropout_backward': (32, 13 + FUNCTION),  # for 3 pieces
    'sigmoid_scale': (12, 4 + 3 * FUNCTION),
    'sigmoid_scale_backward': (12, 4),
    'add_noise': (8, PHILOX + UNIFORM + 2 * FUNCTION + 4),
    'normal': (4, PHILOX + UNIFORM + 2 * FUNCTION + 2),  # of a pair: two blocks, log, root, sine, cosine, four products
}


class Gpu(NamedTuple):
    """bytes/s of its memory, FLOP/s in float32, architecture, multiprocessors."""

    bandwidth: float
    peak: float
    architecture: str
    multiprocessors: int


GPUS = {  # of the A100 80GB SXM, H100 SXM, RTX 4090, L4 and T4, as they are commonly quoted: not compared with NVIDIA's
    # data sheets and white papers
    'A100': Gpu(2039e9, 19.5e12, 'sm_80', 108),
    'H100': Gpu(3.35e12, 67e12, 'sm_90', 132),
    'RTX4090': Gpu(1008e9, 82.6e12, 'sm_89', 128),
    'L4': Gpu(300e9, 30.3e12, 'sm_89', 58),
    'T4': Gpu(320e9, 8.1e12, 'sm_75', 40),
}


class Room(NamedTuple):
    """What a multiprocessor holds: threads, blocks, bytes of shared memory; of these, bytes that each block costs."""

    threads: int
    blocks: int
    shared: int
    reserved: int = 1024


ROOM = {  # sm_89, 100 and 120 not compared with NVIDIA's sources; the others are those of CCCL, arch_traits.cuh
    'sm_75': Room(1024, 16, 64 << 10, 0), 'sm_80': Room(2048, 32, 164 << 10), 'sm_86': Room(1536, 16, 100 << 10),
    'sm_89': Room(1536, 24, 100 << 10), 'sm_90': Room(2048, 32, 228 << 10), 'sm_100': Room(2048, 32, 228 << 10),
    'sm_120': Room(1536, 24, 100 << 10),
}
REGISTERS = 65_536  # of a multiprocessor, on all of these


def per_element(traffic, m, n):
    """(bytes, FLOPs) of an element of m x n. traffic: an entry of TRAFFIC."""
    return traffic(m, n) if callable(traffic) else traffic


def least_time(gpu, traffic, elements):
    """The least seconds for a number of elements, and what bounds them: 'memory' or 'FLOPs'. traffic: bytes, FLOPs."""
    bytes_, flops = traffic
    moving, computing = elements * bytes_ / gpu.bandwidth, elements * flops / gpu.peak
    return max(moving, computing), 'memory' if moving >= computing else 'FLOPs'


def fitting(architecture, registers, shared=0, *, block=256):
    """How many blocks a multiprocessor holds at once. registers: of a thread; shared: bytes of a block."""
    room, registers = ROOM[architecture], -(-registers // 8) * 8  # allocated in eights
    return min(room.threads // block, room.blocks, REGISTERS // (registers * block),
               room.shared // max(1, shared + room.reserved))
