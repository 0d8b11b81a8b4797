"""A whole step: minigan in its several forms, PyTorch and JAX in theirs, and the least that a step can take."""

import os
import sys
import time
from contextlib import ExitStack, closing
from threading import Timer
from unittest import mock

from candidates import NETWORKS, ON_GPU, Reference
from harness import Worker, markdown, quartiles
from on_gpu.clock import host_seconds, limits, race_of, repeat, wait
from on_gpu.games import floor, game_of
from on_gpu.kernels import without_kernels
from on_gpu.part import Part, in_order, in_words, label_powers, microseconds, milliseconds, ratio

from minigan import RECIPES as VARIANTS
from minigan.gpu import graph, twins
from minigan.networks import RECIPES

OURS = 'minigan, graph'
LAUNCHED = 'minigan, launches'
WITH_CUBLAS = 'minigan, launches, cuBLAS'
PLAIN = "CuPy's own functions"
CPU = 'minigan on the CPU'
CORES = os.cpu_count()
PATIENCE = 60  # seconds that the references get to become ready, however late it is


class Steps:
    """A game's steps by the wall clock, until the GPU has done them; has the interface of harness.Worker."""

    rest = 0

    def __init__(self, xp, network, m, form):
        self.xp, self.t = xp, 0
        self.game, self.products = game_of(network, m, xp), 'cublas' if form == WITH_CUBLAS else 'own'
        self.step_of = self.game.step
        if form == OURS:
            self.graph = graph.StepGraph(self.game)
            self.step_of = self.graph.step
        elif form == PLAIN:
            self.step_of = without_kernels(self.game.step)
            for net in (self.game.G, self.game.D):
                net.layers_in_training = net.layers

    def step(self):
        """One step, which the GPU may do later."""
        self.step_of(self.t)
        self.t += 1

    def call(self, method, steps):
        """Returns None and the seconds of a number of steps."""
        with mock.patch.object(twins.compiled(self.xp), 'products', self.products):
            wait(self.xp)
            begin = time.perf_counter()
            repeat(self.step, steps)
            wait(self.xp)
            return None, time.perf_counter() - begin

    def host(self, rounds):
        """Quartiles of the seconds that the CPU is busy with a step."""
        with mock.patch.object(twins.compiled(self.xp), 'products', self.products):
            return host_seconds(self.xp, self.step, rounds=rounds, calls=10)


def reference(name, m, seconds, network='default'):
    """A reference on the GPU; its process ends if it is not ready after that many seconds. For harness.Worker."""
    def end():
        print(f'not ready after {seconds:.0f} s', file=sys.stderr, flush=True)
        os._exit(1)

    timer = Timer(seconds, end)
    timer.start()
    try:
        return Reference(name, m, CORES, 'cuda', network)
    finally:
        timer.cancel()


def launches(xp, network, m):
    """How many kernels of minigan's a plain step launches."""
    one = game_of(network, m, xp)
    one.step(0)
    real = twins.Kernels.launch
    with mock.patch.object(twins.Kernels, 'launch', autospec=True, side_effect=real) as launch:
        one.step(1)
    return launch.call_count


def measure(xp, settings):
    """Yield what the GPU reaches, then the result of each network and batch. The references have those of NETWORKS."""
    begin = time.perf_counter()
    limit = limits(xp, settings)
    yield {'limits': limit}
    medians = {name: quartiles[0] for name, quartiles in limit.items()}
    own = {network: VARIANTS[network].batch for network in dict.fromkeys([*NETWORKS, *RECIPES]) if network != 'default'}
    for network, m in [*(('default', m) for m in in_order(settings.batches)), *own.items()]:
        patience = max(PATIENCE, settings.limit - (time.perf_counter() - begin))
        yield {'network': network, 'm': m, **of_step(xp, network, m, medians, settings, patience)}


def of_step(xp, network, m, limit, settings, patience):
    """The times of a step, by form; or the 'error' that was raised. patience: seconds to wait for the references."""
    try:
        with ExitStack() as stack:
            workers = {}
            if network in NETWORKS:
                workers = {name: stack.enter_context(closing(Worker(
                    'on_gpu.step:reference', name, m, patience, network, threads=CORES))) for name in ON_GPU}
                workers[CPU] = stack.enter_context(closing(Worker('candidates:Minigan', m, 'step', True, network,
                                                                  threads=CORES)))
            ours = {form: Steps(xp, network, m, form) for form in (OURS, LAUNCHED, WITH_CUBLAS, PLAIN)}
            missing = {name: worker.missing for name, worker in workers.items() if not worker.wait_until_ready()}
            entrants = race_of({**ours, **{name: worker for name, worker in workers.items() if name not in missing}},
                               settings._replace(seconds=10 * settings.seconds))
            host = {form: steps.host(settings.rounds) for form, steps in ours.items()}
    except (Exception, SystemExit) as error:  # the second when a reference's process dies; the other batches go on
        return {'error': in_words(error)}
    count = launches(xp, network, m)
    terms = floor(network, m, limit)
    return {'seconds': {name: quartiles(entrant.seconds) for name, entrant in entrants.items()},
            'ratios': {name: entrant.ratio(entrants[OURS]) for name, entrant in entrants.items()},
            'host': host, 'missing': missing, 'remark': ours[OURS].graph.remark, 'launches': count,
            'gradients': {name: worker.about['gradient_error'] for name, worker in workers.items()
                          if worker.about},
            'terms': {**terms, 'kernels x time of a launch': count * limit['s/launch'],
                      'kernels x time in a graph': count * limit['s/node']}}


def least(r, form):
    """The floor of a form: (its name, seconds). A graph has no launches, but its nodes start one after the other."""
    leave_out = 'kernels x time of a launch' if form == OURS else 'kernels x time in a graph'
    terms = {name: seconds for name, seconds in r['terms'].items() if name != leave_out}
    name = max(terms, key=terms.get)
    return name, terms[name]


def best(r):
    """(name, ratio to minigan) of the fastest framework, or None."""
    theirs = {name: ratio[0] for name, ratio in r['ratios'].items() if name in ON_GPU}
    return min(theirs.items(), key=lambda pair: pair[1]) if theirs else None


def steps_of(results, network='default'):
    """The results of one network, without those that failed, by batch."""
    return sorted((r for r in results if r.get('network') == network and 'seconds' in r), key=lambda r: r['m'])


def wrong(results):
    """A line for each step that failed, and for each reference that has other gradients."""
    for r in results:
        if 'error' in r:
            yield f'{r["network"]}, batch {r["m"]}: {r["error"]}'
        for name, why in r.get('missing', {}).items():
            if 'gradients' in why:
                yield f'{r["network"]}, batch {r["m"]}, {name}: {why}'


def verdict(results):
    """The step, in a sentence."""
    runs = steps_of(results)
    if not runs:
        return None
    r = min(runs, key=lambda r: abs(r['m'] - RECIPES['default'].batch))
    name, seconds = least(r, OURS)
    ours, launched = r['seconds'][OURS][0], r['seconds'][LAUNCHED][0]
    against = ''
    if best(r):
        framework, ratio = best(r)
        against = f' The fastest framework, {framework}, takes {ratio:.2f} times as long as minigan.'
    if r['remark']:
        return f'A step of {r["m"]} images: {1e3 * launched:.3f} ms launched kernel by kernel; {r["remark"]}.{against}'
    return (f'A step of {r["m"]} images: {1e3 * ours:.3f} ms as one graph, {1e3 * launched:.3f} ms launched kernel by '
            f'kernel. The graph takes {ours / seconds:.1f} times its floor, which is {name}.{against}')


def page(results):
    """Tables of the default's step by batch, of the other networks, and of what bounds them."""
    yield ('A step updates D once and G once, with all their noise and dropout. Its time is by the wall clock, up to '
           'the moment when the GPU has finished a block of steps. Frameworks compute in float32 without TF32; their '
           "gradients have been compared with minigan's. minigan on the CPU takes all cores. Times and ratios are "
           'medians (quartiles) over the rounds.')
    yield from of_limits(results[0]['limits'])
    for r in results[1:]:
        if 'error' in r:
            yield f'{r["network"]}, batch {r["m"]}: error: {r["error"]}'
        if r.get('remark'):
            yield f'{r["network"]}, batch {r["m"]}: {r["remark"]}'
    for network in dict.fromkeys(['default', *(r['network'] for r in results[1:])]):
        runs = steps_of(results, network)
        if runs:
            yield f'### {network}'
            yield from tables(runs)


def of_limits(limit):
    """What the GPU reaches, as a list."""
    scaled = {'bytes/s': (1e-9, 0, 'GB/s in a copy of 128 MiB'),
              'bytes/s, L2': (1e-9, 0, 'GB/s in a copy of 8 MiB, which an L2 cache can hold'),
              'FLOP/s': (1e-12, 1, "TFLOP/s in cuBLAS' product of 4096 x 4096 x 4096, float32"),
              's/launch': (1e6, 2, 'us from one launch of the least kernel to the next, by CuPy'),
              's/node': (1e6, 2, 'us from one such kernel to the next in a graph')}
    yield 'This GPU reaches, as medians (quartiles):'
    yield '\n'.join(f'- {ratio(*(scale * q for q in limit[name]), digits=digits)} {what}'
                    for name, (scale, digits, what) in scaled.items())


def tables(runs):
    """The tables of one network."""
    names = list(dict.fromkeys(name for r in runs for name in r['seconds']))
    batches = [f'batch {r["m"]}' for r in runs]
    yield markdown(['ms a step, by the wall clock', *batches],
                   [[name, *(milliseconds(r['seconds'][name]) if name in r['seconds'] else 'missing' for r in runs)]
                    for name in names])
    yield markdown([f'time / {OURS}', *batches],
                   [[name, *(ratio(*r['ratios'][name]) if name in r['ratios'] else 'missing' for r in runs)]
                    for name in names if name != OURS])
    forms = list(runs[0]['host'])
    yield markdown(['us a step that the CPU is busy', *batches],
                   [[form, *(microseconds(r['host'][form]) for r in runs)] for form in forms])
    yield markdown(['floor, ms', *batches], [
        *([name, *(f'{1e3 * r["terms"][name]:.4f}' for r in runs)] for name in runs[0]['terms']),
        *([f'{form} / its floor', *(f'{r["seconds"][form][0] / least(r, form)[1]:.2f}' for r in runs)]
          for form in (OURS, LAUNCHED)), ['kernels of minigan in a step', *(r['launches'] for r in runs)]])
    missing = {}
    for r in runs:
        for name, why in r['missing'].items():
            missing.setdefault(why, {})[name] = None
    for why, whose in missing.items():
        yield f'{", ".join(whose)}: missing: {why}'
    errors = {name: max(r['gradients'][name] for r in runs if name in r['gradients'])
              for name in dict.fromkeys(name for r in runs for name in r['gradients'])}
    if errors:
        yield ("Gradients differ from minigan's on the CPU, before anything was timed, by at most: "
               + ', '.join(f'{name} {error:.1e}' for name, error in errors.items()))


def chart(results, figure):
    """The default's step against the batch."""
    runs = steps_of(results)
    if not runs:
        return False
    figure.set_size_inches(10, 5)
    axes = figure.subplots()
    for i, name in enumerate(dict.fromkeys(name for r in runs for name in r['seconds'])):
        points = [(r['m'], *(1e3 * q for q in r['seconds'][name])) for r in runs if name in r['seconds']]
        m, middle, lower, upper = zip(*points)
        bars = [[a - b for a, b in zip(middle, lower)], [b - a for a, b in zip(middle, upper)]]
        axes.errorbar(m, middle, bars, label=name, marker='.' if i < 10 else '^',  # ten colours
                      linewidth=2 if name == OURS else 1, linestyle='-' if name.startswith('minigan') else '--')
    axes.plot([r['m'] for r in runs], [1e3 * least(r, OURS)[1] for r in runs], color='grey', linestyle=':', marker='_',
              label="floor of minigan's graph")
    label_powers(axes, {r['m'] for r in runs}, 'batch')
    axes.set_yscale('log')
    axes.set_ylabel('ms a step')
    figure.legend(loc='outside right upper', fontsize='small')
    return True


PART = Part('A step', measure, page, chart, verdict, wrong, timed=True)
