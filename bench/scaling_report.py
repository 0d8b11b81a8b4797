"""What scaling_ranks.py has measured, as tables and a chart, next to what scaling_model.py expects."""

import numpy as np
import scaling_model as model
from harness import describe, markdown, quartiles, spread
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

ALONE, THREADS, UNFUSED = '1 thread', '2 threads', 'unfused'
RANKS = {R: f'{R} ranks' for R in (2, 3, 4)}
FITTED = 12, 48, 192  # the batches to which the laws of a process are fitted
PAPER = 2, 4, 8, 16, 64, 256, 1024  # ranks
MNIST = 60_000  # images


def seconds(result, who, m):
    """Seconds of a step, one entry a round; None if it was not measured."""
    return next((p['seconds'] for p in result['points'] if (p['who'], p['m']) == (who, m)), None)


def fastest(result, who, m):
    """Seconds of the fastest single step."""
    return next(p['fastest'] for p in result['points'] if (p['who'], p['m']) == (who, m))


def ratio(result, who, m, other, n):
    """Quartiles, over the rounds, of a step's time divided by that of `other` with minibatches of n; None without."""
    one, two = seconds(result, who, m), seconds(result, other, n)
    return one and two and quartiles(np.divide(one, two))


def batches(result, who):
    """The batches measured, in order."""
    return sorted(p['m'] for p in result['points'] if p['who'] == who)


def laws(result):
    """The Laws of an ordinary process and of one that computes as a rank does."""
    return [model.fit_law([(m, fastest(result, who, m)) for m in batches(result, who) if m in FITTED])
            for who in (ALONE, UNFUSED)]


def here(content):
    """The Link between two ranks of this machine."""
    return model.fit_link([point for result in content['networks'].values() for point in result['allreduce']])


def worst_factor(content):
    """How far the Link is from a single Allreduce, at the most: 2 means half the time, or twice."""
    link, points = here(content), [point for one in content['networks'].values() for point in one['allreduce']]
    return max(np.exp(abs(np.log(model.cost('Allreduce', size, link, 2) / took))) for size, took in points)


def errors(result, link, who):
    """{m: expected / measured - 1}, of points to which nothing was fitted."""
    law, R = laws(result)[1], 1 if who == UNFUSED else 2
    return {m: model.step(law, m, R, result['calls'], link) / fastest(result, who, m) - 1
            for m in batches(result, who) if R == 2 or m not in FITTED}


def paper(content, R):
    """(link's name, network) -> the least batch with which R ranks have an efficiency of 50 %."""
    found = {}
    for network, result in content['networks'].items():
        for name, link in model.LINKS.items():
            if name != model.ON_GPUS:
                found[name, network] = model.least_batch(R, *laws(result), result['calls'], link)
    law, calls = model.gpu(), content['networks']['default']['calls']
    return {**found, (model.ON_GPUS, 'default'): model.least_batch(R, law, law, calls, model.LINKS[model.ON_GPUS])}


def marked(R, content):
    """'3 ranks *' for more ranks than cores."""
    return RANKS[R] + ' *' * (R > content['machine']['cores'])


def strong(content):
    """The table of a minibatch that is divided."""
    others = [THREADS, UNFUSED, *RANKS.values()]
    rows = []
    for network, result in content['networks'].items():
        for m in batches(result, ALONE):
            ratios = [ratio(result, who, m, ALONE, m) for who in others]
            spent = next(p['fractions'] for p in result['points'] if (p['who'], p['m']) == (RANKS[2], m))
            rows.append([f'{network}, {m}', f'{1e3 * np.median(seconds(result, ALONE, m)):.1f}',
                         *(spread(*found) if found else '' for found in ratios), f'{50 / ratios[2][0]:.0f} %',
                         *(f'{100 * fraction:.0f} %' for fraction in spent.values())])
    head = ('batch', '1 thread, ms', THREADS, UNFUSED, *(marked(R, content) for R in RANKS), '2 ranks: efficiency',
            *(f'2 ranks: {purpose}' for purpose in next(iter(content['networks'].values()))['points'][0]['fractions']))
    return markdown(head, rows)


def weak(content):
    """The table of ranks that have as many rows each: a step of all of them, divided by one of a single process."""
    rows = []
    for network, result in content['networks'].items():
        for n in batches(result, ALONE):
            found = [ratio(result, who, R * n, ALONE, n) for R, who in RANKS.items()]
            if all(one or not batches(result, who) for one, who in zip(found, RANKS.values())):
                rows.append([f'{network}, {n}', f'{1e3 * np.median(seconds(result, ALONE, n)):.1f}',
                             *(spread(*one) if one else '' for one in found)])
    return markdown(('rows of a rank', '1 thread, ms', *(marked(R, content) for R in RANKS)), rows)


def constants(content):
    """The table of what was fitted, and how far off it is elsewhere."""
    link, rows = here(content), []
    for network, result in content['networks'].items():
        P, (alone, law) = sum(result['bytes']) / 4, laws(result)
        wrong = [' to '.join(f'{100 * end:+.0f} %' for end in (min(found), max(found)))
                 for found in (errors(result, link, who).values() for who in (UNFUSED, RANKS[2]))]
        rows.append([network, f'{P / 1e6:.2f} M', *(f'{1e6 * one.A:.1f}' for one in (alone, law)),
                     f'{1e12 * law.A / P:.0f}', *(f'{1e3 * one.B:.2f}' for one in (alone, law)),
                     f'{1e9 * law.B / P:.2f}', f'{1e3 * model.exchange(result["calls"], link, 2):.2f}', *wrong])
    head = ('', 'parameters', 'A, us', 'A, unfused', 'a, ps', 'B, ms', 'B, unfused', 'b, ns', 'c(2), ms',
            'error, 1 process', 'error, 2 ranks')
    return markdown(head, rows)


def on_paper(content):
    """The table of the batches from which R ranks pay."""
    columns = list(paper(content, 2))
    rows = [[R, *(f'{m:,}{" †" * (m > MNIST)}' if m else 'never' for m in paper(content, R).values())] for R in PAPER]
    return markdown(('ranks', *(f'{network}: {link}' for link, network in columns)), rows)


def verdict(content):
    """One sentence about the default networks."""
    result = content['networks']['default']
    small, large = 48, max(batches(result, THREADS))  # the default is 50, which 4 ranks could not divide
    times = [spread(*ratio(result, RANKS[2], m, THREADS, m)) for m in (small, large)]
    return (f'A step of the default networks with {small} images takes '
            f'{1e3 * np.median(seconds(result, ALONE, small)):.1f} ms in one process with one thread, and has '
            f'{sum(result["bytes"]) / 1e6:.1f} MB of derivatives to average. Two ranks take {times[0]} times as long '
            f'as one process with two threads; with {large} images, {times[1]} times.')


def table(content):
    """The tables of bench/README.md."""
    link, result = here(content), next(iter(content['networks'].values()))
    return '\n\n'.join([
        verdict(content), strong(content), weak(content), constants(content),
        f'An Allreduce between two ranks of this machine takes {1e6 * link.latency:.1f} us + bytes / '
        f'({link.bandwidth / 1e9:.2f} GB/s), within a factor of {worst_factor(content):.1f}.', on_paper(content),
        f"*{describe(content['machine'])}; {result['mpi']}; load before the run: {content['load']}.*"])


def chart(content, path):
    """Steps and Allreduces, measured and expected, and the batches from which ranks pay on paper."""
    figure = Figure(figsize=(11, 8), layout='constrained')
    panels, link = figure.subplots(2, 2), here(content)
    for axes, (network, result) in zip(panels[0], content['networks'].items()):
        draw_steps(axes, network, result, link)
    sizes = np.array(sorted({size for result in content['networks'].values() for size, _ in result['allreduce']}))
    for network, result in content['networks'].items():
        panels[1][0].plot(*np.array(result['allreduce']).T * [[1], [1e3]], 'o', label=f'measured, with {network}')
    panels[1][0].plot(sizes, 1e3 * (link.latency + sizes / link.bandwidth), color='grey', label='fitted')
    label(panels[1][0], 'bytes', 'ms', 'An Allreduce of two ranks')
    found = {R: paper(content, R) for R in PAPER}
    for i, name in enumerate(model.LINKS):
        for network, style in (('default', 'o-'), ('dcgan', 's--')):
            if found[2].get((name, network)):
                panels[1][1].plot(PAPER, [found[R][name, network] for R in PAPER], style, color=f'C{i}',
                                  label=f'{name}: {network}')
    label(panels[1][1], 'ranks', 'batch', 'On paper: the batch from which ranks pay')
    figure.savefig(path, dpi=100)


def draw_steps(axes, network, result, link):
    """A network's steps against the batch."""
    law = laws(result)[1]
    for i, who in enumerate((ALONE, UNFUSED, THREADS, *RANKS.values())):
        m = batches(result, who)
        axes.plot(m, [1e3 * fastest(result, who, one) for one in m], 'o' if i in (1, 3) else 'o-', color=f'C{i}',
                  label=who)
    for R, color in ((1, 'C1'), (2, 'C3')):
        m = np.array(batches(result, ALONE))
        axes.plot(m, [1e3 * model.step(law, one, R, result['calls'], link) for one in m], '--', color=color,
                  label=f'expected: {UNFUSED if R == 1 else RANKS[2]}')
    label(axes, 'batch m', 'ms, the fastest step', network)


def label(axes, x, y, title):
    """Logarithmic axes with plain numbers."""
    axes.set(xscale='log', yscale='log', xlabel=x, ylabel=y, title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if axis is axes.yaxis or x != 'bytes' else (1,)))
        axis.set_major_formatter('{x:,.10g}')
    axes.minorticks_off()
    axes.legend(fontsize='x-small')
