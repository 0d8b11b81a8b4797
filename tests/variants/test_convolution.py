"""Patches and Unpatches are linear, each the derivative of the other, and with a Dense they are convolutions."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nets import net_of, normal

from minigan import BatchNorm, Dense, LeakyReLU, Tanh, gradcheck, laws
from minigan.checks.laws import LAWS
from minigan.variants.convolution import (AveragePool, Patches, Rows, Unpatches, Upscale, patches, pool, unpatches,
                                          upscale)

GEOMETRIES = [  # shape, k, stride, pad
    ((4, 4, 1), 4, 2, 1), ((5, 7, 2), 3, 2, 1), ((6, 3, 3), 2, 3, 0), ((3, 6, 1), 2, 5, 1), ((7, 5, 2), 3, 1, 0),
    ((4, 6, 2), 1, 1, 0), ((5, 5, 1), 5, 1, 0), ((2, 3, 2), 3, 2, 3), ((8, 4, 3), 5, 3, 2)]


@st.composite
def geometries(draw):
    """The settings of Patches, at least one place in each direction."""
    limits = (1, 7), (1, 7), (1, 3), (1, 5), (1, 4), (0, 3)
    h, w, c, k, stride, pad = (draw(st.integers(*each)) for each in limits)
    return by_name((h, w, c), min(k, h + 2 * pad, w + 2 * pad), stride, pad)


def loops(x, *, shape, k, stride, pad):
    """patches by its definition, one number at a time."""
    h, w, c = shape
    images, rows = x.reshape(-1, h, w, c), []
    for image in images:
        for r in range((h + 2 * pad - k) // stride + 1):
            for s in range((w + 2 * pad - k) // stride + 1):
                row = []
                for i in range(k):
                    for j in range(k):
                        u, v = stride * r + i - pad, stride * s + j - pad
                        row += [image[u, v, d] if 0 <= u < h and 0 <= v < w else 0 for d in range(c)]
                rows.append(row)
    return np.array(rows)


def by_name(shape, k, stride, pad):
    return {'shape': shape, 'k': k, 'stride': stride, 'pad': pad}


@given(settings=geometries(), m=st.integers(1, 3), seed=laws.seeds)
def test_patches_are_those_of_the_definition(settings, m, seed):
    x = normal(m, np.prod(settings['shape']), seed=seed)
    np.testing.assert_array_equal(patches(x, **settings), loops(x, **settings))


@given(settings=geometries(), m=st.integers(1, 3), seed=laws.seeds)
def test_unpatches_is_the_derivative_of_patches(settings, m, seed):
    """<u, P x> = <P^T u, x>"""
    x = normal(m, *settings['shape'], seed=seed)
    y = patches(x, **settings)
    u = normal(*y.shape, seed=seed + 1)
    back = unpatches(u, **settings)
    assert back.shape == (x.size // x.shape[-1], x.shape[-1])
    np.testing.assert_allclose((u * y).sum(), (back.ravel() * x.ravel()).sum(), rtol=1e-10, atol=1e-10)


@given(settings=geometries(), seed=laws.seeds)
def test_putting_patches_together_counts_each_pixel_once_for_each_patch_that_it_is_in(settings, seed):
    """P^T P x = n x, n the number of patches, counted one by one."""
    x, size = normal(2, *settings['shape'], seed=seed), np.prod(settings['shape'])
    n = (loops(np.arange(1, size + 1), **settings)[..., None] == np.arange(1, size + 1)).sum(axis=(0, 1))
    both = unpatches(patches(x, **settings), **settings).reshape(2, size)
    np.testing.assert_allclose(both, n * x.reshape(2, size), rtol=1e-12)


@pytest.mark.parametrize('k', [1, 2, 3])
def test_patches_that_tile_the_image_only_move_its_pixels(k):
    settings = by_name((2 * k, 3 * k, 2), k, k, 0)
    x = normal(3, *settings['shape'])
    y = patches(x, **settings)
    np.testing.assert_array_equal(np.sort(y, axis=None), np.sort(x, axis=None))
    np.testing.assert_array_equal(unpatches(y, **settings), x.reshape(-1, 2))


def convolution_of(shape, k, stride, pad, n_out=3, bias=True):
    layers = Patches(shape, k, stride=stride, pad=pad), Dense(k * k * shape[2], n_out, bias=bias)
    net = net_of(*layers)
    net.theta += 0.1 * normal(net.theta.size)
    return net


def test_a_kernel_of_one_pixel_is_a_dense_layer_on_pixels():
    net, x = convolution_of((3, 4, 2), 1, 1, 0), normal(2, 24)
    dense = net.layers[1]
    np.testing.assert_allclose(net(x), x.reshape(-1, 2) @ dense.W + dense.b, rtol=1e-12)


def test_a_kernel_as_large_as_the_image_is_a_dense_layer_on_images():
    net, x = convolution_of((4, 4, 2), 4, 1, 0), normal(3, 32)
    dense = net.layers[1]
    np.testing.assert_allclose(net(x), x @ dense.W + dense.b, rtol=1e-12)


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_a_convolution_is_the_dense_layer_whose_sparse_matrix_it_makes_of_the_identity(geometry):
    net, n = convolution_of(*geometry, bias=False), int(np.prod(geometry[0]))
    sparse, x = net(np.eye(n)).reshape(n, -1), normal(3, n)
    np.testing.assert_allclose(net(x).reshape(3, -1), x @ sparse, rtol=1e-12, atol=1e-14)
    assert set(sparse[sparse != 0]) <= set(net.layers[1].W.ravel())


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_a_transposed_convolution_is_the_derivative_of_a_convolution_with_the_same_taps(geometry):
    (shape, k, stride, pad), n_out = geometry, 3
    forth = convolution_of(*geometry, bias=False)
    back = net_of(Dense(n_out, k * k * shape[2], bias=False), Unpatches(shape, k, stride=stride, pad=pad))
    back.layers[0].W[...] = forth.layers[1].W.T
    x = normal(2, int(np.prod(shape)))
    y = forth.forward(x)
    dy = normal(*y.shape, seed=1)
    np.testing.assert_allclose(back(dy).reshape(x.shape), forth.backward(dy), rtol=1e-12, atol=1e-14)


def test_an_image_that_moves_by_the_stride_moves_the_output_by_a_pixel():
    net, x = convolution_of((12, 14, 2), 3, 2, 1), np.zeros((2, 12, 14, 2))
    x[:, 2:8, 2:8] = normal(2, 6, 6, 2)
    y, moved = (net(np.roll(image, by, axis=(1, 2)).reshape(2, -1)).reshape(2, 6, 7, 3)
                for image, by in ((x, (0, 0)), (x, (2, 4))))
    np.testing.assert_allclose(moved[:, 1:, 2:], y[:, :-1, :-2], rtol=1e-12)
    assert abs(y).min() > 0


def test_taps_are_not_flipped():
    """The pixel to the right of a patch's middle meets the tap to the right of the kernel's middle."""
    net, x = net_of(Patches((3, 3, 1), 3), Dense(9, 1, bias=False)), np.arange(1.0, 10)
    net.layers[1].W[:, 0] = [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert net(x[None])[0, 0] == 6
    net.layers[1].W[:, 0] = [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert net(x[None])[0, 0] == 2


def test_a_bias_in_front_of_unpatches_is_added_once_for_each_patch_and_so_unevenly():
    settings = by_name((4, 4, 1), 4, 2, 1)
    n = unpatches(np.ones((4, 16)), **settings).reshape(4, 4)
    assert n.min() == 1 and n.max() == 4  # the corner and the middle


@given(shape=st.tuples(*[st.integers(1, 4)] * 3), factor=st.integers(1, 3), seed=laws.seeds)
def test_upscaling_and_pooling(shape, factor, seed):
    """pool(upscale(x)) = x, and <u, upscale(x)> = factor^2 <pool(u), x>; each pixel becomes a block of equal ones."""
    h, w, c = shape
    settings, x = {'shape': shape, 'factor': factor}, normal(2, h, w, c, seed=seed)
    large = upscale(x, **settings)
    np.testing.assert_array_equal(large.reshape(2, factor * h, factor * w, c), x.repeat(factor, 1).repeat(factor, 2))
    np.testing.assert_allclose(pool(large, **settings), x.reshape(-1, c), rtol=1e-14)
    u = normal(*large.shape, seed=seed + 1)
    np.testing.assert_allclose((u * large).sum(), factor**2 * (pool(u, **settings).ravel() * x.ravel()).sum(),
                               rtol=1e-10, atol=1e-10)


LAYERS = [partial(kind, shape, k, stride=stride, pad=pad) for shape, k, stride, pad in GEOMETRIES
          for kind in (Patches, Unpatches)]
LAYERS += [partial(kind, shape, factor) for shape in ((2, 3, 2), (1, 1, 1)) for factor in (1, 2, 3)
           for kind in (Upscale, AveragePool)]

test_patches_laws = laws.hold_for(
    lambda n, **settings: Patches((2, n // 2, 1), **settings), x=laws.minibatches(widths=st.sampled_from([4, 6, 10])),
    k=st.integers(1, 2), stride=st.integers(1, 3), pad=st.integers(0, 2))
test_rows_laws = laws.hold_for(lambda n: Rows(n), x=laws.minibatches(widths=st.integers(2, 6)))


@pytest.mark.parametrize('make', LAYERS, ids=lambda make: repr(make()))
def test_every_law_holds_for_a_row_of_each_image(make):
    assert len(LAWS) > 1
    for law in LAWS:
        law(make, normal(3, make().size), 0)


def test_a_wrong_derivative_breaks_a_law():
    class Wrong(Patches):
        derivative = staticmethod(lambda dy, **settings: 1.001 * unpatches(dy, **settings))

    def broken(law):
        try:
            law(partial(Wrong, (4, 4, 1), 2), normal(3, 16), 0)
        except AssertionError:
            return True
    assert any(map(broken, LAWS))


@pytest.mark.parametrize('make', LAYERS, ids=lambda make: repr(make()))
def test_rows_of_images_and_rows_of_pixels_are_the_same_images(make):
    layer = make()
    net, x = net_of(layer), normal(2, layer.size)
    y = net.forward(x)
    dy = normal(*y.shape, seed=1)
    dx = net.backward(dy)
    pixels = x.reshape(-1, layer.channels)
    np.testing.assert_array_equal(net.forward(pixels), y)
    np.testing.assert_array_equal(net.backward(dy), dx.reshape(pixels.shape))


def test_rows_go_forth_and_back():
    x = normal(3, 24)
    np.testing.assert_array_equal(net_of(Rows(2), Rows(24))(x), x)
    np.testing.assert_array_equal(net_of(Rows(2))(x), x.reshape(36, 2))


@pytest.mark.parametrize('make', [*LAYERS, partial(Rows, 4)], ids=lambda make: repr(make()))
def test_float32_stays_float32(make):
    layer = make()
    net = net_of(layer, dtype=np.float32)
    x = normal(2, layer.size).astype(np.float32)
    y = net.forward(x, keep_cache=True)
    assert y.dtype == net.backward(y).dtype == layer.tangent(x).dtype == np.float32


def test_a_factor_of_numpy_keeps_float32_too():
    net = net_of(Upscale((2, 2, 1), np.int64(2)), dtype=np.float32)
    assert net.backward(net.forward(np.ones((1, 4), np.float32))).dtype == np.float32


def test_whole_networks_pass_gradcheck():
    whole = [Dense(3, 8, bias=False), Rows(4), BatchNorm(4), LeakyReLU(0.2), Upscale((1, 2, 4)),
             Patches((2, 4, 4), 3, pad=1), Dense(36, 5), Tanh(), AveragePool((1, 2, 5)),
             Dense(5, 18, bias=False), Unpatches((3, 6, 2), 3, stride=3), Rows(36)]
    gradcheck(net_of(*whole), normal(4, 3)).assert_ok()


@pytest.mark.parametrize('make, said', [
    (lambda: Patches((2, 6, 1), 5, pad=1), 'patches: expected at least 5 pixels, got 2 with 1 more on each side'),
    (lambda: Unpatches((6, 2, 1), 5, pad=1), 'patches: expected at least 5 pixels, got 2 with 1 more on each side'),
    (lambda: Patches((4, 4), 2), r'Patches: expected a shape \(h, w, c\), sizes .*, got \(4, 4\), 2, 1, 0'),
    (lambda: Patches((4, 4, 1), 0), r'Patches: .* sizes of at least 1 .*, got \(4, 4, 1\), 0, 1, 0'),
    (lambda: Patches((4, 4, 1), 2, stride=0), r'Patches: .*, got \(4, 4, 1\), 2, 0, 0'),
    (lambda: Patches((4, 4, 1), 2, pad=-1), r'Patches: .* a pad of at least 0, got \(4, 4, 1\), 2, 1, -1'),
    (lambda: Unpatches((4, -4, -1), 2), 'Unpatches: expected a shape'),
    (lambda: Upscale((4, 4, 1), 0), r'Upscale: expected .*, got \(4, 4, 1\), 0'),
    (lambda: AveragePool((4, 4)), 'AveragePool: expected a shape'),
    (lambda: Rows(0), 'Rows: expected')])
def test_sizes_that_do_not_fit_are_refused_in_one_line(make, said):
    with pytest.raises(ValueError, match=said) as error:
        make()
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('layer, x, said', [
    (Patches((4, 4, 1), 2), (2, 8), r'Patches\(\(4, 4, 1\), 2, 1, 0\): expected x of shape \(m, 16\), or its'),
    (Patches((4, 4, 2), 2), (15, 2), r'or its pixels, got \(15, 2\)'),
    (Patches((4, 4, 2), 2), (1, 4, 4, 2), r'got \(1, 4, 4, 2\)'),
    (Unpatches((4, 4, 1), 2, stride=2), (4, 8), r'Unpatches\(.*expected x of shape \(m, 16\), .* got \(4, 8\)'),
    (Upscale((2, 2, 1)), (2, 2), r'Upscale\(\(2, 2, 1\), 2\): .*\(m, 4\).*\(2, 2\)'),
    (AveragePool((2, 2, 1)), (4, 4), r'AveragePool\(\(2, 2, 1\), 2\): .*\(m, 16\).*\(4, 4\)'),
    (Rows(12), (3, 10), r'Rows\(12\): .*\(3, 10\)'), (Rows(12), (3, 6), r'Rows\(12\): .*\(3, 6\)')])
def test_images_of_another_size_are_refused_even_if_their_pixels_make_whole_images(layer, x, said):
    with pytest.raises(ValueError, match=said):
        net_of(layer)(np.ones(x))
