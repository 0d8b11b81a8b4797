"""How a step's time and a run's memory grow with the batch, the networks' width and the number of images.

    python bench/bench_scaling.py           about a minute, one thread
    python bench/bench_scaling.py --quick   only the ends of each range
    python bench/bench_scaling.py --ranks   one run on several processes instead: scaling_ranks.py

Each point is measured in a process of its own: one alternating step of the default networks, with native twins, and
with all hidden widths multiplied by `width`. With P parameters, minibatches of m and N images of 784 pixels, one
expects

    time     a m P + b P                each row meets each parameter in the products; Adam walks over the parameters
    memory   c + d m + 16 P + 784 N     activations; theta, dtheta and two moments in float32; the images in uint8

a, b, c and d are fitted to the points where only the batch varies; the other points then test the equations. A full
run writes bench/results/scaling.json, draws scaling.png and puts its table into bench/README.md.
"""

import argparse
from dataclasses import replace
from functools import partial

import numpy as np
import scaling_ranks
from harness import RESULTS, Entrant, Worker, describe, load, machine, markdown, peak_memory, race, save, update_table
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from tqdm import tqdm

from minigan import networks
from minigan.data import Dataset
from minigan.native.twins import use
from minigan.training import Config, build_game

PIXELS, BASE = 784, {'m': 64, 'width': 1, 'N': 10_000}
RANGES = {'m': (16, 32, 64, 128, 256, 512, 1024), 'width': (0.25, 0.5, 1, 2, 4), 'N': (2_000, 10_000, 50_000, 250_000)}


def recipe(width):
    """The default recipe with its hidden widths multiplied."""
    a, b = int(256 * width), int(512 * width)
    return replace(networks.RECIPES['default'], G=partial(networks.default_G, widths=(a, b)),
                   D=partial(networks.default_D, widths=(b, a)))


class Point:
    """One game; about: its number of parameters."""

    def __init__(self, m, width, N):
        use(True)
        images, chosen = np.random.default_rng(0).integers(0, 256, (N, PIXELS), np.uint8), recipe(width)
        dataset = Dataset('noise', (28, 28), images, images[:0], images[:0])
        self.game = build_game(Config(batch=m).resolve(chosen, dataset), chosen, dataset)
        self.about, self.t = self.game.G.theta.size + self.game.D.theta.size, 0

    def run(self, steps):
        for _ in range(steps):
            self.game.step(self.t)
            self.t += 1

    def peak(self):
        """The peak memory of this process, in MB."""
        return peak_memory()


def measure(m, width, N):
    """Measure one point: milliseconds a step, and peak memory in MB."""
    worker = Worker('bench_scaling:Point', m, width, N)
    if not worker.wait_until_ready():
        raise SystemExit(worker.missing)
    entrant = Entrant('', worker)
    race([entrant], rounds=5, seconds=0.3)
    point = {'m': m, 'width': width, 'N': N, 'P': worker.about, 'ms': 1e3 * float(np.median(entrant.seconds)),
             'MB': worker.call('peak')[0]}
    worker.close()
    return point


def expect(points):
    """Add to each point what the equations say, fitted to the points of the base width and number of images."""
    fitted = [p for p in points if (p['width'], p['N']) == (BASE['width'], BASE['N'])]
    m, P = (np.array([p[name] for p in fitted], float) for name in ('m', 'P'))
    ms, MB = (np.array([p[name] for p in fitted]) for name in ('ms', 'MB'))
    a, b = np.linalg.lstsq(np.stack([m * P, P], 1) / ms[:, None], np.ones(len(ms)), rcond=None)[0]  # relative errors
    d, c = np.polyfit(m, MB - (16 * P + PIXELS * BASE['N']) / 1e6, 1)
    return [{**p, 'expected ms': a * p['m'] * p['P'] + b * p['P'],
             'expected MB': c + d * p['m'] + (16 * p['P'] + PIXELS * p['N']) / 1e6} for p in points]


def table(content):
    """The table of bench/README.md."""
    rows = [(p['m'], f"{p['width']:g}", f"{p['N']:,}", f"{p['P'] / 1e6:.2f} M", f"{p['ms']:.1f}",
             f"{p['expected ms']:.1f}", f"{p['MB']:.0f}", f"{p['expected MB']:.0f}") for p in content['points']]
    head = ('batch', 'width', 'images', 'parameters', 'ms a step', 'expected', 'peak MB', 'expected')
    return markdown(head, rows) + f"\n\n*{describe(content['machine'])}.*"


def chart(content, path):
    """Time and memory, measured and expected, against batch, width and number of images."""
    figure = Figure(figsize=(11, 5.5), layout='constrained')
    panels = figure.subplots(2, 3, sharey='row')
    for column, (name, label) in enumerate((('m', 'batch m'), ('width', 'hidden widths, times'), ('N', 'images N'))):
        others = [other for other in BASE if other != name]
        points = sorted((p for p in content['points'] if all(p[other] == BASE[other] for other in others)),
                        key=lambda p: p[name])
        for row, (quantity, unit, law) in enumerate((('ms', 'ms a step', 'a m P + b P'),
                                                     ('MB', 'peak MB', 'c + d m + 16 P + 784 N'))):
            axes, x = panels[row][column], [p[name] for p in points]
            axes.set_xscale('log')
            axes.set_yscale('log')
            axes.set_xticks(x[::2] if len(x) > 5 else x, [f'{value:,g}' for value in (x[::2] if len(x) > 5 else x)])
            axes.minorticks_off()
            axes.plot(x, [p[quantity] for p in points], 'o', label='measured')
            axes.plot(x, [p[f'expected {quantity}'] for p in points], '-', color='grey', label=f'expected: {law}')
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter('{x:g}')
            axes.set_xlabel(label)
            axes.set_ylabel(unit if column == 0 else '')
            if column == 0:
                axes.legend(fontsize='small')
    figure.savefig(path, dpi=100)


def main():
    """Parse the arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a first look')
    parser.add_argument('--ranks', action='store_true', help='how one run scales over 2, 3 and 4 processes (MPI)')
    arguments = parser.parse_args()
    if arguments.ranks:
        return scaling_ranks.main(arguments.quick)
    quick = arguments.quick
    print(describe(machine()))
    configurations = [{**BASE, name: value} for name, values in RANGES.items()
                      for value in ((values[0], values[-1]) if quick else values) if value != BASE[name] or name == 'm']
    content = {'points': expect([measure(**configuration) for configuration in tqdm(configurations)])}
    if quick:
        return print(table({'machine': machine(), **content}))
    save('scaling', content)
    print(table(load('scaling')))
    chart(load('scaling'), RESULTS / 'scaling.png')
    update_table('bench_scaling', table(load('scaling')))


if __name__ == '__main__':
    main()
