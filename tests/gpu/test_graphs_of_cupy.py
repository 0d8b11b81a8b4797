"""CUDA graphs of the real CuPy on the stand-in: what a capture records, what a replay does, and what is refused."""

import contextlib

import numpy as np
import pytest

SCALE = '''
extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];
}
'''
SIZE = 300


@pytest.fixture
def stream(cupy):
    """A blocking stream. Whatever a test does, its capture ends."""
    stream = cupy.cuda.Stream()
    yield stream
    with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
        stream.end_capture()


@pytest.fixture
def scale(cupy):
    kernel = cupy.RawModule(code=SCALE).get_function('scale')
    return lambda x, y, factor: kernel((2,), (256,), (x, y, np.float32(factor), np.int32(x.size)))


def captured(stream, function):
    """The graph of what function() launches."""
    with stream:
        stream.begin_capture()
        function()
        return stream.end_capture()


def test_a_capture_records_and_a_replay_computes_with_what_is_there_by_then(cupy, driver, stream, scale):
    x, y, out = cupy.ones(SIZE, np.float32), cupy.zeros(SIZE, np.float32), cupy.zeros(SIZE, np.float32)
    cupy.add(y, x, out=out)  # compiled
    out.fill(0)

    def work():
        scale(x, y, 3.0)
        cupy.add(y, x, out=out)
        out[:2] = x[:2]
        y.data.memset_async(0, 4, stream)

    driver.clear()
    graph = captured(stream, work)
    assert driver.counts == {} and driver.launched == {}
    assert not out.get().any()  # nothing has run
    driver.clear()
    graph.launch(stream)
    assert driver.counts == {'replays': 1, 'nodes': 4}
    assert driver.launched == {'scale': 1, 'cupy_add__float32_float32_float32': 1}
    assert out.get().tolist() == [1, 1] + [4] * (SIZE - 2) and y.get().tolist() == [0] + [3] * (SIZE - 1)
    x.fill(2)
    graph.launch(stream)
    assert out.get().tolist() == [2, 2] + [8] * (SIZE - 2)


def test_numbers_are_baked_in_and_numbers_in_memory_are_not(cupy, stream, scale):
    x, y, factor = cupy.ones(SIZE, np.float32), cupy.zeros(SIZE, np.float32), 2.0
    now = cupy.full(1, 5, np.float32)
    z = x * now  # compiled
    graph = captured(stream, lambda: (scale(x, y, factor), cupy.multiply(x, now, out=z)))
    factor = 7.0
    now.fill(9)
    graph.launch(stream)
    assert (y.get() == 2).all() and (z.get() == 9).all()


def test_arrays_of_a_capture_are_those_of_every_replay(cupy, driver, stream, scale):
    x, results = cupy.arange(SIZE, dtype=np.float32), []
    x + x  # memory and kernel are there
    graph = captured(stream, lambda: results.append(x + x))
    for start in (0, 5):
        x[...] = cupy.arange(start, start + SIZE, dtype=np.float32)
        graph.launch(stream)
        np.testing.assert_array_equal(results[0].get(), 2 * np.arange(start, start + SIZE))


def test_ten_thousand_replays_allocate_nothing(cupy, driver, stream, scale):
    x = cupy.ones(SIZE, np.float32)
    graph = captured(stream, lambda: scale(x, x, 1.0))
    used = driver.used()
    driver.clear()
    for _ in range(10_000):
        graph.launch(stream)
    assert driver.counts == {'replays': 10_000, 'nodes': 10_000} and driver.used() == used


def test_a_replay_after_its_memory_was_freed_computes_nan(cupy, stream, scale):
    memory = [cupy.cuda.Memory(4 * SIZE)]  # outside the pool: it is freed as soon as nobody holds it
    y = cupy.zeros(SIZE, np.float32)

    def work():
        scale(cupy.ndarray(SIZE, np.float32, cupy.cuda.MemoryPointer(memory[0], 0)), y, 1.0)

    cupy.ndarray(SIZE, np.float32, cupy.cuda.MemoryPointer(memory[0], 0)).fill(1)
    graph = captured(stream, work)
    graph.launch(stream)
    assert (y.get() == 1).all()
    memory.clear()
    graph.launch(stream)
    assert np.isnan(y.get()).all()


@pytest.mark.parametrize('mistake, error', [
    (lambda xp, x: xp.cuda.get_current_stream().synchronize(), 'cudaErrorStreamCaptureUnsupported'),
    (lambda xp, x: xp.cuda.Device().synchronize(), 'cudaErrorStreamCaptureUnsupported'),
    (lambda xp, x: [xp.cuda.get_current_stream().done], 'cudaErrorStreamCaptureUnsupported'),
    (lambda xp, x: xp.multiply(x, x, out=x) if xp.cuda.Stream.null.use() else None, 'cudaErrorStreamCaptureImplicit'),
    (lambda xp, x: xp.cuda.runtime.memcpy(x.data.ptr, x.data.ptr, 4, 3), 'cudaErrorStreamCaptureImplicit')])
def test_what_waits_or_uses_the_legacy_stream_invalidates_a_capture(cupy, stream, mistake, error):
    x = cupy.ones(4, np.float32)
    cupy.multiply(x, x, out=x)
    with stream:
        stream.begin_capture()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match=error):
            mistake(cupy, x)
    with stream:
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match='cudaErrorStreamCaptureInvalidated'):
            x *= x
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match='cudaErrorStreamCaptureInvalidated'):
            stream.end_capture()
    assert float(x.sum()) == 4  # all is well again


def test_an_allocation_is_refused_unless_the_capture_is_relaxed(cupy, driver, stream):
    runtime = cupy.cuda.runtime
    with stream:
        stream.begin_capture()  # CuPy's default is relaxed
        assert driver.costs(lambda: cupy.empty(2**23, np.uint8)) == {'allocations': 1}
        stream.end_capture()
        for mode in (runtime.streamCaptureModeGlobal, runtime.streamCaptureModeThreadLocal):
            stream.begin_capture(mode)
            with pytest.raises(runtime.CUDARuntimeError, match='cudaErrorStreamCaptureUnsupported'):
                cupy.empty(2**24 + mode * 2**20, np.uint8)
            with pytest.raises(runtime.CUDARuntimeError, match='cudaErrorStreamCaptureInvalidated'):
                stream.end_capture()


@pytest.mark.parametrize('call, error', [(lambda x: x @ x, 'calling cuBLAS API during stream capture'),
                                         (lambda x: float(x[0, 0]), 'capturing, so D2H transfers are disallowed')])
def test_cupy_itself_refuses_cublas_and_copies_to_the_host_and_the_capture_goes_on(cupy, stream, call, error):
    x = cupy.ones((4, 4), np.float32)
    x @ x
    x *= x
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match=error):  # NotImplementedError is one
            call(x)
        x += x
        graph = stream.end_capture()
    graph.launch(stream)
    assert float(x[0, 0]) == 2


def test_a_stream_that_does_not_wait_for_the_legacy_stream_lets_it_work_during_a_capture(cupy, driver):
    stream, x = cupy.cuda.Stream(non_blocking=True), cupy.ones(4, np.float32)
    x *= x
    with stream:
        stream.begin_capture()
        x *= x
        with cupy.cuda.Stream.null:
            x += x
        graph = stream.end_capture()
    assert x.get().tolist() == [2] * 4
    graph.launch(stream)
    assert x.get().tolist() == [4] * 4


def test_the_same_work_by_launches_and_by_replays_gives_the_same_bytes(cupy, stream):
    start = np.linspace(-2, 2, SIZE, dtype=np.float32)
    one, two = cupy.asarray(start), cupy.asarray(start)

    def step(x):
        x += cupy.tanh(x + 1).sum() * cupy.exp(-x * x)

    step(cupy.asarray(start))
    graph = captured(stream, lambda: step(two))
    for _ in range(20):
        step(one)
        graph.launch(stream)
    assert one.get().tobytes() == two.get().tobytes() != start.tobytes()
