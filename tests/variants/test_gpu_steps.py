"""Every variant trains with the real CuPy as it does with NumPy, launched kernel by kernel and in a graph."""

import pytest

from minigan.training.on_gpu import compare_training

VARIANTS = {
    'conditional': {'conditional': True}, 'packed': {'pack': 2}, 'least squares': {'objective': 'leastsquares'},
    'hinge': {'objective': 'hinge'}, 'wgan': {'network': 'wgan'}, 'wgan-clip': {'network': 'wgan-clip', 'k': 2},
    'minibatch-stddev': {'network': 'minibatch-stddev'}, 'batchnorm-D': {'network': 'batchnorm-D'},
    'minibatch-discrimination': {'network': 'minibatch-discrimination'}, 'spectral': {'network': 'spectral'},
    'feature-matching': {'network': 'feature-matching'},
    'features behind noise': {'network': 'feature-matching', 'input_noise': 0.3},
    'semisupervised': {'network': 'semisupervised'}, 'dcgan': {'network': 'dcgan', 'batch': 8}}


@pytest.mark.parametrize('variant', VARIANTS)
def test_steps_are_numpys(cupy, variant):
    for replay in (False, True):
        row = compare_training(cupy, 4, replay=replay, **VARIANTS[variant])
        assert row.ok, row
        print(row)
