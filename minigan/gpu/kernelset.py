"""A set of CUDA kernels with all that belongs to it: the package's own, or one that your module describes.

The module lies next to its .cu file and defines

    every public function     a specification, on NumPy arrays, named as its kernel; float32 in, float32 out
    a subclass of Launcher    the twins: methods with the names and signatures of the specifications
    arguments(m, n, seed)     case -> (arguments, keywords) for m x n elements, m >= 3, float32; a case is the name of
                              a specification, or, for more cases of one, 'name, what is special'
    RESOURCES                 name -> (registers, bytes of shared memory), or with bytes of local memory as a third
    TRAFFIC                   name -> (bytes, FLOPs) for an element of m x n
    GRADIENTS                 case -> function from a seed to a Report of gradcheck
    SOURCE                    the .cu file; by default the one of the same name
    EXEMPT                    'kernel' or 'gradient check' -> {name: why there is none}; empty by default
    TOLERANCE                 name -> how far the twin may be from its specification; 1e-6 by default

Gradient cases and functions whose names begin with _ are not specifications.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minigan.checks import cases
from minigan.checks.derivatives import TOLERANCE
from minigan.gpu import compare, roofline, twins
from minigan.gpu.fusion import fuse
from minigan.gpu.launch import Launcher
from minigan.layers import BatchNorm, Dense, Dropout, LeakyReLU, Maxout, Noise, Scale, Sigmoid, Tanh
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.streams import Streams

HALF = {'square_sums': 'the first half of euclidean_norm and clip_norm_, whose twins launch it'}
EXEMPT = {  # of the package's operations
    'kernel': {}, 'specification': HALF, 'twin': HALF, 'arguments': HALF,
    'gradient check': {
        **HALF,
        'bits': 'random numbers', 'uniform': 'random numbers', 'normal': 'random numbers',
        'sum_parts': 'adds the parts of a product; tests compare it with dense',
        'stack': 'moves rows; each half of the derivative is used by itself',
        'gather_images': 'data: nobody reads its derivative',
        'batch_norm_moments': 'the statistics of batch_norm, whose check covers them',
        'batch_norm_leaky_relu_sums': 'the sums of batch_norm_leaky_relu_backward_, whose check covers them',
        'adam_': 'an update; `minigan gradcheck` compares Adam with its paper',
        'sgd_momentum_': 'an update', 'moving_average_': 'an update', 'clip_norm_': 'an update',
        'euclidean_norm': 'nobody reads its derivative', 'advance_': 'moves numbers',
    },
}
NO_TWINS = '<a subclass of Launcher>'  # the name of a set of twins before anyone has written one
PLACES = {'specification': 'ops.py, fusion.py, graph.py or variants/convolution.py, with @twin', 'twin': 'twins.py',
          'kernel': 'kernels.cu',
          'arguments': 'compare.arguments', 'resources': 'roofline.RESOURCES', 'traffic': 'roofline.TRAFFIC',
          'gradient check': 'checks/cases.py', 'exemption': 'kernelset.EXEMPT'}


@dataclass(frozen=True)
class KernelSet:
    """The kernels of one source. The tables are as the module's docstring says.

    places: part -> where an author writes it, for messages. tolerance: name -> how far a twin may be off.
    """

    code: str
    specifications: dict
    twins: type
    arguments: Callable
    resources: dict
    traffic: dict
    gradients: dict
    tolerance: Callable
    places: dict
    exempt: dict

    def why_exempt(self, part, name):
        """Why a name has no such part, or None. A name without a kernel needs no resources and no traffic either."""
        return self.exempt.get('kernel' if part in ('resources', 'traffic') else part, {}).get(name)


def fused_cases():
    """(name, case), as in checks/cases.py, for every network as a GPU runs it."""
    for network, recipe in RECIPES.items():
        for player in 'GD':
            yield f'{network} {player}, fused', partial(cases.network_case, recipe, player, True, fuse=fuse)


def layers_of_groups():
    """Layers of a small net with every group of fusion.py, for x (m, 5)."""
    return [Noise(lambda t: 0.1), Scale(0.5, 0.2), Dropout(0.2), Dense(5, 6), LeakyReLU(0.2), Dropout(0.3),
            Dense(6, 6), LeakyReLU(0.1), Dense(6, 5, bias=False), BatchNorm(5), LeakyReLU(0.3),
            Dense(5, 6), Maxout(2), Dropout(0.4), Dense(3, 4), BatchNorm(4),
            Dense(4, 4), Sigmoid(), Scale(2, -1), Dense(4, 3), Tanh()]


def groups_case(seed):
    """gradcheck of a small net with every group, so that each operation is called within a second."""
    net = Net(layers_of_groups(), rng=Streams(seed).at('init', 0), dtype=np.float64, fuse=fuse)
    net.theta += 0.1 * np.random.default_rng(seed).standard_normal(net.theta.shape)
    return cases.layer_case(net, 5, True, seed)


def own():
    """The package's kernels."""
    gradients = {name: case for name, case in cases.cases() if not name.startswith(tuple(RECIPES))}
    return KernelSet(
        code=twins.code(), twins=twins.Kernels, arguments=_own_arguments,
        specifications=compare.specifications() | {name: compare.specified_draws(name) for name in compare.DRAWS},
        resources=roofline.RESOURCES, traffic=roofline.TRAFFIC, gradients=gradients | {'every group': groups_case},
        tolerance=compare.allowed, places=PLACES, exempt=EXEMPT)


def _own_arguments(m, n, seed):
    found = compare.arguments(m, n, seed)
    for name in compare.DRAWS:
        for case, size in ((name, m * n), *((f'{name}, {size}', size) for size in (1, 15, 16, 17))):
            found[case] = compare.drawn_into(name, size)
    return found


def of_module(path):
    """The kernels that a Python module describes. The module is run: it is the author's own.

    Raises ValueError when it is not a .py file, when it or its .cu file is missing, and for two classes of twins.
    """
    path = Path(path)
    if path.suffix != '.py' or not path.is_file():
        raise ValueError(f'{path}: {"" if path.exists() else "no such file; "}expected a .py file that describes '
                         'kernels')
    module = module_of(path)
    source = path.parent / getattr(module, 'SOURCE', f'{path.stem}.cu')
    if not source.is_file():
        raise ValueError(f'{source}: no such file; expected the kernels of {path.name}, or SOURCE there')
    mine = {name: value for name, value in vars(module).items() if getattr(value, '__module__', None) == path.stem}
    classes = [value for value in mine.values() if isinstance(value, type) and issubclass(value, Launcher)]
    if len(classes) > 1:
        raise ValueError(f'{path}: expected one subclass of Launcher, got {len(classes)}')
    gradients = getattr(module, 'GRADIENTS', {})
    tolerance = getattr(module, 'TOLERANCE', {})
    others = (getattr(module, 'arguments', None), *gradients.values())
    return KernelSet(
        code=source.read_text(encoding='utf-8'), twins=classes[0] if classes else type(NO_TWINS, (Launcher,), {}),
        arguments=getattr(module, 'arguments', lambda m, n, seed: {}),
        specifications={name: value for name, value in mine.items()
                        if inspect.isfunction(value) and not name.startswith('_') and value not in others},
        resources=getattr(module, 'RESOURCES', {}), traffic=getattr(module, 'TRAFFIC', {}), gradients=gradients,
        tolerance=lambda name: tolerance.get(name, TOLERANCE['float32']['any']), places=_places(path, source),
        exempt=getattr(module, 'EXEMPT', {}))


def module_of(path):
    """A Python file as a module. The file is run: it is the user's own."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def _places(path, source):
    tables = {'arguments': 'arguments', 'resources': 'RESOURCES', 'traffic': 'TRAFFIC', 'gradient check': 'GRADIENTS',
              'exemption': 'EXEMPT'}
    return {'specification': path.name, 'twin': path.name, 'kernel': source.name,
            **{part: f'{table} of {path.name}' for part, table in tables.items()}}
