"""Ranks with a GPU each are one process on the CPU. The real CuPy runs here, on a stand-in for CUDA."""

import numpy as np
import pytest
from bench_ranks import apart, described, play

from minigan.gpu.twins import compiled
from minigan.parallel.in_turn import InTurn
from minigan.parallel.ranks import ALONE, Ranks
from minigan.parallel.streams import RankStreams
from minigan.streams import Streams

STEPS, LIMIT = 3, 1e-4  # float32, whose sums have a different order on a GPU


@pytest.mark.parametrize('case', ['default', 'wgan, dropout'])
def test_ranks_on_gpus_are_one_process_on_the_cpu(cupy, case):
    description = described(case, 8, np.float32)
    found = apart(play(description, 2, STEPS, np.float32, xp=cupy), play(description, 1, STEPS, np.float32))
    assert 0 < found.error < LIMIT, found


def test_each_rank_draws_on_its_gpu_what_one_process_draws_on_the_cpu(cupy):
    one, on_gpu = Streams(5), Streams(5, xp=cupy, kernels=compiled(cupy))
    for draw in ('bits', 'uniform'):
        whole = getattr(one.at('dropout', 3), draw)((2 * 3 * 4, 7))
        for rank in range(3):
            rng = RankStreams(on_gpu, Ranks(InTurn(rank, 3, None, None, None))).at('dropout', 3)
            rng.blocks = 2
            mine = getattr(rng, draw)((2 * 4, 7))
            np.testing.assert_array_equal(mine.get(), whole.reshape(2, 3, 4, 7)[:, rank].reshape(8, 7))


def test_sums_and_gathered_rows_are_on_the_gpu_again(cupy):
    x = cupy.arange(6, dtype=np.float32).reshape(2, 3)
    for found in (ALONE.sum(x), ALONE.gather(x)[0], ALONE.rows(x)):
        assert type(found) is cupy.ndarray
        np.testing.assert_array_equal(found.get(), x.get())
    ALONE.average_(x)
    assert ALONE.same([x]) and x.get().sum() == 15
