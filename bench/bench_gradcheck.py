"""How often gradcheck is wrong: false alarms over random correct layers, and misses over random wrong ones.

    python bench/bench_gradcheck.py                                  1000 of each; about 20 seconds
    python bench/bench_gradcheck.py --family batch_norm --draw 17    one correct layer and one wrong one, with reports

The layers come from families.py; tests/bench/test_families.py checks each of them by complex steps. The errors come
from there and from planted.py. An error is planted only where it visibly changes a derivative, by more than 1e-4 of its
norm, or breaks the contract of Layer. A false alarm is a correct layer whose report is not ok, or for which gradcheck
raises. A miss is a wrong layer whose report is ok; a ValueError counts as caught. False alarms and misses are shown
with their reports, and the exit code is 1 if there are any.
"""

import argparse
import sys
import warnings
from collections import Counter

import families  # noqa: F401: registers its layers
import numpy as np
from planted import FAMILIES, correct, wrong

from minigan import gradcheck


def judge(layer, x, seed):
    """(verdict, report) of gradcheck. The verdict is report.ok, False for a ValueError, None for any other error."""
    with warnings.catch_warnings(), np.errstate(all='ignore'):
        warnings.simplefilter('ignore', RuntimeWarning)
        try:
            report = gradcheck(layer, x, seed=seed)
        except ValueError as error:
            return False, f'ValueError: {error}'
        except Exception as error:  # gradcheck itself has failed
            return None, f'{type(error).__name__}: {error}'
    return bool(report.ok), report


def trial(name, draw, seed):
    """Judge one correct and one wrong layer. Returns [(kind, whether gradcheck is right, what it judged, report)]."""
    layer, x = correct(name, draw, seed)
    verdict, report = judge(layer, x, draw)
    bad, at, what = wrong(name, draw, seed)
    finding, evidence = judge(bad, at, draw)
    return [('correct', verdict is True, f'x of shape {x.shape}', report),
            ('wrong', finding is False, f'{what}, x of shape {at.shape}', evidence)]


def trials(names, draws, seed):
    """Yields (family, draw, kind, whether gradcheck is right, what it judged, report)."""
    for draw in draws:
        for name in names:
            for found in trial(name, draw, seed):
                yield name, draw, *found


def table(names, counts):
    """A line for each family, and the total. counts: (family, kind, whether gradcheck is right) -> number."""
    columns = [('correct', True), ('correct', False), ('wrong', True), ('wrong', False)]
    rows = [[name, *(counts[(name, *column)] for column in columns)] for name in names]
    rows.append(['total', *(sum(row[i] for row in rows) for i in range(1, 5))])
    head = f'{"family":28} {"correct":>8} {"false alarms":>13} {"wrong":>7} {"misses":>7}'
    return '\n'.join([head, *(f'{name:28} {passed + alarms:8} {alarms:13} {caught + misses:7} {misses:7}'
                              for name, passed, alarms, caught, misses in rows)])


def show(name, draw, kind, description, report, seed):
    """Print one outcome, and the flags that repeat it alone."""
    title = {'correct': 'false alarm', 'wrong': 'miss'}.get(kind, kind)
    print(f'{title}: {name}, draw {draw}: {description}    (--family {name} --draw {draw} --seed {seed})\n{report}\n')


def main():
    """Parse the arguments, judge, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--layers', type=int, default=1000, help='how many correct layers, and how many wrong ones')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random numbers')
    parser.add_argument('--family', choices=FAMILIES, help='only this family')
    parser.add_argument('--draw', type=int, help='only this draw, with its reports')
    options = parser.parse_args()

    names = [options.family] if options.family else list(FAMILIES)
    draws = range(-(-options.layers // len(names))) if options.draw is None else [options.draw]
    counts = Counter()
    for name, draw, kind, right, description, report in trials(names, draws, options.seed):
        counts[name, kind, right] += 1
        if options.draw is not None:
            show(name, draw, f'{kind}, judged {"correctly" if right else "wrongly"}', description, report, options.seed)
        elif not right:
            show(name, draw, kind, description, report, options.seed)
    print(table(names, counts))
    return int(any(not right for _, _, right in counts))


if __name__ == '__main__':
    sys.exit(main())
