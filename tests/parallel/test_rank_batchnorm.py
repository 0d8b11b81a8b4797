"""RankBatchNorm of R ranks is BatchNorm of all their rows, forwards and backwards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nets import net_of, normal

from minigan import BatchNorm
from minigan.parallel.batchnorm import RankBatchNorm
from minigan.parallel.in_turn import in_turn
from minigan.parallel.ranks import Ranks


def net(n, comm=None):
    """A net of one batch norm, with gamma, beta and moving averages of its own; for a rank, if there is a comm."""
    made = net_of(BatchNorm(n, momentum=0.7))
    made.theta[...], made.state[...] = 1 + 0.3 * normal(2 * n, seed=1), 2 + abs(normal(2 * n, seed=2))
    if comm:
        made.layers[0].__class__, made.layers[0].ranks = RankBatchNorm, Ranks(comm)
    return made


def on_ranks(x, dy, size):
    """y, dx, the sum of the ranks' dtheta, and state, of all rows; asserts that the states have the same bits."""
    def work(comm):
        m = len(x) // size
        mine, own = net(x.shape[1], comm), slice(comm.rank * m, (comm.rank + 1) * m)
        y = mine.forward(x[own])
        return y, mine.backward(dy[own]), mine.dtheta, mine.state
    y, dx, dtheta, state = zip(*in_turn(size, work))
    assert len({one.tobytes() for one in state}) == 1
    return np.concatenate(y), np.concatenate(dx), sum(dtheta), state[0]


@given(size=st.integers(1, 4), m=st.integers(1, 5), n=st.integers(1, 4), seed=st.integers(0, 99),
       mean=st.sampled_from([0, 3, 1e6]))
def test_ranks_are_a_batch_norm_of_all_rows(size, m, n, seed, mean):
    if size * m < 2:
        return
    x, dy, whole = mean + normal(size * m, n, seed=seed), normal(size * m, n, seed=seed + 100), net(n)
    expected = whole.forward(x), whole.backward(dy), whole.dtheta, whole.state
    for ours, theirs in zip(on_ranks(x, dy, size), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9 if mean == 1e6 else 1e-12, atol=1e-12 * max(1, mean))


@pytest.mark.parametrize('size', [2, 3])
def test_derivatives_are_those_of_differences(size):
    """Of <c, y>, with a random c for the rows of all ranks, along random directions of x and of theta."""
    rows, n, h = 2 * size, 3, 1e-5
    x, c = normal(rows, n, seed=3), normal(rows, n, seed=4)
    _, dx, dtheta, _ = on_ranks(x, c, size)
    for seed in range(5):
        v = normal(rows, n, seed=10 + seed)
        along = [(c * on_ranks(x + step * v, c, size)[0]).sum() for step in (h, -h)]
        assert (along[0] - along[1]) / (2 * h) == pytest.approx((dx * v).sum(), rel=1e-7, abs=1e-8)
    y, gamma = on_ranks(x, c, size)[0], net(n).layers[0].gamma
    xhat = (y - net(n).layers[0].beta) / gamma
    np.testing.assert_allclose(dtheta, np.concatenate([(c * xhat).sum(axis=0), c.sum(axis=0)]), rtol=1e-10)


def test_a_mean_far_from_0_costs_no_digits():
    """mean x^2 - mu^2 would lose all of them: 1e18 has a rounding error of 128."""
    x = 1e9 + normal(12, 2, seed=5)
    *_, state = on_ranks(x, x, 3)
    np.testing.assert_allclose((state - 0.7 * net(2).state)[2:] / 0.3, x.var(axis=0), rtol=1e-6)


def test_evaluation_is_that_of_batch_norm_and_meets_nobody():
    """A rank alone, such as rank 0 that draws samples, would wait forever."""
    class Alone:
        rank, size = 0, 2
    ours, theirs, x, dy = net(3, Alone()), net(3), normal(5, 3), normal(5, 3, seed=1)
    for made in (ours, theirs):
        made.y = made.forward(x, training=False)
        made.dx = made.backward(dy)
    for name in ('y', 'dx', 'dtheta', 'state'):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_the_parameters_derivatives_are_left_alone_in_a_step_of_the_other_player():
    def work(comm):
        made = net(2, comm)
        made.dtheta[...] = 7
        made.forward(normal(3, 2, seed=comm.rank))
        made.backward(normal(3, 2, seed=5 + comm.rank), param_grads=False)
        return (made.dtheta == 7).all()
    assert all(in_turn(2, work))


def test_no_derivative_of_the_input_is_made_where_none_is_asked_for():
    def work(comm):
        made = net(2, comm)
        made.forward(normal(3, 2, seed=comm.rank))
        return made.backward(normal(3, 2), input_grad=False)
    assert in_turn(2, work) == [None, None]


def test_rows_of_a_wrong_width_are_refused_before_the_ranks_meet():
    class Alone:
        rank, size = 0, 2
    with pytest.raises(ValueError, match=r'expected x of shape \(m, 3\), got \(5, 4\)'):
        net(3, Alone()).forward(normal(5, 4))
