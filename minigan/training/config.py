"""The choices that shape a run, each with the text by which `minigan train --help` explains it."""

import math
import operator
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import get_args

import numpy as np

from minigan.gan import UPDATES
from minigan.gpu.device import DEVICES
from minigan.losses import OBJECTIVES
from minigan.variants import RECIPES

SCHEDULES = ('constant', 'linear')
COMPARE = {'>': operator.gt, '>=': operator.ge, '<': operator.lt, '<=': operator.le}
POSITIVE, NOT_NEGATIVE = {'>': 0, '<': 1e38}, {'>=': 0, '<': 1e38}  # the largest float32 is 3.4e38
COUNT = {'>=': 1, '<=': 10**9}
# settings that only some recipes have
OF_GAMES = 'clip_weights', 'gradient_penalty', 'labelled', 'cycle', 'cycle_weight', 'identity_weight'


def choice(default, help, **metadata):
    """A field of Config, which is also a flag of `minigan train`.

    metadata: metavar, choices, limits (comparison -> number), short (a second flag), resumable (whether it may change
    when a run is resumed), otherwise (what None stands for; without it, the network's own setting).
    """
    return field(default=default, metadata={'help': help, **metadata})


@dataclass(frozen=True)
class Config:
    """The choices of a run, each explained in its field. None stands for a default that depends on network and data.

    NumPy scalars are taken as numbers. Raises ValueError for a value of another type or out of range.
    """

    network: str = choice(
        'default', "the pair of networks, with its settings: 'article' as in the article, 'default' with the article's "
        "errors corrected, 'goodfellow2014' as in the paper's code, the others with a later idea; 'article' and "
        "'goodfellow2014' update both players at once (--update simultaneous), while Algorithm 1 updates D first",
        choices=RECIPES)
    data: str = choice(
        'digits', "what to learn from: 'digits' (8x8, comes with scikit-learn), 'mnist' (28x28, downloaded once), "
        "'stacked-mnist' (three of its digits as the colours of an image), a folder of IDX files, or a .npz or .npy "
        'file with images; with --resume, where the same images are now',
        metavar='DATA', resumable=True)
    cycle: str | None = choice(
        None, 'learn to translate images of A into images of B, and back, without pairs of them: each is anything that '
        '--data takes, or half of a data set: digits/plain, digits/inverted, digits/rotated, digits/thick, or the same '
        'with mnist; minigan translate applies the result; with --resume, where the same images are now',
        metavar=('A', 'B'), nargs=2, resumable=True, otherwise='draw images from noise')
    epochs: int | None = choice(
        None, 'how many times D reads all training images', metavar='N', limits=COUNT, resumable=True,
        otherwise='enough for about 3000 steps of D, at least 25')
    batch: int | None = choice(None, 'images per step, m in Algorithm 1', metavar='M', limits=COUNT)
    n_z: int | None = choice(None, 'width of the noise z', metavar='N', limits=COUNT)
    k: int | None = choice(None, 'steps of D for each step of G, k in Algorithm 1', metavar='K', limits=COUNT)
    learning_rate_G: float | None = choice(None, "step size of G's optimiser", metavar='X', limits=POSITIVE)
    learning_rate_D: float | None = choice(None, "step size of D's optimiser", metavar='X', limits=POSITIVE)
    beta1: float | None = choice(
        None, 'how much weight both Adams give to earlier gradients, from 0 to below 1', metavar='X',
        limits={'>=': 0, '<': 1})
    objective: str | None = choice(
        None, 'what both players minimise. With cross-entropy for D, G minimises log(1 - D(G(z))), as in Algorithm 1 '
        '(minimax), or -log D(G(z)) (nonsaturating); the others are least squares, the hinge loss, and a critic. On '
        'the digits, the default network learns with both. With --network article --learning-rate-D 0.001, D wins, and '
        "minimax makes G's gradient less than a tenth as long as nonsaturating does (gradient_norm_G in log.csv)",
        choices=OBJECTIVES)
    conditional: bool = choice(
        False, 'give both players the class of each image, so that G learns to draw a given class; the data must have '
        'labels')
    pack: int = choice(
        1, 'how many images D reads together, all of them data or all of them samples, so that it sees whether G draws '
        'the same image again and again; it must divide the batch', metavar='N', limits={'>=': 1, '<=': 1000})
    labelled: int | None = choice(
        None, 'of --network semisupervised: how many training images come with their class, as many of each class; all '
        'others come without', metavar='N', limits=COUNT)
    update: str | None = choice(
        None, 'update D first and then G with new noise, as in Algorithm 1 (alternating), or both at once '
        '(simultaneous)', choices=UPDATES)
    schedule: str | None = choice(
        None, 'the learning rates stay the same (constant), or rise in the first 4 percent of the run and then fall '
        'linearly to 0 at its end (linear)', choices=SCHEDULES)
    average: float | None = choice(
        None, 'draw samples with an average of theta_G over about the last 1 / (1 + X) of the run so far; 0 draws them '
        'with theta_G itself', metavar='X', limits=NOT_NEGATIVE)
    label_smoothing: float | None = choice(
        None, "one-sided label smoothing: D's target for data is 1 - X (minimax and nonsaturating)", metavar='X',
        limits={'>=': 0, '<': 1})
    input_noise: float | None = choice(
        None, "standard deviation of the noise that is added to D's inputs, whose pixels are in [-1, 1]; it falls to 0 "
        'at the end of the run', metavar='X', limits=NOT_NEGATIVE)
    clip_norm: float | None = choice(
        None, 'scale the gradient of a network down to this norm if it is longer; 0 turns this off', metavar='X',
        limits=NOT_NEGATIVE)
    clip_weights: float | None = choice(
        None, "of --network wgan and wgan-clip: after each step of D, clip its weights to [-X, X]; 0 turns this off",
        metavar='X', limits=NOT_NEGATIVE)
    gradient_penalty: float | None = choice(
        None, "of --network wgan and wgan-clip: the weight of the penalty on D's slopes that are not 1; 0 turns this "
        'off', metavar='X', limits=NOT_NEGATIVE)
    cycle_weight: float | None = choice(
        None, 'with --cycle: the weight of the mean difference between an image and its translation there and back',
        metavar='X', limits=NOT_NEGATIVE)
    identity_weight: float | None = choice(
        None, 'with --cycle: the weight of the mean difference between an image of B and what A is translated with '
        'makes of it, and the same for A; 0 turns this off', metavar='X', limits=NOT_NEGATIVE)
    seed: int = choice(
        0, 'seed of the random numbers; the same seed gives the same result on the same machine, with the same number '
        'of BLAS threads', metavar='N')
    device: str = choice(
        'auto', "compute on the CPU, with compiled kernels if there is a C++ compiler ('cpu'); with NumPy alone, which "
        "gives the same numbers ('numpy'); with CuPy on a GPU ('cuda'); on a GPU if there is one that passes a short "
        "self-test, which runs once and takes seconds, otherwise on the CPU ('auto')",
        choices=DEVICES, resumable=True)
    samples_every: int | None = choice(
        None, 'epochs between two pictures of samples; the first and the last epoch always have one', metavar='N',
        limits=COUNT, otherwise='a tenth of the epochs')
    save_every: float = choice(
        30.0, 'seconds between two checkpoints; 0 saves after each step', metavar='SECONDS',
        limits={'>=': 0, '<': math.inf}, resumable=True)
    tensorboard: bool = choice(False, 'log for TensorBoard too', resumable=True)
    out: str | None = choice(
        None, 'where to put the run', metavar='FOLDER', short='-o', otherwise='a new folder runs/DATA-NETWORK')

    def __post_init__(self):
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, np.generic):  # searches for settings often pass NumPy scalars
                value = value.item()
                object.__setattr__(self, option.name, value)
            _check(option, value)

    def resolve(self, recipe, dataset):
        """The config with every None replaced, except in out.

        Raises ValueError for choices that do not fit the network or the number of images.
        """
        self._require_choices_of(recipe)
        n = len(dataset.train)
        own = {setting.name: getattr(recipe, setting.name) for setting in fields(recipe) if hasattr(self, setting.name)}
        config = self._filled(**{**own, 'batch': min(recipe.batch, n), 'n_z': recipe.n_z or prod(dataset.shape)})
        if hasattr(recipe, 'cycle') and (not dataset.X or config.average or config.conditional):
            raise ValueError(f'network: {config.network} needs --cycle A B, without --average and --conditional')
        if config.objective == 'wasserstein' and not (config.clip_weights or config.gradient_penalty or
                                                      config.network == 'spectral'):
            raise ValueError("objective: expected a D with bounded slopes for wasserstein, as --network wgan, "
                             f'wgan-clip or spectral has, got --network {config.network}')
        if config.batch > n:
            raise ValueError(f'batch: expected between 1 and {n}, the number of training images, got {config.batch}')
        for layer in recipe.G(config.n_z, dataset.shape):
            if layer.mixes_rows and config.batch < 2:
                raise ValueError(f'batch: expected at least 2 images, which {layer} in G needs, got {config.batch}')
        if config.k > n // config.batch:
            raise ValueError(f'k: expected at most {n // config.batch}, the number of minibatches in an epoch, '
                             f'got {config.k}')
        config = config._filled(epochs=max(25, math.ceil(3000 / (n // config.batch))))
        return config._filled(samples_every=max(1, config.epochs // 10))

    def _require_choices_of(self, recipe):
        """Raise ValueError for a choice that the network does not have."""
        if self.beta1 is not None and not recipe.takes_beta1:
            raise ValueError(f'beta1: expected none, as {self.network} is not trained with Adam, got {self.beta1}')
        for name in OF_GAMES:
            if getattr(self, name) is not None and not hasattr(recipe, name):
                having = [network for network, other in RECIPES.items() if hasattr(other, name)]
                raise ValueError(f'{name}: expected none with --network {self.network}, got {getattr(self, name)}; it '
                                 f'belongs to {", ".join(having)}')

    def steps_per_epoch(self, n):
        """Iterations of Algorithm 1 in which D reads n images once; for a resolved config."""
        return n // self.batch // self.k

    def _filled(self, **defaults):
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})


def _check(option, value):
    """Raise ValueError unless the value has the option's type and is among its choices or within its limits."""
    types = get_args(option.type) or (option.type,)
    choices, limits = option.metadata.get('choices'), option.metadata.get('limits', {})
    if not (type(value) in types or type(value) is int and float in types):
        raise ValueError(f'{option.name}: expected {types[0].__name__}, got {value!r}')
    if value is None:
        return
    if choices and value not in choices:
        raise ValueError(f'{option.name}: expected one of {", ".join(choices)}, got {value!r}')
    if not all(COMPARE[sign](value, limit) for sign, limit in limits.items()):
        expected = ' and '.join(f'{sign} {limit:,}' for sign, limit in limits.items())
        raise ValueError(f'{option.name}: expected a number {expected}, got {value}')


RESUMABLE = [option.name for option in fields(Config) if option.metadata.get('resumable')]


def require_known(names):
    """Raise TypeError unless every name is that of a choice."""
    known = [option.name for option in fields(Config)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TypeError(f'{", ".join(unknown)}: no such choice; expected some of {", ".join(known)}')


def flag(name):
    """The flag of `minigan train` for a field."""
    return f'-{name}' if len(name) == 1 else f'--{name.replace("_", "-")}'
