"""Train a GAN: every choice of a run, the loop around Algorithm 1, and what it leaves behind."""

from minigan.training.build import build_game
from minigan.training.config import Config
from minigan.training.run import resume, train

__all__ = ['Config', 'build_game', 'resume', 'train']
