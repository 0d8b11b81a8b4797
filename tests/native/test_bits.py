"""Every native twin gives the bits of its specification, whatever the numbers, the shape and the number of threads."""

from contextlib import contextmanager
from inspect import signature

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigan import data, ops
from minigan.backend import eligible
from minigan.gpu import compare, fusion
from minigan.native import check
from minigan.native.library import BY_ELEMENT
from minigan.native.twins import NAMES, Native, threads, use
from minigan.storage import archive
from minigan.storage.files import digest
from minigan.streams import STREAMS, Rng, Streams
from minigan.training import Config, resume, train
from minigan.training.build import build_average, build_game
from minigan.training.on_gpu import trained
from minigan.variants import RECIPES, convolution
from minigan.variants.convolution import patches

SPECIFICATIONS = compare.specifications()
NASTY = np.float32([np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, -1e-45, 1e-38, -3e38, 3e38, 1, -1])
LARGE = (1, 300_000), (300_000, 1), (1400, 200), (3, 1200), (130, 2100)  # enough for threads to take part
CANARY = np.float32(12345.678)


@contextmanager
def settings(twins, count):
    """Twins that run with a number of threads; how often each native function runs is counted in the dict yielded."""
    kept, counts = twins.functions, {}

    def counting(name, function):
        def run(*arguments):
            counts[name] = counts.get(name, 0) + 1
            return function(*arguments)
        return run

    twins.functions = {name: counting(name, function) for name, function in kept.items()}
    twins.library.set_threads(count)
    try:
        yield counts
    finally:
        twins.functions = kept
        twins.library.set_threads(threads())


class Guarded:
    """New arrays, each between numbers that nobody may touch."""

    def __init__(self):
        self.buffers = []

    def __call__(self, x, shape=None, dtype=None):
        shape = np.shape(x) if shape is None else shape
        size = int(np.prod(shape))
        buffer = np.full(size + 140, CANARY)
        self.buffers.append((buffer, size))
        array = buffer[70:70 + size].reshape(shape)
        if isinstance(x, np.ndarray) and x.shape == array.shape:
            array[...] = x
        return array

    def untouched(self):
        return all((buffer[:70] == CANARY).all() and (buffer[70 + size:] == CANARY).all()
                   for buffer, size in self.buffers)


def copied(value, guarded):
    """Two copies of a value are the arguments of two calls: of its arrays, of those in its tuples, and of an Rng."""
    if isinstance(value, tuple):
        return tuple(copied(part, guarded) for part in value)
    if isinstance(value, Rng):
        draw, substep, step, seed, stream = value.next_key()
        value._draw -= 1
        return Rng(Streams(seed), stream, step, substep, draw=draw)
    return guarded(value) if isinstance(value, np.ndarray) else value


def assert_same_bits(twins, name, arguments, keywords, *, count=1, expected=None):
    """expected: name -> how often each native function must run; by default the twin's own, once."""
    guarded = Guarded()
    assert eligible(arguments), 'or the specification would run in training'
    theirs, ours = copied(arguments, guarded), copied(arguments, Guarded())
    with settings(twins, count) as counts, np.errstate(all='ignore'):
        twins.empty, twins.empty_like = guarded, guarded
        try:
            got = getattr(twins, name)(*theirs, **keywords)
        finally:
            del twins.empty, twins.empty_like
        wanted = SPECIFICATIONS[name].__wrapped__(*ours, **keywords)
    assert counts == ({name: 1} if expected is None else expected)
    assert check.differing(got, wanted) == 0
    for parameter, one, other in zip(compare.names(SPECIFICATIONS[name]), theirs, ours):
        if isinstance(one, Rng):
            assert one.next_key() == other.next_key()
        elif parameter != 'scratch':
            assert check.differing(one, other) == 0, parameter
    assert guarded.untouched()


class Numbers:
    """Random arrays of one example, some with nasty numbers."""

    def __init__(self, seed, nasty):
        self.random, self.nasty = np.random.default_rng(seed), nasty

    def __call__(self, *shape):
        x = self.random.standard_normal(shape, np.float32)
        if self.nasty:
            chosen = self.random.random(shape) < self.nasty
            x[chosen] = NASTY[self.random.integers(0, len(NASTY), int(chosen.sum()))]
        return x


shapes = st.tuples(st.integers(1, 40), st.integers(1, 200), st.integers(0, 9)).map(
    lambda drawn: LARGE[drawn[2]] if drawn[2] < len(LARGE) and drawn[0] % 3 == 0 else drawn[:2])
arrays = st.builds(Numbers, st.integers(0, 2**32), st.sampled_from([0, 0, 0.01, 0.3, 1]))
counts_of_threads = st.sampled_from([1, 2, 5])
numbers = st.floats(-4, 4).map(lambda x: x or 0.0)  # no -0
slopes = st.one_of(st.sampled_from([0.0, 0.2, 0.3, 0.9999, 1]), st.floats(0, 1, allow_subnormal=True).map(abs))
rates = st.one_of(st.sampled_from([1e-6, 2**-16, 0.2, 0.3, 0.5, 1 - 2**-16]), st.floats(1e-7, 0.999))
words = st.integers(0, 2**64 - 1)
momenta = st.one_of(st.sampled_from([0, 0.5, 0.9, 0.99, -3.0]), st.floats(0, 0.999))


@st.composite
def rngs(draw):
    seed, step, substep, drawn = (draw(words) for _ in range(4))
    return Rng(Streams(seed), draw(st.integers(0, len(STREAMS) - 1)), step, substep, draw=min(drawn, 2**64 - 2))


@st.composite
def adam(draw):
    return {'t': draw(st.integers(1, 10**6)), 'learning_rate': draw(st.sampled_from([0, 1e-30, 4e-3, 0.1, 1e30])),
            'beta1': draw(st.sampled_from([0, 0.5, 0.9])), 'beta2': draw(st.sampled_from([0.5, 0.999])),
            'eps': draw(st.sampled_from([0, 1e-40, 1e-7, 0.1]))}


def adam_arguments(arrays, settings, momentum):
    if momentum:
        return arrays, settings
    theta, dtheta, _, v, scratch = arrays
    return (theta, dtheta, None, v, scratch), {**settings, 'beta1': 0}


ELEMENT_CASES = {  # name -> arguments and keywords; draw: of Hypothesis, make: Numbers
    'tanh_backward': lambda draw, make, m, n: ((make(m, n), make(m, n)), {}),
    'sigmoid_scale_backward': lambda draw, make, m, n: ((make(m, n), make(m, n)), {'a': draw(numbers)}),
    'scale_dropout': lambda draw, make, m, n: (
        (make(m, n), draw(rngs())), {'a': draw(numbers), 'b': draw(numbers), 'rate': draw(rates)}),
    'scale_dropout_backward': lambda draw, make, m, n: ((make(m, n), make(m, n)), {'a': draw(numbers)}),
    'leaky_relu_dropout_backward': lambda draw, make, m, n: ((make(m, n), make(m, n)), {'slope': draw(slopes)}),
    'bias_leaky_relu_dropout': lambda draw, make, m, n: (
        (make(1, m, n), make(n), draw(rngs())), {'slope': draw(slopes), 'rate': draw(rates)}),
    'adam_': lambda draw, make, m, n: adam_arguments(tuple(make(5, m * n)), draw(adam()), draw(st.booleans())),
    'sgd_momentum_': lambda draw, make, m, n: (
        tuple(make(4, m * n)), {'learning_rate': draw(numbers), 'momentum': draw(momenta)}),
    'moving_average_': lambda draw, make, m, n: (tuple(make(2, m * n)), {'momentum': draw(momenta)}),
}


def test_no_twin_is_left_out():
    with_twins = {name for name in SPECIFICATIONS if hasattr(Native, name)}
    assert with_twins == {*NAMES, 'dense_leaky_relu_dropout', 'dense_tanh'}


@pytest.mark.parametrize('name', BY_ELEMENT)
@given(data=st.data(), make=arrays, shape=shapes, count=counts_of_threads)
def test_element_by_element(twins, name, data, make, shape, count):
    arguments, keywords = ELEMENT_CASES[name](data.draw, make, *shape)
    assert_same_bits(twins, name, arguments, keywords, count=count)


@given(make=arrays, shape=shapes, count=counts_of_threads, slope=slopes)
def test_leaky_relu_and_no_dropout(twins, make, shape, count, slope):
    m, n = shape
    keywords = {'slope': slope, 'rate': 0}
    assert_same_bits(twins, 'bias_leaky_relu_dropout', (make(1, m, n), make(n), None), keywords, count=count)


@given(make=arrays, images=st.sampled_from([0, 1, 2, 7, 300]), h=st.integers(1, 9), w=st.integers(1, 9),
       c=st.sampled_from([1, 2, 3, 17, 32]), k=st.integers(1, 6), stride=st.integers(1, 7), pad=st.integers(0, 6),
       count=counts_of_threads)
def test_patches(twins, make, images, h, w, c, k, stride, pad, count):
    assume(min(h, w) + 2 * pad >= k)
    settings = {'shape': (h, w, c), 'k': k, 'stride': stride, 'pad': pad}
    expected = {} if images == 0 else None
    x = make(images, h * w * c)
    assert_same_bits(twins, 'patches', (x,), settings, count=count, expected=expected)
    y = make(*patches(x, **settings).shape)
    assert_same_bits(twins, 'unpatches', (y,), settings, count=count, expected=expected)


@pytest.mark.parametrize('name', ['patches', 'unpatches'])
@pytest.mark.parametrize('shape', [(6, 4), (5, 48), (64, 3), (2, 3, 4, 2)])
def test_rows_of_pixels_and_of_images_are_the_same(twins, name, shape):
    assert_same_bits(twins, name, (Numbers(5, 0)(*shape),), {'shape': (3, 2, 4), 'k': 1, 'stride': 1, 'pad': 0})
    assert_same_bits(twins, name, (Numbers(5, 0)(*shape),), {'shape': (1, 2, 4), 'k': 1, 'stride': 1, 'pad': 0})


@pytest.mark.parametrize('name', ['patches', 'unpatches'])
@pytest.mark.parametrize('x, k', [(np.zeros((5, 5), np.float32), 2), (np.zeros((6, 4), np.float32), 9)])
def test_a_part_of_an_image_and_a_patch_too_large_are_refused_as_numpy_refuses_them(in_use, name, x, k):
    operation, errors = getattr(convolution, name), []
    for function in (operation, operation.__wrapped__):
        with pytest.raises(ValueError) as error:
            function(x, shape=(3, 2, 4), k=k, stride=1, pad=1)
        errors.append(str(error.value))
    assert errors[0] == errors[1]


def widths(shape):
    """NumPy adds up a single column in a different order, so that stays with NumPy."""
    return shape[0], max(shape[1], 2)


@given(make=arrays, shape=shapes.map(widths), count=counts_of_threads, slope=slopes, momentum=momenta,
       eps=st.sampled_from([0, 1e-5, 1e-3, 10]), centre=st.sampled_from([0, 20, -1e4]))
def test_batch_norm(twins, make, shape, count, slope, momentum, eps, centre):
    m, n = shape
    arguments = make(m, n) + np.float32(centre), make(n), make(n), make(n), make(n)
    keywords = {'eps': eps, 'momentum': momentum, 'slope': slope}
    assert_same_bits(twins, 'batch_norm_leaky_relu_', arguments, keywords, count=count)


@given(make=arrays, shape=shapes.map(widths), count=counts_of_threads, slope=slopes, parameters=st.booleans(),
       kinks=st.booleans())
def test_batch_norm_backward(twins, make, shape, count, slope, parameters, kinks):
    m, n = shape
    gamma, beta, xhat = make(n), make(n), make(m, n)
    if kinks:
        gamma, beta = np.exp2(np.float32(make.random.integers(-3, 3, n))), np.zeros(n, np.float32)
        xhat[make.random.random((m, n)) < 0.3] = make.random.choice([0.0, -0.0])
    dparams = (make(n), make(n)) if parameters else (None, None)
    arguments = make(m, n), gamma, beta, (xhat, make(n)), *dparams
    assert_same_bits(twins, 'batch_norm_leaky_relu_backward_', arguments, {'slope': slope}, count=count)


@pytest.mark.parametrize('zero', [0.0, -0.0])
def test_sums_of_zeros(twins, zero):
    x = np.full((9, 130), zero, np.float32)
    columns = np.full((4, 130), zero, np.float32)
    keywords = {'eps': 1e-3, 'momentum': 0.9, 'slope': 0.2}
    assert_same_bits(twins, 'batch_norm_leaky_relu_', (x, *columns), keywords)
    arguments = x, *columns[:2], (x, columns[2]), *columns[:2].copy()
    assert_same_bits(twins, 'batch_norm_leaky_relu_backward_', arguments, {'slope': 0.2})
    for b in columns:
        keywords = {'slope': 0.2, 'rate': 0}
        assert_same_bits(twins, 'bias_leaky_relu_dropout', (x[None], b, None), keywords)


@pytest.mark.parametrize('m', [2, 7, 300])
def test_one_column_stays_with_numpy(twins, m):
    make = Numbers(m, 0)
    arguments = make(m, 1), *make(4, 1)
    assert_same_bits(twins, 'batch_norm_leaky_relu_', arguments, {'eps': 1e-3, 'momentum': 0.9, 'slope': 0.2},
                     expected={})
    arguments = make(m, 1), make(1), make(1), (make(m, 1), make(1)), make(1), make(1)
    assert_same_bits(twins, 'batch_norm_leaky_relu_backward_', arguments, {'slope': 0.2}, expected={})


@given(make=arrays, m=st.integers(1, 80), n_in=st.integers(1, 40), n_out=st.integers(1, 200), rng=rngs(),
       slope=slopes, rate=st.one_of(st.just(0), rates), count=counts_of_threads)
def test_dense_and_what_follows_it(twins, make, m, n_in, n_out, rng, slope, rate, count):
    arguments = make(m, n_in), make(n_in, n_out), make(n_out)
    assert_same_bits(twins, 'dense_leaky_relu_dropout', (*arguments, rng), {'slope': slope, 'rate': rate},
                     count=count, expected={'bias_leaky_relu_dropout': 1})
    assert_same_bits(twins, 'dense_tanh', arguments, {}, expected={})


def test_parts_of_a_product_stay_with_numpy(twins):
    make = Numbers(1, 0)
    arguments = make(3, 5, 7), make(7), Rng(Streams(1), 3, 4, 5)
    assert_same_bits(twins, 'bias_leaky_relu_dropout', arguments, {'slope': 0.2, 'rate': 0.5}, expected={})


@pytest.mark.parametrize('name', BY_ELEMENT)
@pytest.mark.parametrize('size', [2**14 * 16 - 1, 2**14 * 16, 2**14 * 16 + 1, 2**12 * 16 + 1, 2**19 + 17])
def test_the_ends_of_pieces(twins, name, size):
    """From 16 pieces on, threads take part; a piece has 2**14 elements, or 2**12 where bits are drawn."""
    make = Numbers(size, 0)
    x, y, z, v = make(4, 1, size)
    key = Rng(Streams(2**63 + 1), 3, 4, 5)
    keywords = {'slope': 0.2, 'rate': 0.3, 'a': 2.0, 'b': -1.0, 'momentum': 0.9, 'learning_rate': 0.1, 't': 3,
                'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-7}
    arguments = {'scale_dropout': (x, key), 'bias_leaky_relu_dropout': (x[None], make(size), key),
                 'adam_': (x, y, z, v, v), 'sgd_momentum_': (x, y, z, z)}.get(name, (x, y))
    keywords = {one: keywords[one] for one, parameter in signature(SPECIFICATIONS[name]).parameters.items()
                if parameter.kind == parameter.KEYWORD_ONLY}
    assert_same_bits(twins, name, arguments, keywords, count=5)


# ---------------------------------------------------------------------------------------------------------------
# What a twin refuses: the specification runs, as if there were no twin


@pytest.fixture
def in_use(twins):
    assert use(True) == ''
    return twins


def read_only(x):
    x.flags.writeable = False
    return x


F = np.float32
RNG = object()  # in its place, a new one for each call
WHOLE = np.arange(12).reshape(3, 4)
REAL, RAW = np.linspace(-1, 1, 12, dtype=F).reshape(3, 4), np.zeros(49, np.uint8)
ODD = {  # arguments as a user may give them; the specification takes them all
    'tanh_backward, integers': ('tanh_backward', (WHOLE, WHOLE), {}),
    'tanh_backward, float16': ('tanh_backward', (REAL.astype(np.float16),) * 2, {}),
    'tanh_backward, big-endian': ('tanh_backward', (REAL.astype('>f4'), REAL), {}),
    'tanh_backward, read-only': ('tanh_backward', (read_only(REAL.copy()), REAL), {}),
    'tanh_backward, broadcast': ('tanh_backward', (REAL[:, :1].copy(), REAL), {}),
    'tanh_backward, by columns': ('tanh_backward', (np.asfortranarray(REAL), REAL), {}),
    'tanh_backward, not aligned': ('tanh_backward', (RAW[1:].view(F).reshape(3, 4), REAL), {}),
    'tanh_backward, as many numbers in other shapes': ('tanh_backward', (REAL[:, :1].copy(), REAL[:1, :3].copy()), {}),
    'tanh_backward, a number': ('tanh_backward', (REAL, 0.5), {}),
    'no bias': ('bias_leaky_relu_dropout', (REAL[None], None, RNG), {'slope': 0.2, 'rate': 0.5}),
    'tanh_backward, scalars': ('tanh_backward', (F(0.5), F(0.25)), {}),
    'tanh_backward, empty': ('tanh_backward', (REAL[:0], REAL[:0]), {}),
    'dropout, read-only': ('scale_dropout', (read_only(REAL.copy()), RNG), {'a': 2, 'b': 1, 'rate': 0.5}),
    'dropout, empty': ('scale_dropout', (REAL[:0], RNG), {'a': 2, 'b': 1, 'rate': 0.5}),
    'dense, integers': ('dense_leaky_relu_dropout', (WHOLE, REAL.T.copy(), REAL[0, :3], RNG),
                        {'slope': 0.2, 'rate': 0.5}),
    'dense, read-only b': ('dense_leaky_relu_dropout', (REAL, REAL.T.copy(), read_only(REAL[0, :3].copy()), RNG),
                           {'slope': 0.2, 'rate': 0.5}),
    'dense, one row alone': ('dense_leaky_relu_dropout', (REAL[0], REAL.T.copy(), REAL[0, :3], RNG),
                             {'slope': 0.2, 'rate': 0.5}),
}


@pytest.mark.parametrize('case', ODD)
def test_odd_arguments_give_what_numpy_gives(in_use, case):
    name, arguments, keywords = ODD[case]
    operation = getattr(ops, name, None) or getattr(fusion, name)
    results, keys = [], []
    for function in (operation, operation.__wrapped__):
        rng = Streams(3).at('dropout', 1)
        given = [rng if one is RNG else one for one in arguments]
        results.append(function(*given, **keywords))
        keys.append(rng.next_key())
    assert check.differing(*results) == 0 and keys[0] == keys[1]


def test_arguments_may_have_names(in_use):
    assert check.differing(ops.tanh_backward(dy=REAL, y=REAL), ops.tanh_backward.__wrapped__(REAL, REAL)) == 0


@pytest.mark.parametrize('name, arguments, keywords', [
    ('tanh_backward', (REAL, None), {}), ('scale_dropout_backward', (REAL, None), {'a': 2}),
    ('moving_average_', (REAL[0].copy(), None), {'momentum': 0.5}),
    ('batch_norm_leaky_relu_backward_', (REAL, REAL[0], REAL[0], (REAL, REAL[0]), REAL[1].copy(), None),
     {'slope': 0.2})])
def test_none_in_the_place_of_an_array_raises_as_in_numpy(in_use, name, arguments, keywords):
    with pytest.raises((TypeError, ValueError)):
        (getattr(ops, name, None) or getattr(fusion, name))(*arguments, **keywords)


def test_what_numpy_refuses_is_refused(in_use):
    with pytest.raises(ValueError, match='broadcast'):
        ops.tanh_backward(REAL, REAL[:2])
    with pytest.raises(TypeError, match='multiply'):
        fusion.scale_dropout(WHOLE, Streams(3).at('dropout', 1), a=2, b=1, rate=0.5)
    theta = read_only(REAL.copy().ravel())
    with pytest.raises(ValueError, match='read-only'):
        ops.moving_average_(theta, REAL.ravel(), momentum=0.5)
    assert (theta == REAL.ravel()).all()


# ---------------------------------------------------------------------------------------------------------------
# Whole runs


def run_of(wanted, network, update, steps):
    """SHA-256 of all arrays after some steps; and which native functions have run."""
    assert use(wanted) == ''
    dataset, recipe = data.load('digits'), RECIPES[network]
    k = 2 if update == 'alternating' else 1  # both at once: Algorithm 1 has no k then
    config = Config(network=network, update=update, batch=37, k=k, clip_norm=0.5, input_noise=0.3, average=0.7,
                    seed=3).resolve(recipe, dataset)
    game = build_game(config, recipe, dataset)
    average = build_average(config, recipe, dataset, game)
    for t in range(steps):
        game.step(t)
        average.update(t)
    return digest({**trained(game), 'dG': game.G.dtheta, 'dD': game.D.dtheta, 'average': average.averaged.theta,
                   'its state': average.averaged.state, 'picture': average.averaged(game.streams.at('sample', 0).normal(
                       (5, config.n_z)))})


WITH = {'article': {'bias_leaky_relu_dropout', 'leaky_relu_dropout_backward', 'adam_', 'batch_norm_leaky_relu_',
                    'batch_norm_leaky_relu_backward_', 'tanh_backward', 'moving_average_'},
        'goodfellow2014': {'bias_leaky_relu_dropout', 'leaky_relu_dropout_backward', 'sgd_momentum_', 'scale_dropout',
                           'sigmoid_scale_backward', 'moving_average_'}}
WITH['default'] = WITH['article']
WITH['dcgan'] = WITH['article'] | {'patches', 'unpatches'}


@pytest.mark.parametrize('network', WITH)
@pytest.mark.parametrize('update', ['alternating', 'simultaneous'])
def test_whole_runs_have_the_same_bits(twins, network, update):
    with settings(twins, 2) as counts:
        native = run_of(True, network, update, 60)
    assert set(counts) >= WITH[network], 'or NumPy is compared with NumPy'
    assert native == run_of(False, network, update, 60)


def content(folder, name='last.npz'):
    arrays, about = archive.load(folder / name)
    del arrays['run.seconds'], about
    arrays['run.log'] = arrays['run.log'][:, :-1]
    return digest(arrays)


def written(folder):
    """What a run leaves, without the seconds and the device."""
    log = [line.rpartition(',')[0] for line in (folder / 'log.csv').read_text().splitlines()]
    pictures = {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.png')}
    return content(folder), content(folder, 'best.npz'), log, pictures


@pytest.mark.parametrize('network', ['default', 'goodfellow2014'])
def test_a_run_that_moves_between_devices_goes_on_with_the_same_bits(twins, network, tmp_path, capsys):
    choices = {'network': network, 'batch': 359, 'schedule': 'constant', 'seed': 5, 'average': 1.0}
    choices['k'] = 1 + (network == 'default')

    def run(name, *devices):
        for epochs, device in enumerate(devices, 1):
            if epochs == 1:
                train(Config(epochs=1, out=str(tmp_path / name), device=device, **choices))
            else:
                resume(tmp_path / name, epochs=epochs, device=device)
        return written(tmp_path / name)

    expected = run('numpy', 'numpy', 'numpy')
    assert len(expected[3]) >= 4
    assert run('moving', 'numpy', 'cpu') == expected
    assert run('moving back', 'cpu', 'numpy') == expected
    assert 'has moved' not in capsys.readouterr().err
