"""The stand-in behaves like the real cupy wherever it matters, and the code uses nothing that the real one lacks."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from support import cupy_names, standin

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / 'minigan').rglob('*.py')) + sorted((ROOT / 'bench').glob('*.py'))


def test_it_computes_as_numpy_does_and_counts(cupy):
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = cupy.asarray(host)
    assert type(x).__module__ == 'cupy' and cupy.counts == {'uploads': 1, 'launches': 0, 'waits': 0, 'products': 0}
    y = cupy.maximum(x, 2) @ x.T
    y += x.sum(axis=1)
    assert cupy.counts == {'uploads': 1, 'launches': 4, 'waits': 0, 'products': 1}
    np.testing.assert_array_equal(y.get(), np.maximum(host, 2) @ host.T + host.sum(axis=1))
    assert cupy.counts['waits'] == 1 and y.dtype == np.float32 and len(x) == 2 and x[:1].shape == (1, 3)
    assert float(x.mean()) == 2.5 and int(x[1, 2]) == 5 and bool(x[0, 1]) and repr(x) == repr(host)
    assert cupy.counts['waits'] == 5


def test_it_shares_memory_where_the_real_one_does(cupy):
    host = np.zeros((2, 3), np.float32)
    x = cupy.asarray(host)
    x.reshape(6)[1:3] = 7
    x[0] *= 2
    assert x.get().tolist() == [[0, 14, 14], [0, 0, 0]] and not host.any()
    out = cupy.empty(3, np.float32)
    assert x.sum(axis=0, out=out) is out and out.get().tolist() == [0, 14, 14]


def test_new_memory_is_undefined(cupy):
    assert np.isnan(cupy.empty((2, 2), np.float32).get()).all()
    assert np.isnan(cupy.empty_like(cupy.zeros(3)).get()).all()


@pytest.mark.parametrize('use, error', [
    (lambda cp, x: cp.exp(np.ones(3)), 'Unsupported type'),
    (lambda cp, x: x + np.ones(3), 'Unsupported type'),
    (lambda cp, x: cp.concatenate([x, np.ones(3)]), 'Unsupported type'),
    (lambda cp, x: np.asarray(x), 'Implicit conversion to a NumPy array is not allowed'),
    (lambda cp, x: np.add.reduce(x), 'returned NotImplemented'),
    (lambda cp, x: cp.sum(x, where=x > 0), "unexpected keyword argument 'where'"),
    (lambda cp, x: x.sum(where=x > 0), "unexpected keyword argument 'where'"),
    (lambda cp, x: cp.errstate, "module 'cupy' has no attribute 'errstate'"),
    (lambda cp, x: x.tofile_, "'cupy.ndarray' object has no attribute 'tofile_'"),
    (lambda cp, x: x.newbyteorder, "'cupy.ndarray' object has no attribute 'newbyteorder'")])
def test_what_the_real_one_refuses_is_refused(cupy, use, error):
    with pytest.raises((TypeError, AttributeError), match=error):
        use(cupy, cupy.zeros(3))


def test_numpys_functions_go_to_cupy(cupy):
    assert type(np.exp(cupy.zeros(3))) is standin.ndarray


def test_each_array_of_a_concatenation_costs_a_launch_and_a_cast_to_the_same_dtype_none(cupy):
    x = cupy.zeros(3, np.float32)
    cupy.counts.clear()
    cupy.concatenate([x, x])
    x.astype(np.float32, copy=False)
    assert cupy.counts['launches'] == 2
    x.astype(np.float64, copy=False)
    cupy.asarray(x)
    assert cupy.counts['launches'] == 3 and not cupy.counts['uploads']


def test_a_raw_kernel_refuses_numpy_arrays(cupy):
    code = 'extern "C" __global__ void one(float* x, int n) { if (threadIdx.x < n) x[threadIdx.x] = 1; }'
    kernel, x = cupy.RawModule(code=code, options=('--std=c++17',)).get_function('one'), cupy.zeros(5, np.float32)
    kernel((1,), (8,), (x, np.int32(4)))
    assert x.get().tolist() == [1, 1, 1, 1, 0]
    with pytest.raises(TypeError, match=r'pass a numpy.ndarray of shape \(5,\)'):
        kernel((1,), (8,), (np.zeros(5, np.float32), np.int32(4)))


def used(path):
    """(name, keywords) of every cupy function that a source uses: xp.name, cupy.name or array_module(x).name."""
    tree, calls = ast.parse(path.read_text()), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            calls[node.func] = {keyword.arg for keyword in node.keywords}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if owner in ('xp', 'cupy') or owner.endswith('.xp') or owner.startswith('array_module('):
                yield node.attr, calls.get(node, set())


EXTRA = {'RawModule': {'code', 'options'}, '__version__': set(), 'cuda': set()}  # classes, modules


def test_every_name_and_keyword_that_the_code_uses_is_in_the_table():
    found = {(name, keyword) for path in SOURCES for name, keywords in used(path) for keyword in (*keywords, None)}
    assert {name for name, _ in found} >= {'empty', 'empty_like', 'argsort', 'matmul', 'RawModule', 'sqrt', 'arange'}
    for name, keyword in found:
        functions = standin.NAMES['functions']
        assert name in {*functions, *standin.NAMES['others'], *EXTRA}, name
        assert keyword is None or keyword in (EXTRA.get(name) or functions[name].split()), (name, keyword)


@pytest.mark.skipif(not importlib.util.find_spec('cupy'), reason='cupy is not installed')
def test_the_table_is_the_real_packages():
    import cupy
    real = cupy_names.names(cupy)
    if real['version'] == standin.NAMES['version']:
        for kind in ('functions', 'methods', 'attributes'):
            assert real[kind] == standin.NAMES[kind]
    for name, keywords in {(name, tuple(keywords)) for path in SOURCES for name, keywords in used(path)}:
        assert hasattr(cupy, name), name
        if name in real['functions']:
            assert set(keywords) <= set((real['functions'][name] or ' '.join(keywords)).split()), name
    for owner, names in ((cupy.cuda, ('Event', 'get_elapsed_time', 'Device')), (cupy.cuda.Device, ('id',)),
                         (cupy.cuda.Event, ('record', 'synchronize')), (cupy.cuda.runtime, ('getDeviceProperties',))):
        for name in names:  # used by the stand-in or by the benchmarks
            assert hasattr(owner, name), name
