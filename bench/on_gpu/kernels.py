"""Every kernel but the products: by the GPU's clock and on the CPU, against a copy, CuPy's functions and PyTorch."""

import re
from functools import cache, partial
from unittest import mock

import numpy as np
from harness import markdown, quartiles
from on_gpu import pytorch
from on_gpu.clock import copy, host_seconds, race_of, timed
from on_gpu.part import Part, in_words, median, microseconds, ratio

from minigan import backend
from minigan.gpu import compare, roofline, twins
from minigan.streams import Streams

WIDTH = 512
BLOCKS, LANES = (64, 128, 256, 512, 1024), (4, 8, 16, 32)
FIRST = {'cross_entropy, target 1', 'cross_entropy_backward, target 1'}  # of the cases of kernels without a plain one
OTHERS = 'copy', 'CuPy', 'PyTorch'


def measure(xp, settings):
    """Yield the result of each kernel, for small arrays and for large ones."""
    for m in settings.rows:
        arguments = compare.arguments(m, WIDTH, 0, xp)
        for name, ((logit, *others), hyper) in arguments.items():
            if columns(name) == 1:
                arguments[name] = (logit[:m], *others), hyper
        theirs = pytorch.operations(arguments)
        for name in [*arguments, *compare.DRAWS]:
            if not name.startswith('dense') and (',' not in name or name in FIRST):
                yield {'kernel': name, 'm': m, 'n': columns(name),
                       **of_kernel(xp, name, m, arguments, theirs, settings)}


def columns(name):
    """The columns of a kernel's arrays: D has one logit for each row, and cross_entropy a block for all of them."""
    return 1 if name.startswith('cross_entropy') else WIDTH


def of_kernel(xp, name, m, arguments, theirs, settings):
    """The times of one kernel, and the others' ratios to it; or the 'error' that was raised.

    'wrong': the sizes of blocks with which the kernel is not its specification.
    """
    try:
        functions, bytes_, wrong = candidates(xp, name, m, arguments)
        usual = next(iter(functions))
        timers, missing = timers_of(xp, functions, theirs.get(name))
        entrants = race_of(timers, settings)
        host = host_seconds(xp, functions[usual], rounds=settings.rounds)
    except Exception as error:  # the other kernels go on
        return {'error': in_words(error)}
    ours = entrants[usual]
    return {'seconds': quartiles(ours.seconds), 'host': host, 'bytes': bytes_, 'wrong': wrong,
            'ratios': {label: entrants[label].ratio(ours) for label in OTHERS if label in entrants},
            'how': missing | {label: timers[label].how for label in (usual, *OTHERS) if label in entrants},
            'blocks': {label: median(entrants[label].seconds) for label in entrants if isinstance(label, int)}}


def timers_of(xp, functions, theirs):
    """(label -> timer, label -> why there is none: only for OTHERS). theirs: PyTorch's function, or None."""
    makers = {label: partial(timed, xp, function) for label, function in functions.items()}
    if theirs:
        makers['PyTorch'] = partial(pytorch.ReplayedByPyTorch, theirs)
    timers, missing = {}, {}
    for label, make in makers.items():
        try:
            timers[label] = make()
        except Exception as error:
            if label not in OTHERS:
                raise
            missing[label] = in_words(error)
    return timers, missing


def candidates(xp, name, m, arguments):
    """(label -> function, bytes moved, wrong). The labels are threads in a block, first the usual number; then OTHERS.

    wrong: a line for each number of threads with which the kernel is not its specification.
    """
    function, n = name.split(',')[0], columns(name)
    size = m * n
    given, hyper, check, plain = what_runs(xp, name, size, arguments)
    found, wrong = {}, []
    for threads, pair in variants(xp, function, given, hyper).items():
        kernels = compiled(xp, *pair)
        row = check(kernels)
        found[threads] = lambda run=getattr(kernels, function): run(*given, **hyper)
        if not row.ok:
            wrong.append(f'{threads} threads: {row}')
    found['CuPy'] = plain
    bytes_ = int(roofline.per_element(roofline.TRAFFIC[function], m, n)[0] * size)
    return {**found, **({'copy': copy(xp, bytes_)} if bytes_ else {})}, bytes_, wrong


def what_runs(xp, name, size, arguments):
    """(arguments, keywords, a function from twins to the Row of their check, CuPy's own functions)."""
    if name in compare.DRAWS:
        out, streams = xp.empty(size, np.uint16 if name == 'bits' else np.float32), Streams(0)
        return ((out, *compare.KEY), {}, lambda kernels: compare.compare_draws(kernels, name, 3000, xp=xp),
                lambda: xp.asarray(getattr(streams.at('noise', 0), name)(size)))
    given, hyper = arguments[name]
    given = compare.to_device(given, xp)
    if 'rows' in hyper:
        hyper = {**hyper, 'rows': twins.chunks_of(len(given[0]))[0]}  # as in training
    return (given, hyper, lambda kernels: compare.compare_twin(kernels, name, 33, 70, xp=xp),
            without_kernels(lambda: compare.specifications()[name.split(',')[0]](*given, **hyper)))


def without_kernels(function):
    """The function with CuPy's own functions in place of all kernels, except those that draw random numbers."""
    def plain(*arguments):
        with mock.patch.object(backend, 'eligible', lambda given: False):
            return function(*arguments)
    return plain


@cache
def compiled(xp, block, lanes):
    """The kernels, compiled for blocks of a given size."""
    code = re.sub(r'#define LANES \d+', f'#define LANES {lanes}', twins.code())
    return twins.Kernels(xp.RawModule(code=code, options=('--std=c++17',)), code, block=block)


def variants(xp, function, given, hyper):
    """The sizes of blocks that suit a kernel: threads -> (block, lanes). The first is the one that training uses."""
    usual = twins.compiled(xp)
    columns, lanes = usual.tile
    with (mock.patch.object(usual, 'by_element', wraps=usual.by_element) as element,
          mock.patch.object(usual, 'by_column', wraps=usual.by_column) as column):
        getattr(usual, function)(*given, **hyper)
    if column.called:
        return {columns * one: (usual.block, one) for one in (lanes, *LANES)}
    return {one: (one, lanes) for one in (usual.block, *(BLOCKS if element.called else ()))}


def wrong(results):
    """A line for each kernel that is not its specification, or that could not run."""
    return [f'{r["kernel"]}, {r["m"]} rows: {line}' for r in results
            for line in (r['wrong'] if 'wrong' in r else [r['error']])]


def fraction(r):
    """The kernel's speed relative to a copy of as many bytes, or None."""
    return r['ratios']['copy'][0] if 'copy' in r.get('ratios', {}) else None


def verdict(results):
    """The kernels' speed on large arrays, in a sentence."""
    large = [r for r in results if r['m'] == max(r['m'] for r in results) and r['n'] == WIDTH and fraction(r)]
    if not large:
        return None
    slowest = min(large, key=fraction)
    return (f'Kernels on {large[0]["m"]:,} x {WIDTH}: at a median of {np.median([*map(fraction, large)]):.0%} of the '
            f'speed of a copy; the slowest is {slowest["kernel"]} with {fraction(slowest):.0%}.')


def page(results):
    """A table for each size of the arrays."""
    yield ("The time of a call is by the GPU's clock, from replays of a CUDA graph of 20 calls, unless *how* says "
           'something else; *on the CPU* is what calling it from Python takes. GB/s counts each number that must be '
           'read or written once, and the fraction is the speed relative to a copy that moves as many bytes. '
           "CuPy's and PyTorch's columns have their time for the same divided by the kernel's: above 1, the kernel is "
           'faster. For bits, uniform and normal, CuPy stands for drawing on the CPU and copying. Times and ratios are '
           'medians (quartiles); those by threads in a block are medians, and the first is the one in use.')
    if not any('PyTorch' in r.get('how', ()) for r in results):
        yield 'PyTorch takes no part: it is not installed, or it finds no GPU.'
    for m in dict.fromkeys(r['m'] for r in results):
        rows = [cells(r) for r in results if r['m'] == m]
        head = (f'{m:,} x {WIDTH}', 'time, us', 'on the CPU, us', 'GB/s', 'fraction of a copy', 'CuPy / kernel',
                'PyTorch / kernel', 'us by threads in a block', 'how')
        yield markdown(head, rows)


def cells(r):
    """A row of the table."""
    name = r['kernel'] if r['n'] == WIDTH else f'{r["kernel"]}: {r["m"]:,} x {r["n"]}'
    if 'error' in r:
        return [name, f'error: {r["error"]}', *[''] * 7]
    others = [ratio(*r['ratios'][label]) if label in r['ratios'] else '' for label in ('CuPy', 'PyTorch')]
    unusual = [f'{label}: {how}' for label, how in r['how'].items() if 'graph' not in how]
    return [name, microseconds(r['seconds']), microseconds(r['host']),
            f'{r["bytes"] / r["seconds"][0] / 1e9:.1f}' if r['bytes'] else '',
            f'{fraction(r):.0%}' if fraction(r) else '', *others,
            ', '.join(f'{threads}: {1e6 * seconds:.1f}' for threads, seconds in r['blocks'].items()),
            '; '.join(unusual)]


def chart(results, figure):
    """Bars of the fractions of a copy's speed."""
    rows = list(dict.fromkeys(r['m'] for r in results))
    names = list(dict.fromkeys(r['kernel'] for r in results if fraction(r)))
    if not names:
        return False
    figure.set_size_inches(9, 1.5 + 0.3 * len(names))
    axes = figure.subplots()
    for i, m in enumerate(rows):
        one = {r['kernel']: 100 * fraction(r) for r in results if r['m'] == m and fraction(r)}
        axes.barh([names.index(name) + (i - len(rows) / 2 + 0.5) * 0.4 for name in one], list(one.values()), 0.38,
                  label=f'{m:,} x {WIDTH}')
    axes.set_yticks(range(len(names)), names, fontsize='small')
    axes.invert_yaxis()
    axes.axvline(100, color='black', linewidth=1)
    axes.set_xlabel('% of the speed of a copy that moves as many bytes')
    figure.legend(loc='outside upper right', ncols=2)
    return True


PART = Part('Kernels', measure, page, chart, verdict, wrong, timed=True)
