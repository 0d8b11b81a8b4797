"""The paper's claims hold in numbers; and each check can fail."""

import numpy as np
import pytest
from PIL import Image
from scipy.integrate import quad
from scipy.stats import norm

from minigan import losses, ops
from minigan.cli import main
from minigan.study import theory
from minigan.study.theory import FIGURE_1, PAIRS, Mixture, X


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """(rows, folder) of one call."""
    folder = tmp_path_factory.mktemp('theory') / 'new'
    return list(theory.check(folder)), folder


def test_every_check_holds(run):
    assert len(run[0]) == 31
    for row in run[0]:
        assert row.ok, row


def test_the_command_prints_them_and_names_what_fails(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(theory, 'check', lambda out, seed: iter(run[0]))
    assert main(['theory', '-o', str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert all(str(row) in text for row in run[0]) and 'All 31 hold.' in text
    wrong = theory.Row('wrong', 2.0, 1.0)
    monkeypatch.setattr(theory, 'check', lambda out, seed: iter([*run[0], wrong]))
    assert main(['theory', '-o', str(tmp_path)]) == 1
    assert 'WRONG: wrong' in capsys.readouterr().out


def test_its_pictures_are_pictures(run):
    with Image.open(run[1] / 'theory.png') as picture:
        assert picture.size == (1100, 700) and len(picture.convert('L').getcolors()) > 50
    with Image.open(run[1] / 'ring.png') as picture:
        assert picture.size == (1100, 240) and len(picture.convert('L').getcolors()) > 50
    with Image.open(run[1] / 'figure1.gif') as animation:
        assert animation.n_frames == 60
        first = np.array(animation.convert('L'))
        animation.seek(59)
        assert (first != np.array(animation.convert('L'))).mean() > 0.01


def test_a_mixture_is_a_density_and_its_samples_have_it():
    mixture = Mixture((-2, 2), (0.7, 0.5))
    assert theory.trapezoid(mixture(X), X) == pytest.approx(1)
    assert mixture(np.array([0.3])) == pytest.approx((norm.pdf(0.3, -2, 0.7) + norm.pdf(0.3, 2, 0.5)) / 2)
    x = mixture.sample(theory.Streams(0).at('data', 0), 100_000)
    assert x.shape == (100_000, 1) and x.dtype == np.float32
    assert [x.mean(), (x < 0).mean()] == pytest.approx([0, 0.5], abs=0.02)
    assert [x[x < 0].std(), x[x > 0].std()] == pytest.approx([0.7, 0.5], abs=0.02)


@pytest.mark.parametrize('name', PAIRS)
def test_js_is_that_of_another_quadrature(name):
    p, q = PAIRS[name]

    def integrand(x):
        a, b = p(np.array([x]))[0], q(np.array([x]))[0]
        return sum(one * np.log(max(2 * one, 1e-300) / max(a + b, 1e-300)) / 2 for one in (a, b))
    expected = quad(integrand, -8, 8, points=(-2, 0, 0.5, 2), limit=200)[0]
    assert theory.jensen_shannon(p, q) == pytest.approx(expected, abs=1e-7)


def test_js_is_0_for_the_same_and_log_2_for_densities_apart():
    assert theory.jensen_shannon(*PAIRS['equal']) == pytest.approx(0, abs=1e-12)
    assert theory.jensen_shannon(*PAIRS['far']) == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.parametrize('other', [lambda x: 0.5, lambda x: 0.3 + 0.4 * (x > 0), lambda x: 1 / (1 + np.exp(x))])
def test_no_other_D_has_a_larger_value(other):
    """Proposition 1: D* is the maximum."""
    for p_data, p_g in PAIRS.values():
        best = theory.value(theory.optimal_D(p_data, p_g), p_data, p_g)
        assert theory.value(lambda x: np.broadcast_to(other(x), x.shape), p_data, p_g) <= best + 1e-12


def test_a_wrong_loss_is_noticed(monkeypatch):
    monkeypatch.setattr(losses, 'V', lambda real, fake: -ops.softplus(-real).mean())
    assert not all(row.ok for row in theory.theorem_1())


@pytest.mark.parametrize('target, weight', [(0.9, 1), (1, 2)])
def test_a_D_of_another_objective_is_noticed(monkeypatch, target, weight):
    backward = losses.cross_entropy_backward
    monkeypatch.setattr(losses, 'L_D_backward', lambda real, fake: (
        backward(real, target=target), weight * backward(fake, target=0)))
    assert not all(row.ok for row in theory.proposition_1()[0])


def test_the_saturating_loss_in_place_of_the_other_is_noticed(monkeypatch):
    monkeypatch.setitem(losses.OBJECTIVES, 'nonsaturating', losses.OBJECTIVES['minimax'])
    assert [row.ok for row in theory.saturation_rows(theory.saturation())] == [True, True, False]


def test_a_G_that_does_not_learn_is_noticed(monkeypatch):
    monkeypatch.setattr(theory.Game, 'update_G', lambda self, z, rng: None)
    moments = theory.figure_1(steps=100)
    assert not any(row.ok for row in theory.figure_1_rows(moments)[:1])
    np.testing.assert_array_equal(moments[0].samples, moments[-1].samples)
    assert FIGURE_1(X).max() == pytest.approx(norm.pdf(0, 0, 0.6))


def test_a_G_that_misses_modes_is_noticed(monkeypatch):
    seen = theory.ring(steps=100)
    assert list(seen) == [100] and seen[100].shape == (2500, 2)
    assert [row.ok for row in theory.ring_rows(seen)] == [False, False, False]
    near_one = theory.mixtures.RING.centres[0] + np.zeros((2500, 2))
    assert [row.ok for row in theory.ring_rows({1: near_one})] == [False, True, False]


def test_samples_with_another_spread_or_fewer_modes_are_not_perfect(monkeypatch):
    draw = theory.mixtures.Mixture.sample
    for wrong in (lambda self, rng, m: 1.1 * draw(self, rng, m), lambda self, rng, m: draw(self, rng, 1)):
        monkeypatch.setattr(theory.mixtures.Mixture, 'sample', wrong)
        assert not all(row.ok for row in theory.perfect_modes())
