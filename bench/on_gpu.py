"""What bench_ops.py and bench_step.py measure with --device cuda: every kernel, and a whole step, through CuPy."""

import os
import re
import time
from functools import cache

import numpy as np
from candidates import REFERENCES, Floor, game
from harness import Entrant, Worker, describe, machine, quartiles, race, save, spread

from minigan import backend
from minigan.gpu import compare, roofline
from minigan.gpu.device import select_device
from minigan.gpu.twins import Kernels, code, compiled
from minigan.streams import Streams

WIDTH = 512
BLOCKS, LANES = (64, 128, 256, 512, 1024), (4, 8, 16, 32)
VARIATIONS = ' 0', 'few', 'dropped', 'any', 'no b', 'no db', 'no dgamma', 'real numbers'  # cases that are timed already
LAUNCHES = 61  # of minigan's step with at most 64 rows, counted on the stand-in (tests/bench/test_bench.py)


class Local:
    """A function that is timed in this process by the GPU's clock; has the interface of harness.Worker.

    host: the seconds of a call that the CPU was busy with, one entry a block.
    """

    rest = 0

    def __init__(self, xp, function):
        self.xp, self.function, self.host = xp, function, []

    def call(self, method, steps):
        """Run the function `steps` times between two events."""
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        begin = time.perf_counter()
        start.record()
        for _ in range(steps):
            self.function()
        end.record()
        self.host.append((time.perf_counter() - begin) / steps)
        end.synchronize()
        return None, max(1e-3 * self.xp.cuda.get_elapsed_time(start, end), 1e-9)


def moved(function, m):
    """Bytes that a kernel moves for m rows of WIDTH."""
    return round(roofline.per_element(roofline.TRAFFIC[function], m, WIDTH)[0] * m * WIDTH)


@cache
def twins(xp, block, lanes):
    """The kernels, compiled for blocks of a given size."""
    source = re.sub(r'#define LANES \d+', f'#define LANES {lanes}', code())
    return Kernels(xp.RawModule(code=source, options=('--std=c++17',)), source, block=block)


def variants(xp, name):
    """The sizes of blocks that suit a kernel, threads -> (block, lanes). The first is the one that training uses."""
    usual = compiled(xp)
    columns, lanes = usual.tile
    if name == 'cross_entropy':
        return {usual.threads: (usual.block, lanes)}
    if name.startswith('dense'):
        return {usual.defined['TILE_THREADS']: (usual.block, lanes)}
    if name.startswith('batch_norm'):
        return {columns * one: (usual.block, one) for one in (lanes, *LANES)}
    return {one: (one, lanes) for one in (usual.block, *BLOCKS)}


def without_kernels(function):
    """The function with CuPy's own functions in place of all kernels, except those that draw random numbers."""
    def plain():
        eligible, backend.eligible = backend.eligible, lambda arguments: False
        try:
            return function()
        finally:
            backend.eligible = eligible
    return plain


def copy(xp, size):
    """A function that moves `size` bytes: half are read, half are written."""
    source, target = xp.zeros((2, max(1, size // 8)), np.float32)
    return lambda: xp.copyto(target, source)


def candidates_for(xp, name, m, arguments, theirs):
    """name -> function: the kernel in blocks of several sizes, each checked; plain CuPy; PyTorch; a copy."""
    function, size = name.split(',')[0], m * WIDTH
    found = {'copy': copy(xp, moved(function, m))}
    if function in compare.DRAWS:
        dtype = np.uint16 if function == 'bits' else np.float32
        out, streams = xp.empty(size, dtype), Streams(0)
        found['plain'] = lambda: xp.asarray(getattr(streams.at('noise', 0), function)(size))
        given, hyper, check = (out, *compare.KEY), {}, (compare.compare_draws, function, 3000)
    else:
        given, hyper = arguments[name]
        given, check = compare.to_device(given, xp), (compare.compare_twin, name, 33, 70)
        found['plain'] = without_kernels(lambda: compare.specifications()[function](*given, **hyper))
    for threads, pair in variants(xp, function).items():
        row = check[0](twins(xp, *pair), *check[1:], xp=xp)
        if not row.ok:
            raise SystemExit(f'blocks of {threads} threads: {row}')
        found[threads] = lambda run=getattr(twins(xp, *pair), function): run(*given, **hyper)
    if name in theirs:
        found['PyTorch'] = theirs[name]
    return found


def measure_kernel(xp, name, m, arguments, theirs, *, rounds, seconds):
    """The results of one kernel: its time for each size of block, and the others' ratios to the usual size."""
    found = candidates_for(xp, name, m, arguments, theirs)
    entrants = {label: Entrant(label, Local(xp, function)) for label, function in found.items()}
    race(list(entrants.values()), rounds=rounds, seconds=seconds)
    blocks = [label for label in entrants if isinstance(label, int)]
    ours, median = entrants[blocks[0]], float(np.median(entrants[blocks[0]].seconds))
    return {'us': 1e6 * median, 'host us': 1e6 * float(np.median(ours.worker.host[-rounds:])),
            'GB/s': moved(name.split(',')[0], m) / median / 1e9, 'fraction': entrants['copy'].ratio(ours)[0],
            'plain': entrants['plain'].ratio(ours),
            'PyTorch': entrants['PyTorch'].ratio(ours) if 'PyTorch' in entrants else None,
            'blocks': {label: 1e6 * float(np.median(entrants[label].seconds)) for label in sorted(blocks)}}


def pytorchs(arguments):
    """(PyTorch's functions for the same arguments, why there are none). PyTorch uses the same stream as CuPy."""
    try:
        import torch
        if not torch.cuda.is_available():
            return {}, 'PyTorch finds no GPU'
        from references import pytorch_cuda
        return pytorch_cuda.operations(arguments, 'cuda'), ''
    except ImportError as error:
        return {}, f'PyTorch is missing: {error}'


def report_kernels(xp, batches, **settings):
    """Print a table for each batch size. Returns the results."""
    runs = []
    for m in batches:
        arguments = compare.arguments(m, WIDTH, 0, xp)
        theirs, remark = pytorchs(arguments)
        title = f'{m} x {WIDTH}'
        print(f'\n{title:36}{"us":>8}{"host us":>9}{"GB/s":>8}{"fraction":>10}   plain   PyTorch   us by block')
        results = {}
        for name in [*arguments, *compare.DRAWS]:
            if name.split(',')[0] not in roofline.TRAFFIC or name.endswith(VARIATIONS):
                continue
            r = results[name] = measure_kernel(xp, name, m, arguments, theirs, **settings)
            other = f'{r["PyTorch"][0]:.2f}' if r['PyTorch'] else ''
            blocks = ', '.join(f'{threads}: {us:.1f}' for threads, us in r['blocks'].items())
            print(f'{name:36}{r["us"]:8.1f}{r["host us"]:9.1f}{r["GB/s"]:8.1f}{r["fraction"]:10.0%}{r["plain"][0]:8.2f}'
                  f'{other:>10}   {blocks}', flush=True)
        print(remark)
        runs.append({'m': m, 'width': WIDTH, 'results': results})
    return runs


def limits(xp, *, seconds, rounds=5, n=4096, size=2**28):
    """What the GPU reaches: bytes/s in a large copy, FLOP/s in a large product, seconds a launch."""
    A, B = xp.ones((2, n, n), np.float32)
    one = xp.zeros(1, np.float32)
    launch = compiled(xp).functions['tanh_backward']
    entrants = [Entrant(name, Local(xp, function)) for name, function in (
        ('copy', copy(xp, size)), ('product', lambda: A @ B),
        ('launch', lambda: launch((1,), (32,), (one, one, one, np.int32(1)))))]
    race(entrants, rounds=rounds, seconds=seconds)
    copy_, product, launch = (float(np.median(entrant.seconds)) for entrant in entrants)
    return {'bytes/s': size / copy_, 'FLOP/s': 2 * n**3 / product, 's/launch': launch}


def floor(m, limit):
    """The least seconds for what minigan's step moves, computes and launches: (the largest of the three, all three)."""
    products = Floor(m)
    work = moved = 0
    for function, arrays in products.products:
        rows, n_in, n_out = len(arrays[0]), *arrays[-1].shape
        work += 2 * rows * n_in * n_out
        moved += 4 * (rows * n_in + n_in * n_out + rows * n_out)
    moved += 2 * products.source.nbytes  # Adam's
    terms = {'bytes / bandwidth': moved / limit['bytes/s'], 'FLOPs / peak': work / limit['FLOP/s'],
             'launches x launch': LAUNCHES * limit['s/launch']}
    return max(terms.values()), terms


class Step(Local):
    """Alternating steps of a game. plain: with CuPy's own functions, layer by layer."""

    def __init__(self, xp, m, plain=False):
        super().__init__(xp, without_kernels(self.step) if plain else self.step)
        self.game, self.t = game(m, xp=xp), 0
        if plain:
            for net in (self.game.G, self.game.D):
                net.layers_in_training = net.layers

    def step(self):
        self.game.step(self.t)
        self.t += 1


def measure_step(xp, m, *, rounds, seconds, only=None):
    """The results of one batch size, by name."""
    entrants = [Entrant('minigan', Step(xp, m)), Entrant("minigan, CuPy's own functions", Step(xp, m, plain=True))]
    cores = os.cpu_count()  # as many as minigan has
    workers = {name: Worker('candidates:Reference', name, m, cores, 'cuda', threads=cores) for name in REFERENCES
               if name.startswith('PyTorch') and (not only or name in only)}
    entrants += [Entrant(name, worker) for name, worker in workers.items() if worker.wait_until_ready()]
    race(entrants, rounds=rounds, seconds=seconds)
    results = {name: {'missing': worker.missing} for name, worker in workers.items() if worker.missing}
    for entrant in entrants:
        results[entrant.name] = entrant.result(entrants[0])
    results['minigan']['host'] = quartiles(entrants[0].worker.host[-rounds:])
    for worker in workers.values():
        worker.close()
    return results


def report_step(xp, batches, **settings):
    """Print a table for each batch size. Returns the results."""
    limit, runs = limits(xp, seconds=settings['seconds']), []
    print(f'measured: copy {limit["bytes/s"] / 1e9:.0f} GB/s, product {limit["FLOP/s"] / 1e12:.1f} TFLOP/s, '
          f'launch {1e6 * limit["s/launch"]:.1f} us')
    for m in batches:
        results, (least, terms) = measure_step(xp, m, **settings), floor(m, limit)
        print(f'\n{f"batch {m}":34}{"ms a step":>10}{"ratio to minigan":>24}')
        for name, r in results.items():
            print(f'{name:34}' + (f'missing: {r["missing"]}' if 'missing' in r else
                                  f'{1e3 * r["seconds"][0]:10.3f}{spread(*r["ratio"]):>24}'))
        print(f'{"floor":34}{1e3 * least:10.3f}{least / results["minigan"]["seconds"][0]:>24.2f}   ('
              + ', '.join(f'{name} {1e3 * seconds:.3f}' for name, seconds in terms.items()) + ')')
        runs.append({'m': m, 'results': results, 'floor': least, 'terms': terms})
    return runs


def measure_on_gpu(report, batches, save_as, **settings):
    """Run a report on the GPU, and save its results unless save_as is None. Without a GPU, say so in one line."""
    try:
        xp, device = select_device('cuda')
    except ValueError as error:
        return print(error)
    properties = xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)
    device = f'{properties["name"].decode()}, {device}'
    print(f'{device}; {describe(machine())}\n{settings["rounds"]} rounds')
    runs = report(xp, batches, **settings)
    if save_as:
        save(save_as, {'device': device, 'runs': runs, **settings})
