"""An alternating step of the default networks or of dcgan, by minigan and by its references.

bench_step.py and bench_gpu.py time them.

A reference has run(rows): a step for each row of indices into the images, with its own noise and dropout; and
gradients(x, z_D, z_G): of D, and of G through the D just updated, for one step from the start.
"""

from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from unittest import mock

import numpy as np
from sklearn.datasets import load_digits

from minigan import RECIPES, Adam, Dropout, ops
from minigan.data import Dataset
from minigan.training.build import build_game
from minigan.training.config import Config

REFERENCES = {  # name -> module in references/, class, arguments
    'PyTorch eager': ('pytorch', 'PyTorch', 'eager'),
    'PyTorch fused Adam': ('pytorch', 'PyTorch', 'fused'),
    'PyTorch fused, own dropout': ('pytorch', 'PyTorch', 'own dropout'),
    'PyTorch compile': ('pytorch', 'PyTorch', 'compile'),
    'Keras tf.function': ('keras_', 'Keras'),
    'JAX jit': ('jax_', 'JAX'),
}
ON_GPU = {  # of bench_gpu.py
    **{name: REFERENCES[name] for name in ('PyTorch eager', 'PyTorch fused Adam', 'PyTorch compile')},
    'PyTorch reduce-overhead': ('pytorch', 'PyTorch', 'reduce-overhead'),
    'PyTorch CUDA graph': ('pytorch_graph', 'Graphed', 'fused'),
    'PyTorch compile, CUDA graph': ('pytorch_graph', 'Graphed', 'compile'),
    'JAX jit': REFERENCES['JAX jit'],
}
NETWORKS = {'default': 32, 'dcgan': 8}  # name -> rows that gradients are compared with, at most: the more there are,
EPS = 1e-3                              # the likelier it is that rounding moves a unit across its kink
TOLERANCE = 1e-5  # float32 gradients, as the norm of the difference over the norm
PRODUCTS = 'dense', 'dense_backward_input', 'dense_backward_params_'  # functions in ops


@dataclass(frozen=True)
class Start:
    """What every candidate starts from: the images, both networks with their parameters, the settings."""

    m: int
    n_z: int
    threads: int
    images: np.ndarray
    G: list  # of described.Described
    D: list
    learning_rate: float
    beta1: float
    eps: float
    device: str = 'cpu'


def dataset():
    """The 8x8 digits, enlarged to 24x24 in a frame of two pixels: MNIST's size without a download."""
    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    images = np.pad(images.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2))).reshape(-1, 784)
    return Dataset('digits28', (28, 28), images, images[:0], images[:0])


PLAIN = {'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4, 'beta1': 0.5, 'schedule': 'constant',
         'input_noise': 0.0}  # as the references


def game(m, update='alternating', check=False, xp=np, network='default'):
    """A network's game on these images, with plain Adam.

    check: without dropout, and with a large eps: with a small one, Adam's first step is little more than the sign of
    the gradient, which rounding can flip.
    """
    recipe, images = RECIPES[network], dataset()
    if check:
        D = recipe.D
        recipe = replace(recipe, D=lambda shape: [layer for layer in D(shape) if not isinstance(layer, Dropout)],
                         optimizer=lambda net, *, learning_rate, beta1, clip_norm: Adam(
                             net, learning_rate=learning_rate, beta1=beta1, eps=EPS))
    known = {name: value for name, value in PLAIN.items() if hasattr(Config, name)}  # an older tree has fewer
    config = Config(network=network, batch=m, update=update, **known)
    return build_game(config.resolve(recipe, images), recipe, images, xp)


def start(fresh, threads, device='cpu'):
    """The networks and images of a fresh game, each array a copy."""
    from described import describe  # here, since an older tree has no convolutions
    images = fresh.minibatch.images / np.float32(127.5) - 1
    return Start(m=fresh.m, n_z=fresh.n_z, threads=threads, device=device, images=images,
                 G=describe(fresh.G), D=describe(fresh.D),
                 **{name: fresh.optimizer_G.hyper[name] for name in ('learning_rate', 'beta1', 'eps')})


def use_native(wanted):
    """Run native twins from now on, or no longer. Returns '' or one line: why there are none."""
    try:
        from minigan.native.twins import use
    except ImportError:  # an older tree
        return 'this minigan has no native twins' if wanted else ''
    return use(wanted)


def copying(target, source):
    """A function that copies source to target, both float32, with as many threads as native twins take.

    Without native twins it is np.copyto, which takes one.
    """
    if use_native(True):
        return partial(np.copyto, target, source)
    from minigan.native.twins import native, pointer
    return partial(native().library.copy, source.size, pointer(source), pointer(target))


class Minigan:
    """minigan itself, with native twins or, as with --device numpy, without.

    part: what run() repeats, 'step', 'simultaneous', 'update_D' or 'update_G'. about: why there are no native twins.
    """

    def __init__(self, m, part, native=True, network='default'):
        without = use_native(native)
        self.about = {'without': without} if without else None
        update = 'simultaneous' if part == 'simultaneous' else 'alternating'
        self.game, self.part, self.t = game(m, update, network=network), part, 0

    def run(self, steps):
        game = self.game
        for t in range(self.t, self.t + steps):
            if self.part == 'update_D':
                game.update_D(game.minibatch(t), game.noise(t, 0), game.layer_rng(t, 0))
            elif self.part == 'update_G':
                game.update_G(game.noise(t, 1), game.layer_rng(t, 1))
            else:
                game.step(t)
        self.t += steps


def products(one):
    """The matrix products of a game's step, in order, each (kind, rows, n_in, n_out). kind: in PRODUCTS."""
    found = []

    def watched(kind, real):
        def product(*arguments):
            n_in, n_out = arguments[2 if kind == 'dense_backward_params_' else 1].shape
            found.append((kind, len(arguments[0]), n_in, n_out))
            return real(*arguments)
        return product

    with mock.patch.multiple(ops, **{kind: watched(kind, getattr(ops, kind)) for kind in PRODUCTS}):
        one.step(0)
    return found


def operands(kind, rows, n_in, n_out, xp=np):
    """Normal numbers for a product of this kind, in the order of its arguments; for any other, also a bias."""
    rng = np.random.default_rng(0)
    x, W, dy, b = (xp.asarray(rng.standard_normal(shape, np.float32)) for shape in (
        (rows, n_in), (n_in, n_out), (rows, n_out), n_out))
    return {'dense': (x, W), 'dense_backward_input': (dy, W), 'dense_backward_params_': (dy, x, W)}.get(kind, (x, W, b))


class Floor:
    """About the least that a step costs: its matrix products as ops.py does them, and copies that move Adam's bytes.

    Adam reads theta, dtheta, m, v and writes theta, m, v: seven floats a parameter. A copy moves three for each that it
    copies, because a line of memory is read before it is overwritten. Both take native twins, as the step does.
    moved: bytes, by the copies.
    """

    def __init__(self, m, network='default'):
        use_native(False)  # the products are seen one by one, not fused with what follows them
        one, self.copies, self.moved = game(m, network=network), [], 0
        self.products = [(getattr(ops, kind), operands(kind, *shape)) for kind, *shape in products(one)]
        for net in (one.G, one.D):
            source = np.ones(net.theta.size * 7 // 3, np.float32)
            self.copies.append(copying(np.empty_like(source), source))
            self.moved += 3 * source.nbytes

    def run(self, steps):
        for _ in range(steps):
            for f, arguments in self.products:
                f(*arguments)
            for copy in self.copies:
                copy()


class Reference:
    """A framework's step, once its gradients have been checked against minigan's.

    Raises ImportError when the framework is missing, ValueError when its gradients differ.
    """

    def __init__(self, name, m, threads, device='cpu', network='default'):
        module, kind, *arguments = {**REFERENCES, **ON_GPU}[name]
        make = getattr(import_module(f'references.{module}'), kind)
        small = game(min(m, NETWORKS[network]), check=True, network=network)
        error = gradient_error(make(start(small, threads, device), *arguments), small)
        if not error < TOLERANCE:
            raise ValueError(f"expected minigan's gradients within {TOLERANCE}, got {error:.2g}")
        begin = start(game(m, network=network), threads, device)
        self.about, self.m, self.step = {'gradient_error': error}, m, make(begin, *arguments)
        self.rng, self.images = np.random.default_rng(0), len(begin.images)
        self.run(3)  # compiles, while other processes do too

    def run(self, steps):
        self.step.run(self.rng.integers(0, self.images, (steps, self.m)))


def gradient_error(reference, ours):
    """The largest relative error over the parameters of both networks, for one step of a fresh game without dropout."""
    x, z_D, z_G = ours.minibatch(0), ours.noise(0, 0), ours.noise(0, 1)
    theirs = reference.gradients(x, z_D, z_G)
    ours.update_D(x, z_D, None)
    ours.update_G(z_G, None)
    worst = 0.0
    for net, gradients in zip((ours.D, ours.G), theirs):
        for slot, gradient in zip(net.slots, gradients, strict=True):
            expected = slot.of(net.dtheta)
            worst = max(worst, float(np.linalg.norm(gradient - expected) / np.linalg.norm(expected)))
    return worst
