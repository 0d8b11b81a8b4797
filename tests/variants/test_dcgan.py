"""The convolutional pair: for images of any even quarter, with labels and in packs, and a run like any other."""

import json

import numpy as np
import pytest
from support.nets import net_of, normal

import minigan
from minigan import BatchNorm, gradcheck
from minigan.checks.derivatives import check
from minigan.cli import main
from minigan.net import parts, views
from minigan.ops import stack
from minigan.storage import archive
from minigan.variants import RECIPES, choose
from minigan.variants.conditional import SCALE, beside, one_hot
from minigan.variants.convolution import Patches
from minigan.variants.penalty import gradient_penalty, gradient_penalty_backward, without_tangent

DCGAN, CLASSES = RECIPES['dcgan'], 3


def near(a, b):
    return np.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('shape', [(8, 8), (28, 28), (4, 12), (12, 4, 3), (8, 8, 1)])
def test_G_draws_images_of_the_shape_that_D_reads(shape):
    G, D, n = net_of(*DCGAN.G(7, shape)), net_of(*DCGAN.D(shape)), int(np.prod(shape))
    images = G(normal(5, 7))
    assert images.shape == (5, n) and abs(images).max() <= 1 and D(images).shape == (5, 1)
    of_images = [[layer for layer in net.layers if isinstance(layer, Patches)] for net in (D, G)]
    assert of_images[0][0].settings['shape'] == of_images[1][-1].settings['shape'] == (*shape, 1)[:3]


def test_an_image_is_judged_and_drawn_on_its_own():
    G, D, z = net_of(*DCGAN.G(7, (8, 4, 3))), net_of(*DCGAN.D((8, 4, 3))), normal(6, 7)
    assert near(G(z)[2:4], G(z[2:4])) and near(D(G(z))[2:4], D(G(z[2:4])))
    x, s = normal(4, 96), normal(4, 96, seed=1)
    assert near(D(stack(x, s)), stack(D(x), D(s)))


def test_the_batch_norms_of_G_are_over_all_pixels_of_a_channel_and_D_has_none_over_data_and_samples():
    """Data and samples would tell each other apart by the statistics of both together."""
    G, D = net_of(*DCGAN.G(7, (8, 8))), net_of(*DCGAN.D((8, 8)))
    assert not any(layer.mixes_rows for layer in D.layers)
    G.forward(normal(5, 7))
    standardised = [layer.cache[1][0] for _, layer in parts(G.layers) if isinstance(layer, BatchNorm)]
    assert [len(xhat) for xhat in standardised] == [5, 5 * 2 * 2, 5 * 4 * 4]
    for xhat in standardised:
        np.testing.assert_allclose(xhat.mean(axis=0), 0, atol=1e-12)


def test_the_layers_of_a_transposed_convolution_have_no_bias_in_front():
    for layers in (DCGAN.G(7, (8, 8)), DCGAN.D((8, 8))):
        for dense, layer in zip(layers, layers[1:]):
            assert type(layer).__name__ != 'Unpatches' or 'b' not in dense.shapes


@pytest.mark.parametrize('shape', [(9, 9), (8, 6), (1, 2), (2, 4, 3), (16,), (4, 4, 3, 2)])
def test_sizes_that_4_does_not_divide_are_refused_in_one_line(shape):
    for make in (lambda: DCGAN.G(7, shape), lambda: DCGAN.D(shape)):
        with pytest.raises(ValueError, match='^shape: expected images whose height and width 4 divides, got'):
            make()


@pytest.mark.parametrize('size', [(9, 9), (8, 10), (1, 2)])
@pytest.mark.parametrize('flags', [[], ['--conditional'], ['--pack', '2']])
def test_the_command_refuses_such_images_before_it_writes_anything(size, flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (200, *size), dtype=np.uint8)
    np.savez('images.npz', x_train=pixels[:150], x_test=pixels[150:], y_train=np.arange(150) % 3,
             y_test=np.arange(50) % 3)
    assert main(['train', '--network', 'dcgan', '--data', 'images.npz', '--epochs', '1', *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith('minigan: error: shape: expected images whose height and width 4 divides, got (')
    assert error.count('\n') == 1 and [path.name for path in tmp_path.iterdir()] == ['images.npz']


@pytest.mark.parametrize('shape', [(12, 8), (4, 8, 3)])
def test_a_run_with_images_that_are_not_square_or_in_colour(shape, tmp_path, monkeypatch, capsys):
    """Trained, continued, sampled, interpolated, inspected and measured by the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MINIGAN_DATA', str(tmp_path / 'cache'))
    pixels = np.random.default_rng(0).integers(0, 256, (240, *shape), dtype=np.uint8)
    np.savez('images.npz', x_train=pixels[:180], x_test=pixels[180:], y_train=np.arange(180) % 3,
             y_test=np.arange(60) % 3)
    common = ['--network', 'dcgan', '--data', 'images.npz', '--schedule', 'constant', '--input-noise', '0',
              '--batch', '40']
    for command in (['train', *common, '--epochs', '2', '-o', 'whole'],
                    ['train', *common, '--epochs', '1', '-o', 'run'], ['train', '--resume', 'run', '--epochs', '2'],
                    ['sample', 'run', '--n', '7', '-o', 'samples.npy'], ['sample', 'run', '-o', 'samples.png'],
                    ['interpolate', 'run', '-o', 'walk', '--steps', '3'], ['inspect', 'run'],
                    ['evaluate', 'run', '--n', '30', '--json']):
        capsys.readouterr()
        assert main(command) == 0, command
    samples = json.loads(capsys.readouterr().out)['columns']['samples']
    assert np.isfinite(samples['frechet'])
    assert np.load('samples.npy').shape == (7, *shape)
    whole, resumed = archive.load('whole')[0], archive.load('run')[0]
    for name in ('G.theta', 'D.theta', 'average.theta', 'G.state'):
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)


def test_labels_pass_through_G_and_add_rows_to_the_first_dense_layer_of_D_that_reads_whole_images():
    shape, recipe = (4, 8, 3), choose('dcgan', fractions=(0.5, 0.2, 0.3))
    G, D, plain = net_of(*recipe.G(7, shape)), net_of(*recipe.D(shape)), net_of(*DCGAN.D(shape))
    z = beside(normal(5, 7), one_hot(np.arange(5) % CLASSES, CLASSES, np.float64))
    x = G(z)
    np.testing.assert_array_equal(x[:, 96:], z[:, 7:])
    assert [type(layer) for layer in (*D.layers[0].layers[1:], *D.layers[1:])] == [*map(type, plain.layers)]
    for slot, own in zip(plain.slots, D.slots):
        slot.of(plain.theta)[...] = own.of(D.theta)[:slot.shape[0]]
    assert abs(D(x) - plain(x[:, :96])).min() > 1e-6
    dense = D.layers[1]
    dense.W[-CLASSES:] = 0
    assert near(D(x), plain(x[:, :96]))


@pytest.mark.parametrize('pack', [1, 2])
def test_with_labels_and_in_packs_both_networks_have_correct_derivatives(pack):
    shape, recipe = (4, 8), choose('dcgan', fractions=(0.5, 0.2, 0.3), pack=pack)
    D, G = net_of(*recipe.D(shape)), net_of(*recipe.G(7, shape))
    gradcheck(D, normal(6, 32 + CLASSES), directions=1).assert_ok()
    gradcheck(G, normal(6, 7 + CLASSES), directions=1).assert_ok()
    assert D(normal(6, 32 + CLASSES)).shape == (6 // pack, 1)


@pytest.mark.parametrize('fractions', [(), (0.5, 0.2, 0.3)])
def test_D_reads_a_pack_as_one_tall_image_whose_order_matters(fractions):
    D = net_of(*choose('dcgan', fractions=fractions, pack=2).D((4, 8, 3)))
    first = next(layer for _, layer in parts(D.layers) if isinstance(layer, Patches))
    assert first.settings['shape'] == (8, 8, 3)
    x = normal(6, 96 + len(fractions))
    y = D(x)
    assert abs(D(x[[1, 0, 3, 2, 5, 4]]) - y).min() > 1e-6
    assert near(D(x[[4, 5, 2, 3, 0, 1]]), y[::-1])
    if fractions:  # the labels of both images matter
        for row in (0, 1):
            other = x.copy()
            other[row, 96:] += SCALE
            assert abs(D(other) - y)[0] > 1e-6 and near(D(other)[1:], y[1:])


def test_a_gradient_penalty_goes_through_convolutions():
    D, x = net_of(*DCGAN.D((4, 8))), normal(4, 32)
    D.theta += 0.1 * normal(D.theta.size)
    assert not without_tangent(D)

    def settings():
        return {'weight': 10.0, 'rng': minigan.Streams(0).at('dropout', 0)}

    def backward(u):
        gradient_penalty_backward(D, x, **settings())
        return {name: u * derivative for name, derivative in views(D.dtheta, D.slots).items()}

    check(lambda: np.array([gradient_penalty(D, x, **settings())]), backward, views(D.theta, D.slots)).assert_ok()
