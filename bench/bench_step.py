"""One alternating step on 784 pixels: minigan against PyTorch, Keras and JAX, and its own floor.

    python bench/bench_step.py                   the default networks, one thread and two: about 13 minutes
    python bench/bench_step.py --network dcgan   convolutions, batches 32 to 128
    python bench/bench_step.py --quick           batch 32, two threads, few rounds, no torch.compile: under a minute
    python bench/bench_step.py --batches 32 --threads 1 --only none --against ../another-minigan

A step is complete: noise, minibatch, both losses, both backward passes, both Adams, dropout, moving averages. Each
reference's gradients are first checked against minigan's; a reference that is not installed is reported as missing.
Then each runs in a process of its own, in turn with the others. The table has medians and quartiles of the paired
ratios to minigan (above 1: slower than minigan). minigan has native twins, as with --device cpu, except in the row
"NumPy alone", which is --device numpy. Where there are none, all rows are NumPy alone, and say why. floor: about the
least time that a step with NumPy's matrix products can take: the products, as minigan computes them, and in place of
Adam a copy that moves as many bytes, with as many threads. A full run with native twins also writes
bench/results/step.json, draws step.png and puts its table into bench/README.md; for dcgan, step_dcgan.
bench_native.py says what each native twin is worth; bench_gpu.py is for a GPU.
"""

import argparse

from candidates import NETWORKS, REFERENCES
from harness import (RESULTS, Entrant, Worker, describe, load, machine, markdown, other_minigan, positive, race, save,
                     spread, update_table)
from matplotlib.figure import Figure

NUMPY = 'minigan, NumPy alone'
PARTS = {'minigan': ('step', True), NUMPY: ('step', False), 'minigan, D step': ('update_D', True),
         'minigan, G step': ('update_G', True), 'minigan, simultaneous': ('simultaneous', True)}
BATCHES = {'default': (32, 64, 128, 256), 'dcgan': (32, 64, 128)}
THREADS, ROUNDS = (1, 2), 12


def measure(m, threads, *, network, rounds, seconds, only=None, against=None):
    """Time one configuration. Returns name -> its result, or why it is missing."""
    workers = {name: Worker('candidates:Minigan', m, *part, network, threads=threads) for name, part in PARTS.items()}
    workers['floor'] = Worker('candidates:Floor', m, network, threads=threads)
    workers |= {name: Worker('candidates:Reference', name, m, threads, 'cpu', network, threads=threads, ours=False)
                for name in REFERENCES if not only or name in only}
    if against:
        workers[f'minigan at {against}'] = Worker('candidates:Minigan', m, *PARTS['minigan'], network, threads=threads,
                                                  path=against)
    ready = {name: worker for name, worker in workers.items() if worker.wait_until_ready()}
    if 'minigan' not in ready:
        raise SystemExit(f'minigan: {workers["minigan"].missing}')
    entrants = [Entrant(name, worker) for name, worker in ready.items()]
    race(entrants, rounds=rounds, seconds=seconds)
    results = {name: {'missing': worker.missing} for name, worker in workers.items() if worker.missing}
    for entrant in entrants:
        results[entrant.name] = {**entrant.result(entrants[0]), **(entrant.worker.about or {})}
    for worker in workers.values():
        worker.close()
    return {name: results[name] for name in workers}


def report(m, threads, results):
    """One configuration's table, as text."""
    title = f'batch {m}, {threads} thread{"s" * (threads > 1)}'
    lines = [f'\n{title:26} {"ms a step":>9}   {"ratio to minigan":>22}{"gradients off by":>19}']
    for name, result in results.items():
        if 'missing' in result:
            lines.append(f'{name:26} missing: {result["missing"]}')
        else:
            ms, ratio = 1e3 * result['seconds'][0], spread(*result['ratio'], digits=3)
            error = f'{result["gradient_error"]:19.1e}' if 'gradient_error' in result else ''
            without = f'   NumPy alone: {result["without"]}' if 'without' in result else ''
            lines.append(f'{name:26} {ms:9.2f}   {ratio:>22}{error}{without}')
    return '\n'.join(lines)


def table(content):
    """The table of bench/README.md: ratios to minigan's step, and of minigan's step to its floor."""
    head, rows = ['threads, batch'], {}
    for run in content['runs']:
        head.append(f"{run['threads']}, {run['m']}")
        results = run['results']
        rows.setdefault('minigan, ms', []).append(f"{1e3 * results['minigan']['seconds'][0]:.1f}")
        for name in (NUMPY, *REFERENCES):
            result = results[name]
            rows.setdefault(name, []).append('missing' if 'missing' in result else f"{result['ratio'][0]:.2f}")
        rows.setdefault('minigan / floor', []).append(f"{1 / results['floor']['ratio'][0]:.2f}")
        rows.setdefault('best reference / floor', []).append(f"{best(results) / results['floor']['ratio'][0]:.2f}")
    return markdown(head, [[name, *cells] for name, cells in rows.items()]) + f"\n\n*{describe(content['machine'])}.*"


def best(results):
    """The fastest reference's ratio to minigan."""
    return min((results[name]['ratio'][0] for name in REFERENCES if 'ratio' in results[name]), default=float('nan'))


def chart(content, path):
    """Bars of the ratios to minigan, with a panel for each number of threads."""
    threads = sorted({run['threads'] for run in content['runs']})
    figure = Figure(figsize=(12, 4.4), layout='constrained')
    names = [name for name in (NUMPY, *REFERENCES, 'floor') if 'ratio' in content['runs'][0]['results'][name]]
    for axes, count in zip(figure.subplots(1, len(threads), sharey=True, squeeze=False)[0], threads):
        runs = [run for run in content['runs'] if run['threads'] == count]
        for i, name in enumerate(names):
            at = [j + (i - len(names) / 2 + 0.5) * 0.8 / len(names) for j in range(len(runs))]
            medians, lower, upper = zip(*(run['results'][name].get('ratio', [float('nan')] * 3) for run in runs))
            axes.bar(at, medians, 0.75 / len(names), label=name, color='lightgrey' if name == 'floor' else f'C{i}',
                     yerr=[[m - l for m, l in zip(medians, lower)], [u - m for m, u in zip(medians, upper)]],
                     error_kw={'linewidth': 1})
        axes.axhline(1, color='black', linewidth=1)
        axes.set_title(f'{count} thread{"s" * (count > 1)}', fontsize='medium')
        ours = [1e3 * run['results']['minigan']['seconds'][0] for run in runs]
        axes.set_xticks(range(len(runs)), [f"batch {run['m']}\n1 = {ms:.1f} ms" for run, ms in zip(runs, ours)])
    figure.axes[0].set_ylabel("time of a step / minigan's")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=len(names),
                  fontsize='small', columnspacing=1.2)
    figure.savefig(path, dpi=100)


def main():
    """Parse the arguments, measure, print, and after a full run write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--network', choices=NETWORKS, default='default', help='default: %(default)s')
    parser.add_argument('--quick', action='store_true', help='a first look: batch 32, few rounds')
    parser.add_argument('--batches', type=positive, metavar='M', nargs='+')
    parser.add_argument('--threads', type=positive, metavar='N', nargs='+')
    parser.add_argument('--rounds', type=positive, metavar='N', default=ROUNDS)
    parser.add_argument('--only', nargs='+', metavar='NAME', choices=[*REFERENCES, 'none'],
                        help=f'only these references: {", ".join(map(repr, REFERENCES))}, or none')
    parser.add_argument('--against', metavar='PATH', type=other_minigan,
                        help='the folder of another copy of minigan, to compare with')
    options = parser.parse_args()
    usual = BATCHES[options.network]
    options.batches = options.batches or usual
    if min(options.batches) < 2:
        parser.error('--batches: expected at least 2 images, since G has a batch norm')
    settings = {'network': options.network, 'rounds': options.rounds, 'seconds': 0.25, 'only': options.only,
                'against': options.against}
    if options.quick:
        options.batches, options.threads = [32], options.threads or [2]
        settings |= {'rounds': 4, 'seconds': 0.1, 'only': options.only or [*REFERENCES.keys() - {'PyTorch compile'}]}
    options.threads = options.threads or THREADS
    print(f'{describe(machine())}\nblocks of {settings["seconds"]} s, {settings["rounds"]} rounds after 3 of warm-up; '
          f'median (quartiles)')
    runs = []
    for threads in options.threads:
        for m in options.batches:
            runs.append({'threads': threads, 'm': m, 'results': measure(m, threads, **settings)})
            print(report(m, threads, runs[-1]['results']), flush=True)
    full = tuple(options.batches) == usual and tuple(options.threads) == THREADS and options.rounds == ROUNDS
    native = not any('without' in run['results']['minigan'] for run in runs)
    if full and native and not (options.only or options.against):
        name = 'step' if options.network == 'default' else f'step_{options.network}'
        save(name, {'runs': runs, 'rounds': settings['rounds'], 'seconds': settings['seconds']})
        chart(load(name), RESULTS / f'{name}.png')
        update_table(f'bench_{name}', table(load(name)))


if __name__ == '__main__':
    main()
