"""What ranks do together, and the stand-in for MPI that they do it with here."""

import pickle

import numpy as np
import pytest

from minigan.data import DataError
from minigan.parallel.in_turn import InTurn, Parted, in_turn
from minigan.parallel.ranks import ALONE, Ranks
from minigan.training.overflow import NotFinite


def on_ranks(size, work):
    """[work(ranks) of each of `size` ranks]"""
    return in_turn(size, lambda comm: work(Ranks(comm)))


def both_ways(size, work):
    """As on_ranks; for one rank also with the communicator of a single process, which must do the same."""
    found = on_ranks(size, work)
    if size == 1:
        np.testing.assert_array_equal(work(ALONE), found[0])
    return found


@pytest.mark.parametrize('size', [1, 2, 3, 5])
@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int64])
def test_a_sum_and_a_mean_are_those_of_all_ranks_to_the_same_bits(size, dtype):
    arrays = (100 * np.random.default_rng(0).standard_normal((size, 4, 3))).astype(dtype)
    found = both_ways(size, lambda ranks: ranks.sum(arrays[ranks.rank]))
    assert {one.tobytes() for one in found} == {sum(arrays).tobytes()} and found[0].dtype == dtype
    if dtype != np.int64:
        def work(ranks):
            mine = arrays[ranks.rank].copy()
            ranks.average_(mine)
            return mine
        for one in both_ways(size, work):
            np.testing.assert_allclose(one, arrays.mean(axis=0), rtol=1e-5)
            assert one.dtype == dtype


def test_views_are_summed_by_their_numbers():
    found = on_ranks(2, lambda ranks: ranks.sum(np.arange(12.).reshape(3, 4)[:, 1::2].T + ranks.rank))
    np.testing.assert_array_equal(found[0], 2 * np.arange(12.).reshape(3, 4)[:, 1::2].T + 1)


@pytest.mark.parametrize('size', [1, 3])
def test_gathered_arrays_and_rows_are_in_the_order_of_the_ranks(size):
    found = both_ways(size, lambda ranks: ranks.gather(np.full((2, 3), ranks.rank)))
    assert all((one == np.arange(size)[:, None, None]).all() and one.shape == (size, 2, 3) for one in found)
    found = both_ways(size, lambda ranks: ranks.rows(np.array([[10 * ranks.rank], [10 * ranks.rank + 1]])))
    expected = [number for rank in range(size) for number in (10 * rank, 10 * rank + 1)]
    assert all(one[:, 0].tolist() == expected for one in found)


@pytest.mark.parametrize('change', [0, 1e-300])
def test_the_same_arrays_have_the_same_bits(change):
    def work(ranks):
        theta = np.ones(1000)
        theta[7] = change if ranks.rank == 1 else 0
        return ranks.same([np.zeros(3, np.float32), theta])
    assert on_ranks(3, work) == [not change] * 3


def test_plus_and_minus_0_are_not_the_same_bits():
    assert on_ranks(2, lambda ranks: ranks.same([np.array([0. if ranks.rank else -0.])])) == [False] * 2


@pytest.mark.parametrize('received, agreed', [([[], []], []), ([[], [15]], [15]), ([[2], []], [2]), ([[2], [15]], [15]),
                                              ([[15, 2], [1]], [15])])
def test_a_signal_to_any_rank_is_one_to_all(received, agreed):
    assert on_ranks(2, lambda ranks: ranks.agreed(received[ranks.rank])) == [agreed] * 2
    assert ALONE.agreed(received[0]) == received[0][:1]


def test_rank_0_alone_works_and_all_have_the_result():
    worked = []

    def work(ranks):
        return ranks.on_first(lambda: worked.append(ranks.rank) or {'at': 'rank 0'})
    assert on_ranks(3, work) == [{'at': 'rank 0'}] * 3 and worked == [0]


def test_within_its_work_rank_0_needs_nobody():
    def work(ranks):
        return ranks.on_first(lambda: ranks.on_first(lambda: 3) + ranks.first([1, 2, 2]).count(2))
    assert on_ranks(3, work) == [5] * 3


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), ValueError('batch'), NotFinite('G.theta'),
                                   DataError('no such file'), KeyError('a'), RuntimeError('b')], ids=repr)
def test_all_ranks_raise_what_rank_0_raises_and_go_on(error):
    def work(ranks):
        def fail():
            raise error
        for _ in range(2):
            with pytest.raises(type(error)) as raised:
                ranks.on_first(fail)
        return raised.value.args, ranks.on_first(lambda: 'next')
    assert on_ranks(2, work) == [(error.args, 'next')] * 2
    assert pickle.loads(pickle.dumps(error)).args == error.args  # as MPI sends it


def test_an_error_within_nested_work_is_raised_on_all_ranks():
    def work(ranks):
        with pytest.raises(OSError, match='full'):
            ranks.on_first(lambda: ranks.on_first(fail))
        return ranks.on_first(lambda: 1)

    def fail():
        raise OSError('full')
    assert on_ranks(2, work) == [1, 1]


def test_a_program_is_ended_at_once_on_the_rank_that_is_told_to():
    """Ctrl-C a second time: KeyboardInterrupt is no result of the work, and no rank waits for it."""
    def work(ranks):
        def interrupted():
            raise KeyboardInterrupt
        ranks.on_first(interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_ranks(2, work)


def test_a_process_that_was_interrupted_at_work_works_alone_again():
    def interrupted():
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        ALONE.on_first(interrupted)
    assert not ALONE._at_work


@pytest.mark.parametrize('flags, found', [((False, None), False), ((True, False), True), ((None, 3), True)])
def test_a_flag_of_any_rank_is_one_of_all(flags, found):
    assert on_ranks(2, lambda ranks: ranks.any(flags[ranks.rank])) == [found] * 2


class Thing:
    place = 'here'

    def __init__(self):
        self.calls = []

    def work(self, *arguments):
        self.calls.append(arguments)
        return sum(arguments)


def test_methods_of_a_first_thing_work_on_rank_0_and_its_attributes_are_each_ranks():
    def work(ranks):
        thing = Thing()
        thing.place = ranks.rank
        first = ranks.first(thing)
        return first.work(2, 3), first.place, thing.calls
    assert on_ranks(2, work) == [(5, 0, [(2, 3)]), (5, 1, [])]
    with pytest.raises(AttributeError, match='nothing'):
        ALONE.first(Thing()).nothing


def test_ranks_say_who_they_are():
    assert on_ranks(2, repr) == ['Ranks(rank=0, size=2)', 'Ranks(rank=1, size=2)']


# The stand-in

def test_one_rank_computes_at_a_time():
    at_work, most = [0], [0]

    def work(ranks):
        for _ in range(20):
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            sum(range(1000))
            at_work[0] -= 1
            ranks.gather(np.zeros(1))
    on_ranks(4, work)
    assert most == [1]


def test_what_a_rank_changes_later_does_not_reach_the_others():
    def work(ranks):
        mine = np.full(3, ranks.rank)
        gathered = ranks.gather(mine)
        mine[...] = 9
        sent = ranks.on_first(lambda: [0])
        sent.append(ranks.rank)
        ranks.gather(mine)
        return gathered.tolist(), sent
    assert on_ranks(2, work) == [([[0] * 3, [1] * 3], [0, rank]) for rank in range(2)]


@pytest.mark.parametrize('late', [0, 1, 2])
def test_a_rank_that_ends_leaves_nobody_waiting(late):
    def work(ranks):
        if ranks.rank != late:
            ranks.gather(np.zeros(1))
    with pytest.raises(Parted, match="expected all of 3 ranks in Allgather, got {.*'Allgather'}"):
        on_ranks(3, work)


def test_the_error_of_a_rank_is_raised_and_not_that_of_those_who_wait_for_it():
    def work(ranks):
        if ranks.rank == 2:
            raise OverflowError('of rank 2')
        ranks.gather(np.zeros(1))
    with pytest.raises(OverflowError, match='of rank 2'):
        on_ranks(3, work)


def test_methods_in_a_different_order_are_an_error():
    def work(ranks):
        ranks.sum(np.zeros(1)) if ranks.rank else ranks.gather(np.zeros(1))
    with pytest.raises(Parted, match="rank .: expected all of 2 ranks in All.*, got {0: 'Allgather', 1: 'Allreduce'}"):
        on_ranks(2, work)


def test_a_hundred_meetings_of_many_ranks_are_in_step_and_leave_nothing_behind():
    left = {}

    def work(comm):
        left[comm.rank] = comm._meetings
        return [int(Ranks(comm).sum(np.array(number + comm.rank))) for number in range(100)]
    assert in_turn(6, work) == [[6 * number + 15 for number in range(100)]] * 6
    assert len(left[0]) == 1


def test_a_communicator_knows_its_place():
    assert in_turn(3, lambda comm: (type(comm), comm.rank, comm.size)) == [(InTurn, rank, 3) for rank in range(3)]
