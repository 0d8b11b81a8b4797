"""What R ranks draw are the rows of what one process draws, to the last bit."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.parallel.in_turn import InTurn
from minigan.parallel.ranks import Ranks
from minigan.parallel.streams import SHARED, RankStreams
from minigan.streams import STREAMS, Streams
from minigan.variants.conditional import LabelledPrior

DRAWS = {'bits': [()], **{name: [(np.float32,), (np.float64,)] for name in ('uniform', 'normal', 'uniform_noise')}}
DRAW = st.sampled_from([(name, *dtype) for name, dtypes in DRAWS.items() for dtype in dtypes])


def ranks_of(size):
    """R Ranks that never meet: streams need none of their methods."""
    return [Ranks(InTurn(rank, size, None, None, None)) for rank in range(size)]


def rows_of(whole, rank, size, blocks):
    """The rows that a rank reads: of each block, the part that belongs to it."""
    return whole.reshape(blocks, size, -1, *whole.shape[1:])[:, rank].reshape(-1, *whole.shape[1:])


@given(size=st.integers(1, 5), blocks=st.integers(1, 2), m=st.integers(1, 7), columns=st.sampled_from(
    [(), (1,), (3,), (2, 5), (17,)]), draws=st.lists(DRAW, min_size=1, max_size=4), seed=st.integers(0, 2**64 - 1),
    stream=st.sampled_from(SHARED), step=st.integers(0, 2**40), substep=st.integers(0, 5))
def test_a_rank_draws_its_rows_of_one_array_after_another(size, blocks, m, columns, draws, seed, stream, step, substep):
    """m rows in a block of a rank: of images, or of packs of them, or of their pixels."""
    streams = Streams(seed)
    one = streams.at(stream, step, substep)
    ours = [RankStreams(streams, ranks).at(stream, step, substep) for ranks in ranks_of(size)]
    for rng in ours:
        rng.blocks = blocks
    for name, *dtype in draws:
        whole = getattr(one, name)((blocks * size * m, *columns), *dtype)
        for rank, rng in enumerate(ours):
            mine = getattr(rng, name)((blocks * m, *columns), *dtype)
            assert mine.dtype == whole.dtype
            np.testing.assert_array_equal(mine, rows_of(whole, rank, size, blocks))
    assert {rng.next_key() for rng in ours} == {one.next_key()}


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_a_rank_draws_its_rows_of_noise_with_classes(dtype):
    prior, streams = LabelledPrior('normal', (0.2, 0.5, 0.3)), Streams(3)
    whole = prior(streams.at('noise', 4), (12, 5 + 3), dtype)
    for ranks in ranks_of(3):
        mine = prior(RankStreams(streams, ranks).at('noise', 4), (4, 5 + 3), dtype)
        np.testing.assert_array_equal(mine, rows_of(whole, ranks.rank, 3, 1))


@pytest.mark.parametrize('name', DRAWS)
def test_no_two_ranks_draw_the_same(name):
    mine = [getattr(RankStreams(Streams(0), ranks).at('noise', 0), name)((50, 20)) for ranks in ranks_of(4)]
    assert len({array.tobytes() for array in mine}) == 4
    assert all(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.15 for a in mine for b in mine if a is not b)


@pytest.mark.parametrize('stream', sorted({*STREAMS} - {*SHARED}))
def test_all_ranks_draw_the_starting_values_the_order_of_the_data_and_samples_alike(stream):
    streams = Streams(7)
    for ranks in ranks_of(3):
        for draw in ('normal', 'permutation'):
            mine = getattr(RankStreams(streams, ranks).at(stream, 2, 1), draw)(11)
            np.testing.assert_array_equal(mine, getattr(streams.at(stream, 2, 1), draw)(11))


def test_a_rank_draws_no_more_than_its_rows(monkeypatch):
    """But for the rest of a block of Philox: 4 words."""
    drawn = []
    generator = Streams.generator

    def counted(self, *key):
        made = generator(self, *key)

        class Counted:
            def __getattr__(self, name):
                def draw(n, *more):
                    drawn.append(prod(np.atleast_1d(n)))
                    return getattr(made, name)(n, *more)
                return draw
        return Counted()
    monkeypatch.setattr(RankStreams, 'generator', counted)
    for ranks in ranks_of(4):
        rng = RankStreams(Streams(0), ranks).at('noise', 0)
        for draw in (rng.uniform, rng.normal):
            drawn.clear()
            draw((30, 7))
            assert sum(drawn) <= 2 * (30 * 7 + 8)


def test_an_unknown_stream_is_refused():
    with pytest.raises(ValueError, match="stream: expected one of init, .*, got 'nosie'"):
        RankStreams(Streams(0), ranks_of(2)[0]).at('nosie', 0)
