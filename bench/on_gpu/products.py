"""Matrix products: minigan's own kernels and the ladder to them against cuBLAS, for every shape of a training step."""

from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
from candidates import operands
from harness import markdown, quartiles
from on_gpu import pytorch
from on_gpu.clock import Queued, host_seconds, race_of, timed
from on_gpu.games import FUSED, KINDS, fused, products
from on_gpu.part import Part, in_order, in_words, label_powers, microseconds, ratio

from minigan import RECIPES as VARIANTS
from minigan.backend import to_host
from minigan.checks.derivatives import TOLERANCE
from minigan.gpu import compare, kernelset, twins
from minigan.networks import RECIPES
from minigan.streams import Streams

LADDER = Path(twins.__file__).with_name('ladder.py')
ALLOWED = TOLERANCE['float32']['Dense']
CONVOLUTIONS = (('dcgan', VARIANTS['dcgan'].batch),)  # many rows, few columns
EQUATIONS = {**KINDS, **dict(zip(FUSED.values(), ('y = dropout(leaky_relu(x W + b))', 'y = tanh(x W + b)')))}


def measure(xp, settings):
    """Yield the result of each product, (kind, rows, n_in, n_out), with the networks that compute it."""
    found = {}
    for network, m in [*((network, m) for m in in_order(settings.batches) for network in RECIPES), *CONVOLUTIONS]:
        for kind, factor, n_in, n_out in (*products(network), *fused(network)):
            found.setdefault((kind, factor * m, n_in, n_out), {})[network] = None
    for shape, networks in found.items():
        yield {**dict(zip(('kind', 'rows', 'n_in', 'n_out'), shape)), 'networks': [*networks],
               **of_product(xp, *shape, settings)}


def of_product(xp, kind, rows, n_in, n_out, settings):
    """The times of one product by each of its kernels, and its difference from cuBLAS; or the 'error' raised."""
    try:
        arrays = operands(kind, rows, n_in, n_out, xp)
        own, cublas = (partial(compute, xp, products, kind, arrays) for products in twins.PRODUCTS)
        expected = to_host(cublas())  # a copy: own writes dW into the same array
        difference = compare.difference(own(), expected)
        functions = {'own': own}
        if kind == 'dense':
            functions |= {name: partial(version, *arrays) for name, version in ladder(xp).items()}
        timers = {name: timed(xp, function) for name, function in functions.items()}
        timers['cuBLAS'] = of_cublas(xp, kind, arrays, cublas)
        entrants = race_of(timers, settings)
        host = {name: host_seconds(xp, function, rounds=settings.rounds)
                for name, function in (('own', own), ('cuBLAS', cublas))}
    except Exception as error:  # the other products go on
        return {'error': in_words(error)}
    return {'seconds': {name: quartiles(entrant.seconds) for name, entrant in entrants.items()}, 'host': host,
            'ratio': entrants['own'].ratio(entrants['cuBLAS']), 'difference': difference,
            'how': {name: timer.how for name, timer in timers.items()}}


def compute(xp, products, kind, arrays):
    """The result of a twin with its own products, or with those of cuBLAS. The same bits drop the same units."""
    kernels, more, keywords = twins.compiled(xp), (), {}
    if kind == 'dense_leaky_relu_dropout':
        more, keywords = (Streams(0, xp=xp, kernels=kernels).at('dropout', 0),), {'slope': 0.2, 'rate': 0.2}
    with mock.patch.object(kernels, 'products', products):
        result = getattr(kernels, kind)(*arrays, *more, **keywords)
    if kind == 'dense_backward_params_':
        return arrays[2]
    return result[0] if isinstance(result, tuple) else result


@cache
def ladder(xp):
    """name -> each version of the forward product in ladder.cu, as a function of x and W."""
    versions = kernelset.of_module(LADDER)
    compiled = versions.twins(xp.RawModule(code=versions.code, options=('--std=c++17',)), versions.code)
    return {name: getattr(compiled, name) for name in versions.specifications}


def of_cublas(xp, kind, arrays, function):
    """The product by cuBLAS, in PyTorch's graph, or called by CuPy while the GPU is busy: CuPy cannot capture it.

    With what follows it (kinds in FUSED), a second kernel of minigan's computes that.
    """
    if kind not in KINDS or pytorch.missing():
        return Queued(xp, function)
    import torch
    a, b, *out = (torch.from_dlpack(array) for array in arrays)
    if kind == 'dense':
        return pytorch.ReplayedByPyTorch(lambda: a @ b)
    if kind == 'dense_backward_input':
        return pytorch.ReplayedByPyTorch(lambda: a @ b.T)
    return pytorch.ReplayedByPyTorch(lambda: torch.mm(b.T, a, out=out[0]))


def speed(r, name):
    """GFLOP/s."""
    return 2 * r['rows'] * r['n_in'] * r['n_out'] / r['seconds'][name][0] / 1e9


def wrong(results):
    """A line for each product that differs from cuBLAS, or that could not run."""
    for r in results:
        shape = f'{EQUATIONS[r["kind"]]}, {r["rows"]} rows, {r["n_in"]} -> {r["n_out"]}'
        if 'error' in r:
            yield f'{shape}: {r["error"]}'
        elif not r['difference'] <= ALLOWED:
            yield f'{shape}: expected a difference from cuBLAS of at most {ALLOWED:.0e}, got {r["difference"]:.1e}'


def verdict(results):
    """Own products against cuBLAS, in a sentence."""
    measured = [r for r in results if 'ratio' in r]
    if not measured:
        return None
    worst = max(measured, key=lambda r: r['ratio'][0])
    lower, middle, upper = np.percentile([r['ratio'][0] for r in measured], (25, 50, 75))
    waiting = sum('waiting' in r['how']['cuBLAS'] for r in measured)
    return (f"Products: minigan's own take {middle:.2f} (quartiles {lower:.2f}-{upper:.2f}) times as long as cuBLAS "
            f'over {len(measured)} shapes; at worst {worst["ratio"][0]:.2f} ({EQUATIONS[worst["kind"]]}, '
            f'{worst["rows"]} rows, {worst["n_in"]} -> {worst["n_out"]}).'
            + (f' For {waiting} of them, the time of cuBLAS includes waiting for the CPU.' if waiting else ''))


def page(results):
    """A table for each kind of product."""
    measured = [r for r in results if 'seconds' in r]
    yield ('Speeds are in GFLOP/s, for 2 x rows x n_in x n_out FLOPs and the median time; TF32 is off. The first three '
           'tables have the products alone, without a bias; in the others cuBLAS is followed by a kernel for the rest. '
           'Own / cuBLAS is the ratio of their times, as median (quartiles) over the rounds: below 1, our own is '
           f'faster. Difference: the largest, relative to the largest number; {ALLOWED:.0e} is allowed.')
    yield ('Timed ' + '; '.join(f'by a {how}: {", ".join(names)}' for how, names in clocks(measured).items())
           + '. Calls in a queue wait behind copies until the clock starts.')
    for kind, equation in EQUATIONS.items():
        of_kind = sorted((r for r in results if r['kind'] == kind), key=lambda r: (r['n_in'], r['n_out'], r['rows']))
        if of_kind:
            names = list(dict.fromkeys(name for r in of_kind if 'seconds' in r for name in r['seconds']))
            head = [equation, *(f'{name}, GFLOP/s' for name in names), 'own, us', 'own / cuBLAS', 'own on the CPU, us',
                    'cuBLAS on the CPU, us', 'difference', 'in']
            yield markdown(head, [cells(r, names) for r in of_kind])


def clocks(results):
    """How products were timed -> the names of those that were."""
    found = {}
    for r in results:
        for name, how in r['how'].items():
            found.setdefault(how, {})[name] = None
    return found


def cells(r, names):
    """A row of the table."""
    shape = f'{r["rows"]} rows, {r["n_in"]} -> {r["n_out"]}'
    if 'error' in r:
        return [shape, f'error: {r["error"]}', *[''] * (len(names) + 5)]
    return [shape, *(f'{speed(r, name):.0f}' for name in names), microseconds(r['seconds']['own']), ratio(*r['ratio']),
            *(microseconds(r['host'][name]) for name in ('own', 'cuBLAS')), f'{r["difference"]:.0e}',
            ', '.join(r['networks'])]


def chart(results, figure):
    """Speed against the rows for the largest layers, a panel for each kind."""
    measured = [r for r in results if 'seconds' in r]
    kinds = {kind: equation for kind, equation in KINDS.items() if any(r['kind'] == kind for r in measured)}
    if not kinds:
        return False
    figure.set_size_inches(1 + 4 * len(kinds), 4.5)
    for axes, (kind, equation) in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items()):
        of_kind = [r for r in measured if r['kind'] == kind]
        layers = sorted({(r['n_in'], r['n_out']) for r in of_kind}, key=lambda shape: shape[0] * shape[1])[-4:]
        for i, layer in enumerate(layers):
            points = sorted((r for r in of_kind if (r['n_in'], r['n_out']) == layer), key=lambda r: r['rows'])
            for name, style in (('own', '-'), ('cuBLAS', ':')):
                axes.plot([r['rows'] for r in points], [speed(r, name) for r in points], f'C{i}', linestyle=style,
                          marker='.', label=f'{layer[0]} -> {layer[1]}, {name}')
        axes.set_title(equation)
        label_powers(axes, {r['rows'] for r in of_kind}, 'rows')
        axes.set_ylim(bottom=0)
        axes.legend(fontsize='x-small')
    figure.axes[0].set_ylabel('GFLOP/s')
    return True


PART = Part('Matrix products', measure, page, chart, verdict, wrong, timed=True)
