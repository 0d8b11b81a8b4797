"""Convolutions, forward and backward: patches and a product against cuDNN, called by PyTorch."""

from functools import partial
from unittest import mock

import numpy as np
from convolutions import LAYERS
from harness import markdown, quartiles
from on_gpu import pytorch
from on_gpu.clock import host_seconds, race_of, timed
from on_gpu.part import Part, in_words, microseconds, ratio

from minigan import RECIPES
from minigan.backend import to_host
from minigan.checks.derivatives import TOLERANCE
from minigan.gpu import compare, twins

M = RECIPES['dcgan'].batch
ALLOWED = TOLERANCE['float32']['Dense']
DIRECTIONS = 'forward', 'backward'


def measure(xp, settings):
    """Yield the result of each convolution, for a minibatch and for two, as D reads them."""
    for m in (M, 2 * M):
        for layer in LAYERS:
            for i, direction in enumerate(DIRECTIONS):
                yield {'layer': str(layer), 'direction': direction, 'm': m, 'flops': (1 + i) * layer.flops(m),
                       **of_layer(xp, layer, i, m, settings)}


def of_layer(xp, layer, i, m, settings):
    """The times in one direction, and the largest difference from cuDNN or, without PyTorch, NumPy; or the 'error'."""
    try:
        arrays = layer.arrays(m, xp=xp)
        ours = layer.operations(*arrays)[i]
        functions = {name: partial(with_products, twins.compiled(xp), name, ours) for name in twins.PRODUCTS}
        results = {name: [to_host(one) for one in parts(function())] for name, function in functions.items()}
        timers = {name: timed(xp, function) for name, function in functions.items()}
        if pytorch.missing():
            expected = parts(layer.operations(*layer.arrays(m))[i]())
        else:
            theirs = of_pytorch(layer, arrays)[i]
            expected = [one.cpu().numpy() for one in parts(theirs())]
            timers['cuDNN'] = pytorch.ReplayedByPyTorch(theirs)
        entrants = race_of(timers, settings)
        host = host_seconds(xp, functions['own'], rounds=settings.rounds)
    except Exception as error:  # the other layers go on
        return {'error': in_words(error)}
    return {'seconds': {name: quartiles(entrant.seconds) for name, entrant in entrants.items()}, 'host': host,
            'ratios': {name: entrant.ratio(entrants['own']) for name, entrant in entrants.items() if name != 'own'},
            'how': {name: timer.how for name, timer in timers.items()},
            'difference': max(compare.difference(a, b) for result in results.values()
                              for a, b in zip(result, expected, strict=True))}


def with_products(kernels, products, function):
    """The function's result, with our own matrix products or with those of cuBLAS."""
    with mock.patch.object(kernels, 'products', products):
        return function()


def of_pytorch(layer, arrays):
    """(forward, backward) by PyTorch, for the same memory."""
    import torch
    from references import pytorch_convolutions
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # the fastest of its algorithms, found in the first calls
    return pytorch_convolutions.operations(layer, *(torch.from_dlpack(array) for array in arrays))


def parts(result):
    """The arrays of a result."""
    return result if isinstance(result, tuple) else (result,)


def wrong(results):
    """A line for each convolution that differs from cuDNN, or that could not run."""
    for r in results:
        where = f'{r["layer"]} {r["direction"]}, {r["m"]} images'
        if 'error' in r:
            yield f'{where}: {r["error"]}'
        elif not r['difference'] <= ALLOWED:
            yield f'{where}: expected a difference of at most {ALLOWED:.0e}, got {r["difference"]:.1e}'


def verdict(results):
    """Our convolutions against cuDNN, in a sentence."""
    measured = [r for r in results if 'cuDNN' in r.get('ratios', {})]
    if not measured:
        return None
    ratios = [min(1, r['ratios']['cublas'][0]) / r['ratios']['cuDNN'][0] for r in measured]
    return (f'Convolutions: patches and the faster of both products take {np.median(ratios):.2f} times as long as '
            f'cuDNN, in the median of {len(measured)}; at best {min(ratios):.2f}, at worst {max(ratios):.2f}.')


def page(results):
    """A table of all convolutions."""
    yield ('Backward gives dx, dW and, except in front of a batch norm, db. GFLOP/s counts the products alone. The '
           'ratios are of times to those with our own products: above 1, ours are faster. PyTorch calls cuDNN, '
           'with images in channels_last and with the fastest algorithm that it finds; TF32 is off. Difference: the '
           f'largest, relative to the largest number; {ALLOWED:.0e} is allowed.')
    if not any('cuDNN' in r.get('ratios', {}) for r in results):
        yield 'cuDNN takes no part: PyTorch is not installed, or it finds no GPU. Differences are from NumPy.'
    for m in dict.fromkeys(r['m'] for r in results):
        head = [f'{m} images', 'time, us', 'GFLOP/s', 'on the CPU, us', 'with cuBLAS / own', 'cuDNN / own',
                'difference', 'how']
        yield markdown(head, [cells(r) for r in results if r['m'] == m])


def cells(r):
    """A row of the table."""
    name = f'{r["layer"]} {r["direction"]}'
    if 'error' in r:
        return [name, f'error: {r["error"]}', *[''] * 6]
    return [name, microseconds(r['seconds']['own']), f'{r["flops"] / r["seconds"]["own"][0] / 1e9:.0f}',
            microseconds(r['host']), *(ratio(*r['ratios'][other]) if other in r['ratios'] else ''
                                       for other in ('cublas', 'cuDNN')), f'{r["difference"]:.0e}',
            '; '.join(f'{other}: {how}' for other, how in r['how'].items())]


PART = Part('Convolutions', measure, page, None, verdict, wrong, timed=True)
