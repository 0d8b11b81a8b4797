"""The benchmark of the variants: every variant is a game that runs, in the plane and on images, and none runs twice."""

import bench_variants
import numpy as np
import pytest
from bench_variants import MIXTURES, VARIANTS, InThePlane

from minigan.training.config import Config


@pytest.mark.parametrize('variant', [name for name, (_, plane) in VARIANTS.items() if plane is not None])
def test_every_variant_plays_in_the_plane_with_the_same_generator(variant, monkeypatch):
    monkeypatch.setattr(bench_variants, 'use', lambda wanted: None)
    plane = InThePlane(variant, 'ring of 8', 0)
    game, default = plane.game(10), InThePlane('default', 'ring of 8', 0).game(10)
    before = game.D.theta.copy()
    game.step(0)
    assert np.isfinite(game.D.theta).all() and not np.array_equal(before, game.D.theta)
    assert [layer.n_out for layer in game.G.layers[::2]] == [layer.n_out for layer in default.G.layers[::2]]
    assert plane.scale() == pytest.approx(np.sqrt(0.5))  # of the ring of radius 1


def test_a_variant_differs_from_the_default():
    differences = [repr(pair) for pair in VARIANTS.values()]
    assert len(set(differences)) == len(differences) and VARIANTS['default'] == ({}, {})
    for images, _ in VARIANTS.values():
        Config(**(images or {}))


def test_each_data_set_has_a_job_for_each_variant_that_fits_it():
    jobs = bench_variants.jobs()
    assert 'ring of 8 conditional' not in jobs and 'mnist default, prior in pieces' not in jobs
    assert 'stacked-mnist conditional' not in jobs and 'digits conditional' in jobs
    for source in MIXTURES:
        wanted = [f'{source} {name}' for name, (_, plane) in VARIANTS.items() if plane is not None]
        assert [job for job in jobs if job.startswith(f'{source} ')] == wanted


def test_the_seconds_of_a_step_are_those_after_a_few_to_warm_up(monkeypatch):
    clock, calls = iter([10.0, 10.0 + 0.5 * bench_variants.CALIBRATION]), []
    monkeypatch.setattr(bench_variants.time, 'process_time', lambda: next(clock))
    assert bench_variants.cost(lambda: calls.append(0)) == pytest.approx(0.5)
    assert len(calls) == bench_variants.CALIBRATION + 5
