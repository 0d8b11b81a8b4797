"""The stand-in for cupy with what benchmarks need too: events, a GPU with properties, and graphs.

What is captured runs at once, and again at each replay. `install()` gives it to `import cupy` in this process; a file
cupy.py that calls it, in a folder of PYTHONPATH, gives it to a different one.
"""

import sys
import types

from support.standin import Cupy, Event

from minigan.gpu import graph

PROPERTIES = {'name': b'no GPU, but a stand-in', 'major': 9, 'minor': 0, 'totalGlobalMem': 2**33,
              'multiProcessorCount': 2, 'l2CacheSize': 2**20}


class Timer(Event):
    """cupy.cuda.Event. done: what the next ones say."""

    done = False


class Captured:
    """What graph.capture returns."""

    def __init__(self, xp, function):
        self.launch, self.result = function, function()


class StepGraph:
    """graph.StepGraph, which captures nothing."""

    remark = None

    def __init__(self, game):
        self.step = game.step


def gpu():
    """The module. Its kernels are not watched for races."""
    module = Cupy()
    module.watched, module.cuda.Event, module.cuda.set_allocator = False, Timer, lambda allocator: None
    module.cuda.runtime = types.SimpleNamespace(
        getDeviceProperties=lambda number: PROPERTIES, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090)
    return module


def install(replace=setattr):
    """Make `import cupy` give it, and graphs be captured without a GPU. replace: such as monkeypatch.setattr."""
    sys.modules['cupy'] = gpu()
    replace(graph, 'capture', Captured)
    replace(graph, 'StepGraph', StepGraph)
