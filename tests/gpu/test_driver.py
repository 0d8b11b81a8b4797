"""The stand-in below the real CuPy: arguments, memory, CuPy's own kernels, counts, and what it refuses."""

import numpy as np
import pytest

from minigan.gpu import twins
from minigan.gpu.launch import Launcher

ECHO = '''
typedef unsigned long long u64;
extern "C" __global__ void echo(u64 a, float b, int c, long long d, const float* __restrict__ x /* any */,
        const float* __restrict__ nothing /* any */, u64* __restrict__ out /* any */) {
    if (threadIdx.x || threadIdx.y || blockIdx.x || blockIdx.y) return;
    float values[2] = {b, x[0]};
    unsigned bits[2];
    for (int i = 0; i < 2; ++i) bits[i] = __float_as_uint(values[i]);
    u64 found[] = {a, bits[0], (u64)c, (u64)d, (u64)x, (u64)nothing, bits[1], gridDim.x, gridDim.y, blockDim.x,
                   blockDim.y};
    for (int i = 0; i < 11; ++i) out[i] = found[i];
}
'''


def bits(number):
    return int(np.float32(number).view(np.uint32))


def test_the_bytes_of_every_argument_reach_the_kernel(cupy):
    launcher = Launcher(cupy.RawModule(code=ECHO, options=('--std=c++17',)), ECHO)
    x, out = cupy.arange(10, dtype=np.float32)[3:], cupy.zeros(11, np.uint64)
    launcher.launch('echo', (5, 2), (8, 4), 2**63 + 2**40 + 7, 0.1, -3, -2**40, x, None, out)
    expected = [2**63 + 2**40 + 7, bits(0.1), 2**64 - 3, 2**64 - 2**40, x.data.ptr, 0, bits(3), 5, 2, 8, 4]
    assert out.get().tolist() == expected


def test_new_arrays_are_undefined_and_memory_is_reused(cupy, driver):
    assert np.isnan(cupy.empty((2, 3), np.float32).get()).all()
    one = cupy.ones(1000, np.float32)
    place = one.data.ptr
    del one
    again = cupy.empty(1000, np.float32)
    assert again.data.ptr == place and np.isnan(again.get()).all()


def test_copies_waits_memsets_and_launches_are_counted(cupy, driver):
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = cupy.asarray(host)
    assert driver.costs(lambda: cupy.asarray(host)) == {'uploads': 1}
    assert driver.costs(x.get) == {'downloads': 1, 'waits': 1}
    y = cupy.zeros_like(x)
    assert driver.costs(lambda: y.data.copy_from_device_async(x.data, x.nbytes)) == {'copies': 1}
    assert driver.costs(lambda: cupy.zeros(5)) == {'memsets': 1}
    assert driver.costs(lambda: x + x) == {'launches': 1}
    assert driver.launched == {'cupy_add__float32_float32_float32': 1}
    assert driver.costs(lambda: float(x.mean())) == {'launches': 1, 'downloads': 1, 'waits': 1}
    assert driver.costs(lambda: x @ x.T) == {'products': 1}
    assert driver.costs(cupy.cuda.Device().synchronize) == {'waits': 1}
    assert driver.costs(lambda: cupy.empty(2**24, np.uint8)) == {'allocations': 1}
    cupy.get_default_memory_pool().free_all_blocks()
    assert driver.counts['frees'] >= 1


@pytest.mark.parametrize('compute', [
    lambda xp, x: xp.maximum(x, 2) + x.T[:, :1].T * 3, lambda xp, x: x[::-1, ::2] / 7, lambda xp, x: x.sum(axis=0),
    lambda xp, x: x.reshape(2, 2, 6).max(axis=1), lambda xp, x: x.mean(dtype=np.float64), lambda xp, x: x.std(axis=0),
    lambda xp, x: xp.argsort(-x, axis=1), lambda xp, x: xp.argsort(x.ravel() % 3, kind='stable'),
    lambda xp, x: x.take(xp.arange(3), axis=1), lambda xp, x: x[xp.asarray([2, 0])],
    lambda xp, x: xp.where(x > 0, x, 0), lambda xp, x: xp.concatenate([x, x]), lambda xp, x: xp.frexp(x)[1],
    lambda xp, x: xp.ldexp(x, -3), lambda xp, x: xp.exp(x) + xp.log1p(abs(x)) + xp.tanh(x) + abs(x) ** 1.5,
    lambda xp, x: x @ x.T, lambda xp, x: x.T @ x, lambda xp, x: x @ x[0], lambda xp, x: x[0] @ x[1],
    lambda xp, x: x.astype(np.float64) @ x.T.astype(np.float64), lambda xp, x: abs(x).astype(np.uint8) + np.uint8(250),
    lambda xp, x: xp.isfinite(x).all(), lambda xp, x: xp.linalg.norm(x), lambda xp, x: xp.searchsorted(x[0], x),
    lambda xp, x: xp.ones((300, 700), np.float32).sum(axis=0)])
def test_cupys_own_kernels_compute_what_numpy_does(cupy, compute):
    x = np.arange(24, dtype=np.float32).reshape(4, 6) - 7
    ours, theirs = compute(cupy, cupy.asarray(x)), compute(np, x)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    np.testing.assert_allclose(ours.get(), theirs, rtol=1e-6)


def test_an_error_of_the_compiler_is_cupys(cupy):
    with pytest.raises(cupy.cuda.compiler.CompileException, match=r'kernels.cu:\d+:\d+: error: .*nonsense'):
        cupy.RawModule(code='extern "C" __global__ void f(int n) { nonsense(n); }').get_function('f')


def test_a_kernel_that_is_not_there_is_an_error(cupy):
    module = cupy.RawModule(code='extern "C" __global__ void f(int n) { }')
    with pytest.raises(RuntimeError, match='cudaErrorSymbolNotFound'):
        module.get_function('g')


def test_a_kernel_that_writes_where_nothing_is_stops_with_its_name_and_line(cupy):
    kernel = cupy.RawModule(code='extern "C" __global__ void wild(float* x) {\n    *x = 1;\n}').get_function('wild')
    with pytest.raises(RuntimeError, match='wild: .*null pointer|wild: .*outside'):
        kernel((1,), (1,), (np.uintp(8),))


def test_a_launch_that_no_gpu_takes_is_cudas_error(cupy):
    kernel = cupy.RawModule(code='extern "C" __global__ void f(int n) { }').get_function('f')
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match='cudaErrorInvalidValue'):
        kernel((1,), (1025,), (np.int32(1),))


@pytest.mark.parametrize('use, error', [
    (lambda cp, x: cp.cumsum(x.reshape(2, 4), axis=1), 'dynamic shared memory'),
    (lambda cp, x: cp.bincount(x.astype(int)), 'no atomics'),
    (lambda cp, x: x * 1j, 'complex'), (lambda cp, x: x.astype(np.float16), 'float16'),
    (lambda cp, x: cp.sort(x), 'radix_sort: .*cudaErrorInvalidDevice'),
    (lambda cp, x: x[x > 1], 'cudaErrorInsufficientDriver'),
    (lambda cp, x: cp.matmul(x.reshape(2, 2, 2), x.reshape(2, 2, 2)), 'CUBLAS_STATUS_NOT_SUPPORTED'),
    (lambda cp, x: cp.random.random(3), 'curand'),
    (lambda cp, x: cp.RawKernel('extern "C" __global__ void deep(int n) { }', 'deep')((1,), (1, 1, 2), (1,)),
     'deep: .*no third dimension')])
def test_what_it_lacks_is_refused_and_named(cupy, use, error):
    with pytest.raises(Exception, match=error):
        use(cupy, cupy.arange(8, dtype=np.float32))


def test_a_full_memory_is_cupys_error_and_passes(cupy, driver):
    cupy.get_default_memory_pool().free_all_blocks()
    driver.set(memory=driver.used() + 2**20)
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match='Out of memory allocating 2,097,152 bytes'):
        cupy.zeros(2**21, np.uint8)
    driver.reset()
    assert cupy.zeros(2**21, np.uint8).sum() == 0


def test_a_different_order_of_threads_and_fma_compute_the_same(cupy, driver):
    x = cupy.asarray(np.linspace(-3, 3, 700, dtype=np.float32).reshape(10, 70))
    for order, fma in ((1, False), (2, True)):
        driver.reset()
        driver.set(order=order)
        driver.fma = fma
        found = twins.compiled(cupy).bias_tanh(x[None], x[0]).get()
        np.testing.assert_allclose(found, np.tanh(x.get() + x.get()[0]), rtol=1e-6)
