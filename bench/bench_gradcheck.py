"""How often gradcheck is wrong: false alarms over random correct layers, and misses over random wrong ones.

    python bench/bench_gradcheck.py                                  1000 of each; about a minute, one thread
    python bench/bench_gradcheck.py --family batch_norm --draw 17    one correct layer and one wrong one, with reports

The layers are families.py's, proved correct by tests/test_families.py; the errors are those and planted.py's, each
planted only where it changes a derivative by more than 1e-4 of its norm, or breaks the contract of Layer. A correct
layer whose report is not ok, or that raises, is a false alarm; a wrong one whose report is ok is a miss. Each is shown
with its report. The exit code is 1 if there is any.
"""

import argparse
import sys
import warnings
from collections import Counter

import families  # noqa: F401: registers them
import numpy as np
from planted import FAMILIES, correct, wrong

from minigan import gradcheck


def judge(layer, x, seed):
    """(ok, the report or the ValueError) of gradcheck; an error of any other kind ends the run."""
    with warnings.catch_warnings(), np.errstate(all='ignore'):
        warnings.simplefilter('ignore', RuntimeWarning)
        try:
            report = gradcheck(layer, x, seed=seed)
        except ValueError as error:
            return False, f'ValueError: {error}'
    return report.ok, report


def trial(name, draw, seed):
    """One correct and one wrong layer: [(kind, whether gradcheck is right, what is planted, the report)]."""
    layer, x = correct(name, draw, seed)
    ok, report = judge(layer, x, draw)
    bad, at, what = wrong(name, draw, seed)
    caught, finding = judge(bad, at, draw)
    return [('correct', ok, f'{layer} at {x.shape}', report), ('wrong', not caught, f'{what}, at {at.shape}', finding)]


def trials(names, draws, seed):
    """Yields (family, draw, kind, whether gradcheck is right, description, report)."""
    for draw in draws:
        for name in names:
            for found in trial(name, draw, seed):
                yield name, draw, *found


def table(counts):
    """A line for each family, and the total; counts: (family, kind, whether gradcheck is right) -> how often."""
    lines = [f'{"family":28} {"correct":>8} {"false alarms":>13} {"wrong":>7} {"misses":>7}']
    for name in [name for name in FAMILIES if counts[name, 'correct', True] + counts[name, 'correct', False]] + ['total']:
        of = {key[1:]: n for key, n in counts.items() if key[0] == name} if name != 'total' else Counter()
        if name == 'total':
            for (_, *key), n in counts.items():
                of[tuple(key)] += n
        row = [of.get((kind, True), 0) + of.get((kind, False), 0) for kind in ('correct', 'wrong')]
        lines.append(f'{name:28} {row[0]:8} {of.get(("correct", False), 0):13} {row[1]:7} {of.get(("wrong", False), 0):7}')
    return '\n'.join(lines)


def show(name, draw, kind, description, report, seed):
    """One outcome, and how to see it alone."""
    title = {'correct': 'false alarm', 'wrong': 'miss'}.get(kind, kind)
    print(f'{title}: {name}, draw {draw}: {description}    (--family {name} --draw {draw} --seed {seed})\n{report}\n')


def main():
    """Parse the arguments, judge, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--layers', type=int, default=1000, help='correct ones, and as many wrong ones')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--family', choices=FAMILIES, help='this one alone')
    parser.add_argument('--draw', type=int, help='this one alone, with its reports')
    options = parser.parse_args()

    names = [options.family] if options.family else list(FAMILIES)
    draws = range(-(-options.layers // len(names))) if options.draw is None else [options.draw]
    counts = Counter()
    for name, draw, kind, right, description, report in trials(names, draws, options.seed):
        counts[name, kind, right] += 1
        if options.draw is not None:
            show(name, draw, f'{kind}, judged {"rightly" if right else "wrongly"}', description, report, options.seed)
        elif not right:
            show(name, draw, kind, description, report, options.seed)
    print(table(counts))
    return int(any(not right for _, _, right in counts))


if __name__ == '__main__':
    sys.exit(main())
