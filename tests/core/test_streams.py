"""Random numbers are a function of (seed, stream, step)."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.streams import STREAMS, Streams

M0, M1, W0, W1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157, 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
word = st.integers(0, 2**64 - 1)


def philox(counter, key):
    """Philox 4x64-10 as Salmon et al. 2011 write it, one round a line: what the CUDA kernels compute."""
    (a, b, c, d), (k, n), mask = counter, key, 2**64 - 1
    for _ in range(10):
        a, b, c, d = (c * M1 >> 64) ^ b ^ k, c * M1 & mask, (a * M0 >> 64) ^ d ^ n, a * M0 & mask
        k, n = k + W0 & mask, n + W1 & mask
    return a, b, c, d


def test_philox_gives_the_known_answers_of_its_authors():
    """Random123's kat_vectors, philox 4x64 10."""
    assert philox((0,) * 4, (0, 0)) == (0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b)
    ones = 2**64 - 1
    assert philox((ones,) * 4, (ones,) * 2) == (
        0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0)


@given(word, st.sampled_from(STREAMS), word, word, st.integers(1, 30))
def test_uniforms_are_philox_of_seed_stream_step_and_substep(seed, stream, step, substep, n):
    draws = Streams(seed).at(stream, step, substep)
    for draw in range(2):
        bits = [half for block in range(1, n // 8 + 2)
                for out in philox((block, draw, substep, step), (seed, STREAMS.index(stream)))
                for half in (out & 0xffffffff, out >> 32)]
        np.testing.assert_array_equal(draws.uniform(n), [(b >> 8) / 2**24 for b in bits[:n]])


@given(word, st.sampled_from(STREAMS), word, word, st.integers(1, 40))
def test_bits_are_the_quarters_of_philoxs_words(seed, stream, step, substep, n):
    draws = Streams(seed).at(stream, step, substep)
    for draw in range(2):
        quarters = [out >> shift & 0xffff for block in range(1, n // 16 + 2)
                    for out in philox((block, draw, substep, step), (seed, STREAMS.index(stream)))
                    for shift in (0, 16, 32, 48)]
        bits = draws.bits((n,))
        assert bits.dtype == np.uint16 and bits.tolist() == quarters[:n]


def test_draws_can_be_interleaved():
    a, b = Streams(1).at('noise', 5), Streams(1).at('dropout', 5)
    first, _, second = a.uniform(9), b.uniform(9), a.uniform(9)
    c = Streams(1).at('noise', 5)
    np.testing.assert_array_equal(c.uniform(9), first)
    np.testing.assert_array_equal(c.uniform(9), second)
    assert not np.array_equal(first, second)


def test_a_different_seed_stream_step_or_substep_gives_independent_numbers():
    places = [(0, 'noise', 0, 0), (1, 'noise', 0, 0), (0, 'dropout', 0, 0), (0, 'noise', 1, 0), (0, 'noise', 0, 1)]
    draws = np.array([Streams(seed).at(*place).uniform(20_000) for seed, *place in places])
    correlation = np.corrcoef(draws) - np.eye(len(places))
    assert abs(correlation).max() < 5 / 20_000**0.5


def test_uniforms_lie_in_the_half_open_interval_and_are_flat():
    u = Streams(0).at('noise', 0).uniform((1000, 200))
    assert u.dtype == np.float32 and u.shape == (1000, 200) and u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 50  # chi-squared with 19 degrees of freedom: p = 1e-4


def test_normals_are_box_muller_of_the_uniforms():
    z = Streams(3).at('noise', 2).normal((3, 5), np.float64)
    u, v = Streams(3).at('noise', 2).uniform(16, np.float64).reshape(2, 8)
    r = np.sqrt(-2 * np.log(1 - u))
    np.testing.assert_allclose(z.ravel(), np.concatenate([r * np.cos(2 * np.pi * v), r * np.sin(2 * np.pi * v)])[:15])
    assert z.dtype == np.float64


def test_normals_are_normal():
    z = Streams(0).at('noise', 0).normal((500, 400))
    assert z.dtype == np.float32
    moments = [z.mean(), z.var(), (z**3).mean(), (z**4).mean()]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    assert abs(np.corrcoef(z.ravel()[:100_000], z.ravel()[100_000:])[0, 1]) < 0.02  # cosine and sine halves


def test_float32_and_float64_hold_the_same_numbers():
    single, double = (Streams(0).at('noise', 0).uniform(100, dtype) for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(single, double)
    single, double = (Streams(0).at('noise', 0).normal(100, dtype) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-6)


def test_a_permutation_holds_every_number_once_and_differs_by_step():
    order = Streams(0).at('data', 0).permutation(1000)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, Streams(0).at('data', 1).permutation(1000))


@pytest.mark.parametrize('seed', [-1, 2**64])
def test_a_seed_beyond_64_bits_raises(seed):
    with pytest.raises(ValueError, match=rf'seed: expected an integer in \[0, 2\*\*64\), got {seed}'):
        Streams(seed)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_uniform_noise_has_mean_0_and_variance_1(dtype):
    z = Streams(0).at('noise', 0).uniform_noise((500, 400), dtype)
    assert z.dtype == dtype and abs(z).max() <= 3**0.5 and abs(z).max() > 1.732
    np.testing.assert_allclose([z.mean(), z.var()], [0, 1], atol=0.01)


@pytest.mark.parametrize('seed', [3.0, 3.5, '3', None, np.float64(3)])
def test_a_seed_that_is_no_integer_raises(seed):
    with pytest.raises(ValueError, match=rf'seed: expected an integer in .*, got {seed}'):
        Streams(seed)


def test_a_numpy_integer_is_a_seed_and_a_step():
    ours, theirs = Streams(np.int64(5)).at('noise', np.int32(2), np.uint8(1)), Streams(5).at('noise', 2, 1)
    np.testing.assert_array_equal(ours.uniform(9), theirs.uniform(9))


def test_an_unknown_stream_raises():
    with pytest.raises(ValueError, match="stream: expected one of init, data, noise, .*, got 'nois'"):
        Streams(0).at('nois', 0)


@pytest.mark.parametrize('duplicate', [copy.copy, copy.deepcopy])
def test_a_copy_draws_the_same_numbers(duplicate):
    streams = Streams(7)
    rng = streams.at('noise', 3)
    rng.normal(5)
    twin, twin_rng = duplicate(streams), duplicate(rng)
    for draw in (lambda rng: rng.normal(11), lambda rng: rng.bits((3, 3)), lambda rng: rng.permutation(8)):
        np.testing.assert_array_equal(draw(twin_rng), draw(rng))
        np.testing.assert_array_equal(draw(twin.at('data', 4, 1)), draw(streams.at('data', 4, 1)))


def test_reprs_say_what_is_drawn():
    rng = Streams(7).at('noise', 3)
    rng.uniform(1)
    assert repr(Streams(7)) == 'Streams(7)' and repr(rng) == "Rng('noise', step=3, substep=0, draw=1)"
