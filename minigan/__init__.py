"""The original generative adversarial network, written by hand, every derivative checked."""

from minigan.gan import Game
from minigan.generator import load
from minigan.gradcheck import gradcheck
from minigan.layers import BatchNorm, Dense, Dropout, Layer, LeakyReLU, Sigmoid, Tanh
from minigan.net import Net
from minigan.networks import RECIPES
from minigan.optim import Adam, SGDMomentum
from minigan.streams import Streams

__version__ = '0.1.0'
__all__ = ['Adam', 'BatchNorm', 'Dense', 'Dropout', 'Game', 'Layer', 'LeakyReLU', 'Net', 'RECIPES', 'SGDMomentum',
           'Sigmoid', 'Streams', 'Tanh', 'gradcheck', 'load']
