"""Every variant is a run like any other: it goes on to the same bits, is sampled, inspected and measured."""

import numpy as np
import pytest

import minigan
from minigan.evaluation import judge
from minigan.storage import archive
from minigan.training import Config, inspection, resume, train

VARIANTS = {
    'conditional': {'conditional': True}, 'pack': {'pack': 2}, 'both': {'conditional': True, 'pack': 4},
    'leastsquares': {'objective': 'leastsquares'}, 'hinge and labels': {'objective': 'hinge', 'conditional': True},
    **{network: {'network': network} for network in minigan.RECIPES
       if network not in ('article', 'default', 'goodfellow2014', 'cycle')},
    'a conditional critic': {'network': 'wgan', 'conditional': True}, 'a packed critic': {'network': 'wgan', 'pack': 2},
    'both ways to bound a critic': {'network': 'wgan', 'clip_weights': 0.1, 'k': 2},
    'convolutions with labels': {'network': 'dcgan', 'conditional': True},
    'packed convolutions': {'network': 'dcgan', 'pack': 2, 'objective': 'hinge'},
    'packed convolutions with labels': {'network': 'dcgan', 'pack': 2, 'conditional': True},
    'growth with labels': {'network': 'progressive', 'conditional': True},
    'an old network with labels': {'network': 'goodfellow2014', 'conditional': True}}


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_variant_goes_on_to_the_same_bits_and_can_be_sampled_inspected_and_measured(variant, tmp_path):
    choices, half = {'batch': 100, 'epochs': 2, **VARIANTS[variant]}, tmp_path / 'half'
    whole = train(Config(**choices, out=str(tmp_path / 'whole')), quiet=True)
    train(Config(**choices, out=str(half)), quiet=True, after_epoch=lambda run, row: row['epoch'] == 1)
    assert archive.load(half)[0]['run.log'].shape[0] == 1
    resume(half, quiet=True)
    ours, theirs = archive.load(half)[0], archive.load(whole)[0]
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - {'run.seconds', 'run.log'}:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    np.testing.assert_array_equal(ours['run.log'][:, :-1], theirs['run.log'][:, :-1])
    images = minigan.load(half).sample(30)
    assert images.shape == (30, 8, 8) and 0 <= images.min() < images.max() <= 1
    assert 'D: ' in inspection.describe(half)
    result = judge.evaluate(half, n=60, quiet=True)
    assert ('class_accuracy' in result['columns']['samples']) == choices.get('conditional', False)
    assert (result['D_errors'] is not None) == (variant == 'semisupervised')


@pytest.mark.parametrize('choices, message', [
    ({'clip_weights': 0.1}, 'clip_weights: expected none with --network default, got 0.1; it belongs to wgan, wgan-c'),
    ({'labelled': 50, 'network': 'wgan'}, 'labelled: expected none with --network wgan, got 50; it belongs to semisup'),
    ({'objective': 'wasserstein'}, 'objective: expected a D with bounded slopes for wasserstein, as .*default'),
    ({'pack': 3}, r'm: Pack\(3\) in D needs a multiple of 3, got 50'),
    ({'pack': 2, 'network': 'minibatch-stddev'}, 'packed: expected a D that reads single rows, got one with InBlocks'),
    ({'network': 'minibatch-stddev', 'batch': 64}, r'm: InBlocks\(.*, 50\) in D needs a multiple of 50, got 64'),
    ({'network': 'wgan', 'update': 'simultaneous'}, "update: expected 'alternating' with a critic, got 'simultaneous'"),
    ({'network': 'wgan', 'label_smoothing': 0.1}, 'smoothing: expected 0, as wasserstein has no probability, got 0.1'),
    ({'network': 'semisupervised', 'conditional': True}, 'conditional'),
    ({'pack': 200, 'batch': 200}, 'digits: expected at least 200 validation images, which D reads together')])
def test_what_does_not_fit_together_is_refused_before_anything_is_written(choices, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(Config(**choices, epochs=1, out=str(tmp_path / 'run')), quiet=True)
    assert not (tmp_path / 'run').exists()
