"""Threads of the native twins: they never hang, crash or change a bit, whoever calls, forks or ends."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from minigan import ops
from minigan.gpu import fusion
from minigan.native.twins import MOST, native, threads, use
from minigan.streams import Streams

LARGE = 2**18 + 5  # elements, of which threads take pieces
SECONDS = 100  # that a child may take on a busy machine
START = f'''
import os, signal, sys, threading
import numpy as np
from minigan import ops
from minigan.native.twins import native, use
assert use(True) == ''
twins = native()
x = np.linspace(-1, 1, {LARGE}, dtype=np.float32)
wanted = ops.tanh_backward.__wrapped__(x, x)
def correct():
    return np.array_equal(ops.tanh_backward(x, x), wanted)
'''


def child(code, **environment):
    """What a child prints. It fails if the child hangs, crashes or fails."""
    done = subprocess.run([sys.executable, '-c', START + code], capture_output=True, text=True, timeout=SECONDS,
                          env={**os.environ, **environment})
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout


@pytest.fixture(autouse=True)
def in_use(twins):
    assert use(True) == ''
    yield twins
    twins.library.set_threads(threads())


@pytest.mark.parametrize('count', [1, 2, 5])
def test_many_python_threads_may_call_at_once(in_use, count):
    in_use.library.set_threads(count)
    start, failed = threading.Barrier(8), []

    def work(seed):
        make = np.random.default_rng(seed)
        x, y = make.standard_normal((2, 40, LARGE // 40), np.float32)
        columns = make.standard_normal((4, x.shape[1]), np.float32)
        calls = [lambda f: f(ops.tanh_backward)(x, y),
                 lambda f: f(fusion.scale_dropout)(x, Streams(seed).at('dropout', 1), a=2, b=1, rate=0.3),
                 lambda f: f(fusion.batch_norm_leaky_relu_)(x, *columns[:2], *columns[2:].copy(), eps=1e-3,
                                                            momentum=0.9, slope=0.2)[0]]
        wanted = [call(lambda operation: operation.__wrapped__) for call in calls]
        start.wait()
        for _ in range(20):
            for call, expected in zip(calls, wanted):
                if not np.array_equal(call(lambda operation: operation), expected):
                    failed.append(seed)

    workers = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
        assert not worker.is_alive()
    assert failed == []


@pytest.mark.parametrize('count', [2, 5])
@pytest.mark.parametrize('repetition', range(3))
def test_thousands_of_short_launches(count, repetition):
    code = f'''
ones = np.ones(16 << 14, np.float32)  # 16 pieces, the least that threads share
twins.library.set_threads({count})
for i in range(2000):
    y = np.full(16 << 14, i, np.float32)
    assert not ops.tanh_backward(y, ones).any()
    if i % 100 == 0:
        assert correct()
print('done')
'''
    assert child(code) == 'done\n'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('count', [2, 5])
def test_a_forked_child_has_threads_of_its_own(count):
    code = f'''
twins.library.set_threads({count})
assert correct()
for i in range(20):
    ends = os.fork()
    if not ends:
        signal.alarm(60)
        grandchild = os.fork() if i % 5 == 0 else None
        good = all(correct() for _ in range(5))
        if grandchild:
            good = good and os.waitpid(grandchild, 0)[1] == 0
        sys.stdout.flush()
        if i % 2:
            sys.exit(not good)  # through Python's end
        os._exit(not good)
    assert correct()
    assert os.waitpid(ends, 0)[1] == 0
assert correct()
'''
    assert child(code) == ''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_fork_while_other_threads_are_in_a_kernel():
    code = '''
twins.library.set_threads(3)
going, wrong = True, []
def work():
    while going:
        if not correct():
            wrong.append(1)
workers = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for worker in workers: worker.start()
for i in range(30):
    ends = os.fork()
    if not ends:
        signal.alarm(60)
        os._exit(not correct())
    assert os.waitpid(ends, 0)[1] == 0
going = False
for worker in workers: worker.join()
assert not wrong
'''
    assert child(code) == ''


def twins_of_a_child(seed):
    """For multiprocessing: whether twins compute correctly there."""
    assert use(True) == ''
    native().library.set_threads(2)
    x = np.random.default_rng(seed).standard_normal(LARGE, np.float32)
    return np.array_equal(ops.tanh_backward(x, x), ops.tanh_backward.__wrapped__(x, x))


@pytest.mark.parametrize('method', multiprocessing.get_all_start_methods())
def test_processes_of_multiprocessing(in_use, method):
    in_use.library.set_threads(2)
    x = np.ones(LARGE, np.float32)
    ops.tanh_backward(x, x)  # helpers of this process exist, and sleep
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(twins_of_a_child, range(4)).get(timeout=SECONDS) == [True] * 4


def working(repetitions, daemon):
    return f'threading.Thread(target=lambda: [correct() for _ in range({repetitions})], daemon={daemon}).start()'


@pytest.mark.parametrize('end', ['', 'sys.exit(0)', 'os._exit(0)', working(50, False), working(9999, True)])
def test_a_process_may_end_while_helpers_sleep_or_work(end):
    assert child(f'twins.library.set_threads(5)\nassert correct()\n{end}\n') == ''


@pytest.mark.skipif(sys.platform != 'linux', reason='this limit of memory is that of Linux')
def test_where_no_thread_can_be_started_one_is_enough():
    code = '''
import resource
pages = int(open('/proc/self/statm').read().split()[0])
room = 4 << 20  # less than a thread's stack, and enough for the result
resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf('SC_PAGE_SIZE') + room, resource.RLIM_INFINITY))
twins.library.set_threads(16)
assert correct() and correct()
'''
    assert child(code) == ''


@pytest.mark.parametrize('value, expected', [('0', None), ('x', None), ('', None), ('1', 1), ('3', 3), ('99', MOST),
                                             ('-2', None), ('1.5', None), ('\u00b2', None), ('\u0663', 3)])
def test_the_number_of_threads_is_that_of_numpys_products(monkeypatch, value, expected):
    for name in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    cores = threads()
    assert 1 <= cores <= MOST
    monkeypatch.setenv('OPENBLAS_NUM_THREADS', value)
    assert threads() == (expected or cores)
    monkeypatch.setenv('OMP_NUM_THREADS', '4')
    assert threads() == (expected or 4)


@pytest.mark.parametrize('value', ['0', 'x', '1', '99'])
def test_any_number_of_threads_works(value):
    assert child('assert all(correct() for _ in range(20))', OPENBLAS_NUM_THREADS=value, OMP_NUM_THREADS=value) == ''
