"""Train a GAN: every choice of a run, the loop around Algorithm 1, and what it leaves behind."""

from minigan.training.build import build_game
from minigan.training.config import Config, require_known
from minigan.training.inspection import compare
from minigan.training.run import resume, train

__all__ = ['Config', 'build_game', 'compare', 'require_known', 'resume', 'train']
