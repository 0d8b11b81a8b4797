"""The stand-in for cupy with what benchmarks need too: events on streams, graphs, and a GPU with properties.

A captured function runs when it is captured and again at each replay. `import cupy` in a process that has
PYTHONPATH=folder:tests, with `from support.gpu_to_time import install; install()` in folder/cupy.py, gives it.
"""

import sys
import types

from support.standin import Cupy, Event

from minigan.gpu import graph

PROPERTIES = {'name': b'no GPU, but a stand-in', 'major': 9, 'minor': 0, 'totalGlobalMem': 2**33,
              'multiProcessorCount': 2, 'l2CacheSize': 2**20}


class Timer(Event):
    """cupy.cuda.Event, which may name a stream."""

    done = False

    def record(self, stream=None):
        """Take the time."""
        super().record()


class Captured:
    """What graph.capture returns."""

    stream = None

    def __init__(self, xp, function):
        self.function, self.result = function, function()

    def launch(self):
        """Run the function again."""
        self.function()


class StepGraph:
    """graph.StepGraph, which captures nothing."""

    remark = 'no GPU: steps are launched one by one'

    def __init__(self, game):
        self.step = game.step


def gpu(**keywords):
    """The module."""
    module = Cupy(**keywords)
    module.watched = False  # for races: quicker without
    module.cuda.Event = Timer
    module.cuda.set_allocator = lambda allocator: None
    module.cuda.runtime = types.SimpleNamespace(
        getDeviceProperties=lambda number: PROPERTIES, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090)
    return module


def install():
    """Make `import cupy` give it in this process, and capture without a GPU."""
    sys.modules['cupy'], graph.capture, graph.StepGraph = gpu(), Captured, StepGraph
