"""Training on a GPU, checked against a CPU: the same steps on both, and how far apart they end.

`--device auto` takes a GPU only if a short form of that check has passed on it.
"""

import json
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import numpy as np

from minigan import data
from minigan.checks.row import Row
from minigan.gpu import compare
from minigan.gpu.compare import by_error, largest_difference
from minigan.gpu.device import CPU, identity, reason, select_device
from minigan.gpu.graph import WARM_UP, StepGraph
from minigan.layers import LeakyReLU
from minigan.native.twins import use
from minigan.networks import RECIPES
from minigan.storage.files import atomic_write, cache_folder, open_file, read_at_most
from minigan.training.build import build_game, recipe_of
from minigan.training.config import Config

STEPS = 100
DRIFT = 1e-3  # how far apart two float32 runs may be after that many steps
FEW = WARM_UP + 2  # steps of the short self-test: the last two are replayed
SHAPE, SIZE = (33, 70), 3000  # rows and columns, and random numbers in it
LIMIT = 1 << 16  # bytes of a file with an outcome, at most


def choose_device(name, say):
    """What select_device returns, except that 'auto' takes a GPU only if the short self-test has passed on it.

    say: is told when that test begins. An exception in it counts as a failure too, but is not kept.
    On a CPU, native twins are in use from now on, if there are any, and with 'numpy' none.
    """
    xp, words = _chosen(name, say)
    if xp is np:
        use(name != 'numpy')
    return xp, words


def _chosen(name, say):
    xp, words = select_device(name)
    if name != 'auto' or xp is np:
        return xp, words
    try:
        wrong = found_wrong(xp, say)
    except Exception as error:  # whatever CuPy raises
        wrong = reason(error)
    if wrong:
        return np, f'{CPU}: the self-test of the GPU failed: {wrong}; `minigan selftest` shows more'
    return xp, f'{words}, which has passed the self-test'


def found_wrong(xp, say):
    """The first wrong row of the short self-test, in words, or ''. xp: cupy.

    The outcome is kept in the cache folder, so the test runs again only when device.identity has changed.
    """
    about = identity(xp)
    name = f'selftest-{sha256(json.dumps(about).encode()).hexdigest()[:16]}.json'
    kept = _kept(name)
    if type(kept) is dict and type(kept.get('wrong')) is str and kept == {**about, 'wrong': kept['wrong']}:
        return kept['wrong'] and f'{kept["wrong"]}, says {cache_folder() / name}; delete it to test again'
    say('comparing this GPU with NumPy, once; --device cpu and --device cuda skip this')
    wrong = next((f'{row.name}: {row.why}' for row in short_rows(xp) if not row.ok), '')
    with suppress(OSError):  # where nothing can be kept, the test runs every time
        cache_folder().mkdir(parents=True, exist_ok=True)
        with atomic_write(cache_folder() / name, 'w') as file:
            json.dump({**about, 'wrong': wrong}, file)
    return wrong


def short_rows(xp):
    """A Row for each kernel, at one shape, and for a few steps of each network."""
    yield from compare.rows(xp, [SHAPE], [SIZE])
    for network in RECIPES:
        yield compare_training(xp, FEW, network=network)


def _kept(name):
    """What a file in the cache folder says; None if there is none, and if it is damaged."""
    try:
        with open_file(cache_folder() / name) as file:
            return json.loads(read_at_most(file, LIMIT))
    except (OSError, ValueError, RecursionError):
        return None


def compare_training(xp, steps, *, replay=True, **choices):
    """A Row for the same steps on the CPU and with xp: parameters, moments and moving averages afterwards.

    replay: whether the steps are replayed, as in training, or launched kernel by kernel. choices: fields of Config.
    Adam gets small learning rates: with larger ones, such as the default's, rounding errors grow large within a hundred
    steps.
    """
    dataset, config = data.load('digits'), Config(**choices)
    recipe = recipe_of(config, dataset)
    if recipe.takes_beta1:
        config = replace(config, **{'learning_rate_G': 2e-4, 'learning_rate_D': 2e-4, 'beta1': 0.5, **choices})
    recipe = replace(recipe, G=smooth(recipe.G), D=smooth(recipe.D))
    config = config.resolve(recipe, dataset)
    theirs, ours = (build_game(config, recipe, dataset, module) for module in (xp, np))
    graph = StepGraph(theirs)
    for t in range(steps):
        (graph if replay else theirs).step(t)
        ours.step(t)
    how = 'replayed' if replay and not graph.remark else 'launched'
    theirs, ours = trained(theirs), trained(ours)
    found = max((largest_difference(theirs[name], ours[name], name) for name in ours), key=by_error)
    return Row(f'{steps} steps of {config.network}, {how}', found.error, DRIFT, found.where)


def trained(game):
    """name -> each array that training changes."""
    return {f'{player} {name}': getattr(owner, name) for player, net, optimizer in game.players()
            for owner, names in ((net, ('theta', 'state')), (optimizer, optimizer.buffers)) for name in names}


def smooth(build):
    """A recipe's G or D with slopes of nearly 1.

    A unit within rounding error of its kink can land on either side of it, after which two correct runs diverge.
    """
    return lambda *sizes: [smoothed(layer) for layer in build(*sizes)]


def smoothed(layer):
    """The layer with that slope, if it is a LeakyReLU; otherwise itself, with those that it is made of smoothed."""
    if isinstance(layer, LeakyReLU):
        return LeakyReLU(0.9999)
    layer.layers = tuple(map(smoothed, layer.layers))
    return layer


def rows(xp):
    """Two Rows for each network, with xp, which is cupy: its steps launched and replayed."""
    for network in RECIPES:
        for replay in (False, True):
            yield compare_training(xp, STEPS, replay=replay, network=network)
