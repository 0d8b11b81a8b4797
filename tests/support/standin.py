"""Stands in for cupy, on a CPU: code may use what the real package has (cupy_names.json) and nothing else.

Like the real one it refuses NumPy arrays, never copies to the host unasked, gives 0-d arrays where NumPy gives numbers,
and leaves new memory undefined (here: NaN). Raw kernels run in minigan.gpu.emulator. It also counts calls.
"""

import json
import time
import types
from collections import Counter

import numpy as np
from support.cupy_names import TABLE

from minigan.gpu.emulator import HostModule

NAMES = json.loads(TABLE.read_text())
VIEWS = {'reshape', 'ravel', 'view', 'transpose', 'squeeze', 'swapaxes', 'expand_dims', 'broadcast_to'}  # if contiguous
EMPTY = {'empty', 'empty_like'}
UPLOADS = {'asarray', 'array'}
PRODUCTS = {'matmul', 'dot'}
COUNTS = ('launches', 'products', 'waits', 'uploads')


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801: its name in cupy
    """An array on the device; its numbers are in _host, which only the stand-in reads."""

    __module__ = 'cupy'

    def __init__(self, module, host):
        self._module, self._host = module, host

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **keywords):
        if method != '__call__':
            return NotImplemented
        return getattr(self._module, ufunc.__name__)(*inputs, **keywords, **({'out': out[0]} if out else {}))

    def __array__(self, *_, **__):
        raise TypeError('Implicit conversion to a NumPy array is not allowed. Please use `.get()`.')

    def __getattr__(self, name):
        if name in NAMES['attributes']:
            return self._module._wrap(getattr(self._host, name))
        if name in NAMES['methods']:
            return lambda *arguments, **keywords: self._module._call(name, NAMES['methods'][name], getattr(
                np.ndarray, name), (self, *arguments), keywords)
        raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")

    def __len__(self):
        return len(self._host)

    def __getitem__(self, index):
        self._module.counts['launches'] += isinstance(index, ndarray)  # a slice is a view
        return self._module._wrap(self._host[self._module._unwrap(index)])

    def __setitem__(self, index, value):
        self._module.counts['launches'] += 1
        self._host[self._module._unwrap(index)] = self._module._unwrap(value)

    def get(self):
        """A copy on the host: waits for all that was launched."""
        self._module.counts['waits'] += 1
        return self._host.copy()

    def item(self):
        """The one number, on the host."""
        return self.get().item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    __index__ = __int__

    def __repr__(self):
        return repr(self.get())


class Cupy(types.ModuleType):
    """The module. counts: kernels launched, matrix products among them; waits for the device; copies to it.
    order: of threads, fma, and watched: as in minigan.gpu.emulator.

    A call counts as one launch, though the real package may need more. Only concatenate, for which this is known,
    counts one for each array. Views and undefined memory cost none.
    """

    __version__ = NAMES['version']

    def __init__(self, *, fma=False):
        super().__init__('cupy')
        self.counts, self.order, self.fma, self.ndarray = Counter(dict.fromkeys(COUNTS, 0)), 0, fma, ndarray
        self.watched = True
        self.RawModule = lambda **keywords: RawModule(self, **keywords)
        properties = {'name': b'no GPU, but a stand-in', 'major': 9, 'minor': 0}
        runtime = types.SimpleNamespace(getDeviceProperties=lambda number: properties,
                                        driverGetVersion=lambda: 12090, runtimeGetVersion=lambda: 12090)
        self.cuda = types.SimpleNamespace(Event=Event, get_elapsed_time=lambda a, b: 1e3 * (b.time - a.time),
                                          Device=lambda: types.SimpleNamespace(id=0), runtime=runtime)

    def __getattr__(self, name):
        if name in NAMES['functions'] and hasattr(np, name):
            return lambda *arguments, **keywords: self._call(name, NAMES['functions'][name], getattr(np, name),
                                                             arguments, keywords)
        if name in NAMES['others'] and hasattr(np, name):
            return getattr(np, name)
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")

    def _call(self, name, parameters, function, arguments, keywords):
        unknown = set(keywords) - set((parameters or ' '.join(keywords)).split())
        if unknown:
            raise TypeError(f'cupy.{name}() got an unexpected keyword argument {unknown.pop()!r}')
        self._count(name, arguments, keywords)
        result = function(*(arguments if name in UPLOADS and type(arguments[0]) is np.ndarray else
                            map(self._unwrap, arguments)), **dict(zip(keywords, map(self._unwrap, keywords.values()))))
        if name in UPLOADS and type(arguments[0]) is np.ndarray:
            result = result.copy()
        if name in EMPTY:
            result[...] = np.nan if result.dtype.kind == 'f' else np.iinfo(result.dtype).max  # undefined
        return keywords['out'] if isinstance(keywords.get('out'), ndarray) else self._wrap(result)

    def _count(self, name, arguments, keywords):
        self.counts['products'] += name in PRODUCTS
        if name in UPLOADS and isinstance(arguments[0], np.ndarray):
            self.counts['uploads'] += 1
        elif name in ('concatenate', 'stack'):
            self.counts['launches'] += len(arguments[0])
        elif name == 'astype' and keywords.get('copy') is False and arguments[0].dtype == arguments[1]:
            pass
        elif name not in VIEWS | EMPTY | {'asarray'}:
            self.counts['launches'] += 1

    def _unwrap(self, value):
        if isinstance(value, ndarray):
            return value._host
        if isinstance(value, np.ndarray):
            raise TypeError(f'Unsupported type {type(value)}')
        if isinstance(value, (tuple, list)):
            return type(value)(map(self._unwrap, value))
        return value

    def _wrap(self, value):
        if isinstance(value, tuple):
            return tuple(map(self._wrap, value))
        return ndarray(self, np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


class RawModule:
    """cupy.RawModule."""

    def __init__(self, module, *, code, options=()):
        self.module, self.host = module, HostModule(code, fma=module.fma, watched=module.watched)

    def get_function(self, name):
        """The kernel of that name; called with (grid, block, arguments)."""
        kernel = self.host.get_function(name)

        def call(grid, block, arguments):
            self.module.counts['launches'] += 1
            self.host.seed = self.module.order
            for argument in arguments:
                if isinstance(argument, np.ndarray):
                    raise TypeError(f'You are trying to pass a numpy.ndarray of shape {argument.shape} as a kernel '
                                    f'parameter')
            kernel(grid, block, tuple(map(self.module._unwrap, arguments)))

        return call


class Event:
    """cupy.cuda.Event: the host's own time, since every call is done when it returns."""

    def record(self):
        """Take the time."""
        self.time = time.perf_counter()

    def synchronize(self):
        """There is nothing to wait for."""
