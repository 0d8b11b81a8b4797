"""A trained generator is a function of (checkpoint, seed): in evaluation mode, images do not depend on their number."""

import tracemalloc

import numpy as np
import pytest

import minigan
from minigan.storage import archive, checkpoint, generator
from minigan.storage.generator import great_circle
from minigan.training.config import Config
from minigan.training.run import train


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return train(Config(epochs=2, batch=32, out=str(tmp_path_factory.mktemp('runs') / 'run')), quiet=True)


def test_samples_are_images_of_the_data_s_shape_and_range(run):
    images = minigan.load(run).sample(5)
    assert images.shape == (5, 8, 8) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.1


def test_the_same_seed_gives_the_same_images_and_a_larger_n_appends_more(run):
    G = minigan.load(run)
    many = G.sample(2100, seed=3)
    assert many.shape == (2100, 8, 8)
    np.testing.assert_array_equal(G.sample(2100, seed=3), many)
    np.testing.assert_array_equal(G.sample(1050, seed=3), many[:1050])
    assert not np.array_equal(G.sample(10, seed=4), many[:10])
    assert len(np.unique(many.reshape(2100, -1), axis=0)) == 2100


def test_it_computes_what_the_net_computes(run):
    arrays, about = archive.load(run)
    G, z = minigan.load(run), np.random.default_rng(0).standard_normal((7, 100)).astype(np.float32)
    np.testing.assert_array_equal(G(z), (checkpoint.net(arrays, about, 'average')(z).reshape(7, 8, 8) + 1) / 2)
    assert (G.step, G.n_z, G.shape, G.about['config']['seed']) == (88, 100, (8, 8), 0)


def test_in_evaluation_an_image_depends_on_its_own_z_alone_and_in_training_on_the_others_too(run):
    G, z = minigan.load(run), np.random.default_rng(0).standard_normal((20, 100)).astype(np.float32)
    for training, alike in ((False, True), (True, False)):
        assert np.allclose(G(z, training=training)[:5], G(z[:5], training=training), atol=1e-5) == alike
    assert not np.allclose(G.sample(20), G.sample(20, training=True), atol=0.05)


def test_drawing_does_not_change_the_generator(run):
    G = minigan.load(run)
    before = G.G.state.copy()
    G.sample(10, training=True)
    np.testing.assert_array_equal(G.G.state, before)


def test_numbers_that_overflow_are_refused(run):
    G = minigan.load(run)
    G.G.theta *= np.float32(1e30)
    with pytest.raises(ValueError, match='expected finite images, got numbers that overflow'):
        G.sample(3)


def test_the_best_checkpoint_can_be_asked_for(run):
    assert minigan.load(run / 'best.npz').step in (44, 88)


def test_a_path_leads_through_the_points_and_back_in_small_steps(run):
    G = minigan.load(run)
    images = G.path(3, 20, seed=1)
    assert images.shape == (3, 20, 8, 8)
    around = np.concatenate([images.reshape(60, -1), images[0, :1].reshape(1, -1)])
    steps = np.linalg.norm(np.diff(around, axis=0), axis=1)
    apart = np.linalg.norm(images[0, 0] - images[1, 0])
    assert steps.max() < apart / 4  # it never jumps, not even at the end of a row
    np.testing.assert_allclose(images[:, 0], G(minigan.Streams(1).at('sample', 3).normal((3, 100))), atol=1e-6)


def test_the_great_circle_keeps_the_distance_from_zero_and_turns_evenly():
    a, b = np.random.default_rng(0).standard_normal((2, 100))
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    z = great_circle(a, b, np.arange(10) / 10).astype(float)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(a), rtol=1e-6)
    cosines = (z[:-1] * z[1:]).sum(axis=1) / (a @ a)
    np.testing.assert_allclose(cosines, cosines[0], rtol=1e-5)
    np.testing.assert_allclose(z[0], a, rtol=1e-6)
    one = great_circle(np.array([2.0]), np.array([-1.0]), np.arange(3) / 3)  # a z of one number has no circle
    np.testing.assert_allclose(one, [[2], [1], [0]], atol=1e-6)


@pytest.mark.parametrize('ask, message', [
    (lambda G: G.sample(0), 'n: expected at least 1 image, got 0'), (lambda G: G.path(1, 5), 'points: .* got 1'),
    (lambda G: G.path(5, 1), 'steps: .* got 1'), (lambda G: G.sample(3, seed=-1), 'seed: expected')])
def test_impossible_numbers_of_images_and_seeds_are_refused(run, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(minigan.load(run))


@pytest.mark.parametrize('ask, most', [
    (lambda G: G.sample(10**9), 10_737_418), (lambda G: G.sample(10_737_419), 10_737_418),
    (lambda G: G.path(2, 10**8), 10_737_418), (lambda G: G.path(10**9, 2), 10_737_418)])
def test_more_images_than_a_file_may_hold_are_refused_before_they_are_drawn(run, ask, most, monkeypatch):
    G = minigan.load(run)
    tracemalloc.start()
    with pytest.raises(ValueError, match=f'expected at most {most} images .*got'):
        ask(G)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_drawing_takes_little_more_memory_than_the_images(run):
    G = minigan.load(run)
    for draw in (lambda: G.sample(40_000), lambda: G.path(2, 20_000)):
        tracemalloc.start()
        images = draw()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < images.nbytes + (24 << 20)


def test_a_path_does_not_depend_on_how_many_images_are_computed_together(run, monkeypatch):
    G = minigan.load(run)
    whole = G.path(3, 20, seed=1)
    monkeypatch.setattr(generator, 'AT_ONCE', 7)
    np.testing.assert_allclose(G.path(3, 20, seed=1), whole, atol=1e-5)


def test_its_repr_names_the_network_and_the_step(run):
    assert repr(minigan.load(run)).startswith('Generator(100 -> 8 x 8, step 88, ')


def test_another_file_is_refused_by_name(tmp_path):
    np.savez(tmp_path / 'a.npz', x=np.zeros(3))
    with pytest.raises(ValueError, match='a.npz: expected a checkpoint of minigan'):
        minigan.load(tmp_path / 'a.npz')
