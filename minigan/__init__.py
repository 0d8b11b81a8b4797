"""The original generative adversarial network, written by hand, every derivative checked."""

from minigan.gan import Game
from minigan.gradcheck import gradcheck
from minigan.layers import (BatchNorm, Dense, Dropout, Layer, LeakyReLU, Maxout, Noise, Scale, Sequential, Sigmoid,
                            Tanh)
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.optim import Adam, SGDMomentum
from minigan.streams import Streams

__version__ = '0.1.0'
__all__ = ['Adam', 'BatchNorm', 'Dense', 'Dropout', 'Game', 'Layer', 'LeakyReLU', 'Maxout', 'Net', 'Noise', 'RECIPES',
           'SGDMomentum', 'Scale', 'Sequential', 'Sigmoid', 'Streams', 'Tanh', 'gradcheck', 'load']


def load(path):
    """The generator of a run's folder, or of a checkpoint file; see generator.py."""
    from minigan import generator  # imported late: reading archives takes more imports than all else here
    return generator.load(path)
