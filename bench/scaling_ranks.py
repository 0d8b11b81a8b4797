"""What R ranks cost, and what they are worth: python bench/bench_scaling.py --ranks (about 4 minutes).

One run on 2, 3 and 4 ranks with one thread each takes turns with a single process with one thread, with one that has
two, and with one without fused kernels. Ranks have none: a fused kernel draws its own bits for dropout, and a rank
needs those of its place in the minibatch. A rank sleeps while others are timed, and is not pinned to a core. A step
includes the calls of the loop around it. Strong scaling divides a minibatch; in weak scaling each rank has as many
rows.

scaling_model.py says how long a step should take. It is fitted to the fastest steps of one process, with some of the
batches, and to the fastest Allreduces of two ranks, because a disturbance only makes them longer. The fastest steps
with the other batches, and all those of two ranks, then test it. More ranks than cores wait for each other's time
slices: they are measured, and marked, but test nothing. scaling_report.py makes tables and a chart of the results.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
from harness import RESULTS, Entrant, Worker, describe, load, machine, race, save, update_table
from scaling_report import ALONE, RANKS, THREADS, UNFUSED, chart, table
from tqdm import tqdm

FULL = {'networks': ('default', 'dcgan'), 'batches': (12, 48, 96, 192, 768), 'rows': (48, 192), 'ranks': RANKS,
        'sizes': [2**k for k in range(10, 26)], 'rounds': 7, 'seconds': 0.1}  # sizes: bytes, 1 KiB to 32 MiB
QUICK = {'networks': ('default',), 'batches': (12, 48, 96), 'rows': (48,), 'ranks': {2: RANKS[2]},
         'sizes': (2**10, 2**18, 2**22), 'rounds': 2, 'seconds': 0.05}  # rows: of each rank, in weak scaling


class Steps(Entrant):
    """Steps of minibatches of m, in the time that the ranks take between two barriers. blocks: what run returned."""

    def __init__(self, *given):
        super().__init__(*given)
        self.blocks = []

    def block(self):
        """See Entrant.block."""
        self.blocks.append(self.worker.call('run', self.steps, *self.arguments)[0])
        return self.blocks[-1]['seconds'] / self.steps

    def point(self):
        """What goes into the JSON file. fractions: of the time, for each purpose of calls; fastest: a single step."""
        blocks = self.blocks[-len(self.seconds):]
        fractions = {purpose: np.median([sum(call[-1] for call in one['spent'][purpose]) / one['seconds']
                                         for one in blocks]) for purpose in blocks[0]['spent']}
        return {'who': self.name, 'm': self.arguments[0], 'seconds': [float(f'{s:.4g}') for s in self.seconds],
                'fastest': float(f'{min(one["fastest"] for one in blocks):.4g}'),
                'fractions': {purpose: round(float(fraction), 4) for purpose, fraction in fractions.items()}}

    def calls(self):
        """[method, bytes, how many in a step] of the last block."""
        return [[method, size, number / self.steps] for calls in self.blocks[-1]['spent'].values()
                for method, size, number, _ in calls]


def mpiexec():
    """The command's path: that of this Python, or another. Raises SystemExit without one."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    found = shutil.which('mpiexec', path=places)
    if not found:
        raise SystemExit("no mpiexec: pip install -e '.[mpi]'")
    return found


def workers(network, ranks):
    """name -> Worker, ready to take steps."""
    alone = 'scaling_worker:Steps'
    started = {ALONE: Worker(alone, network), THREADS: Worker(alone, network, threads=2),
               UNFUSED: Worker(alone, network, False),
               **{name: Worker('scaling_worker:ranks', network, launcher=(mpiexec(), '-n', str(R)))
                  for R, name in ranks.items()}}
    for name, worker in started.items():
        if not worker.wait_until_ready():
            raise SystemExit(f'{name}: {worker.missing}')
    return started


def measure(network, *, batches, rows, ranks, sizes, rounds, seconds):
    """The results of one network, and those of single Allreduces."""
    started = workers(network, ranks)
    pairs = [(name, m) for m in batches for name in started]
    pairs += [(name, R * n) for n in rows for R, name in ranks.items() if R * n not in batches]
    entrants = [Steps(name, started[name], m) for name, m in pairs]
    race(entrants, rounds=rounds, seconds=seconds)
    two = started[RANKS[2]]
    single = np.array([[two.call('allreduce', size, max(5, min(200, 2**23 // size)))[0] for size in sizes]
                       for _ in range(rounds)])
    two_ranks = next(one for one in entrants if one.name == RANKS[2])
    found = {'bytes': two.about['bytes'], 'mpi': two.about['mpi'], 'calls': two_ranks.calls(),
             'points': [one.point() for one in entrants],
             'allreduce': [[size, took] for size, took in zip(sizes, single.min(0).tolist())]}
    for worker in started.values():
        worker.close()
    return found


def main(quick):
    """Measure, print, write."""
    settings = dict(QUICK if quick else FULL)
    networks, load_before = settings.pop('networks'), os.getloadavg()[0]
    print(describe(machine()))
    content = {'load': round(load_before, 1),
               'networks': {network: measure(network, **settings) for network in tqdm(networks)}}
    if quick:
        print(table({'machine': machine(), **content}))
        return
    save('scaling_ranks', content)
    print(table(load('scaling_ranks')))
    chart(load('scaling_ranks'), RESULTS / 'scaling_ranks.png')
    update_table('bench_scaling_ranks', table(load('scaling_ranks')))
