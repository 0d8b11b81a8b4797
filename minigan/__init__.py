"""The original generative adversarial network, written by hand, every derivative checked."""

import minigan.cli  # noqa: F401: first, so that Ctrl-C ends the command quietly even while NumPy is being imported
from minigan import losses, ops
from minigan.checks.derivatives import check
from minigan.checks.gradcheck import gradcheck
from minigan.gan import Game
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid, Tanh
from minigan.net import Net
from minigan.optim import Adam, SGDMomentum
from minigan.streams import Streams
from minigan.variants import RECIPES

__version__ = '0.1.0'
__all__ = ['Adam', 'BatchNorm', 'Dense', 'Dropout', 'Game', 'Layer', 'LeakyReLU', 'Maxout', 'Net', 'Noise', 'RECIPES',
           'SGDMomentum', 'Scale', 'Sequential', 'Sigmoid', 'Streams', 'Tanh', 'check', 'gradcheck', 'load', 'losses',
           'ops', 'resume', 'train']


# These three import on the first call: files, pictures and scikit-learn take longer to import than the rest.

def load(path):
    """The generator of a run's folder, or of a checkpoint file; see storage/generator.py."""
    from minigan.storage import generator
    return generator.load(path)


def train(*, quiet=False, after_epoch=None, ranks=None, **choices):
    """Train a GAN and return the run's folder: minigan.train(network='default', epochs=1); see training/config.py."""
    from minigan import training
    training.require_known(choices)
    return training.train(training.Config(**choices), quiet=quiet, after_epoch=after_epoch, ranks=ranks)


def resume(folder, *, quiet=False, after_epoch=None, ranks=None, **changes):
    """Continue the run in a folder and return the folder; see training/run.py."""
    from minigan import training
    return training.resume(folder, quiet=quiet, after_epoch=after_epoch, ranks=ranks, **changes)


def __getattr__(name):
    if name == 'laws':  # needs Hypothesis
        import minigan.laws
        return minigan.laws
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
