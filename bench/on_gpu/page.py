"""The page and the charts of bench_gpu.py's results, and what stands at their head."""

import hashlib
from pathlib import Path

from harness import describe, machine
from matplotlib.figure import Figure
from on_gpu import convolutions, correct, kernels, products, step, train

import minigan
from minigan.gpu import twins
from minigan.storage.files import atomic_write

PARTS = {'selftest': correct.SELFTEST, 'tests': correct.TESTS, 'sanitizer': correct.SANITIZER,
         'kernels': kernels.PART, 'products': products.PART, 'convolutions': convolutions.PART, 'step': step.PART,
         'train': train.PART}
CHECKS = 'selftest', 'tests', 'sanitizer'  # the parts that say whether minigan is correct
FAULTS = 20  # lines of the verdict
JSON, PAGE = 'bench_gpu.json', 'bench_gpu.md'


def about(xp):
    """The GPU, its driver, the versions and the machine, for the results."""
    runtime = xp.cuda.runtime
    gpu = runtime.getDeviceProperties(xp.cuda.Device().id)
    return {'gpu': gpu['name'].decode(), 'compute capability': f'{gpu["major"]}.{gpu["minor"]}',
            'memory, GB': round(gpu['totalGlobalMem'] / 1e9, 1), 'multiprocessors': gpu['multiProcessorCount'],
            'L2 cache, MB': round(gpu.get('l2CacheSize', 0) / 1e6, 1),
            'driver, CUDA': version(runtime.driverGetVersion()),
            'runtime, CUDA': version(runtime.runtimeGetVersion()), 'CuPy': xp.__version__,
            'minigan': f'{minigan.__version__}, kernels {hashlib.sha256(twins.code().encode()).hexdigest()[:12]}',
            'machine': describe(machine())}


def version(number):
    """12080 as '12.8'."""
    return f'{number // 1000}.{number % 1000 // 10}'


def write(folder, content):
    """Write the page and draw the charts. content: {part: {'results', 'about', 'seconds', ...}}; see bench_gpu."""
    lines = ['# minigan on a GPU', *head(content), '## Verdict', *verdict(content)]
    for name, part in PARTS.items():
        if name in content:
            lines += [f'## {part.title}', *of_part(folder, name, part, content[name])]
    lines += ['## How to reproduce', 'In a copy of minigan with the kernels named above, run the command at the end of '
              f'each part, or `python bench/bench_gpu.py --out FOLDER` for all. `{JSON}`, next to this page, has all '
              'numbers.']
    with atomic_write(Path(folder) / PAGE, 'w') as file:
        file.write('\n\n'.join(lines) + '\n')


def places(content):
    """about() of each machine, or copy of minigan, as a tuple -> the parts that ran there; nearly always one."""
    where = {}
    for name, part in content.items():
        if part['about']:
            where.setdefault(tuple(part['about'].items()), []).append(name)
    return where


def head(content):
    """Where the parts ran: a list for each place."""
    where = places(content)
    for items, parts in where.items():
        if len(where) > 1:
            yield f'{", ".join(parts)}:'
        yield '\n'.join(f'- {key}: {value}' for key, value in items)


def verdict(content):
    """Correct or not, what nobody checked, and the figures that matter."""
    found, open_ = faults(content), {name: why for name in CHECKS if (why := unknown(content.get(name)))}
    holds = '; '.join(PARTS[name].verdict(content[name]['results']) for name in CHECKS
                      if name not in open_ and not PARTS[name].wrong(content[name]['results']))
    if found:
        yield f'**NOT CORRECT, or not measured: {len(found)}.**'
        yield '\n'.join(f'- {line}' for line in found[:FAULTS])
        if found[FAULTS:]:
            yield f'and {len(found) - FAULTS} more, below'
        if holds:
            yield f'What holds: {holds}.'
    elif 'selftest' in open_:
        yield '**Not known to be correct: the self-test has not run to its end.**'
    else:
        yield f'**Correct: {holds}.**'
    if open_:
        yield f'Not checked: {"; ".join(f"{PARTS[name].title} ({why})" for name, why in open_.items())}.'
    if len(places(content)) > 1:
        yield 'The parts ran on different machines, or with different versions.'
    sentences = [part.verdict(content[name]['results']) for name, part in PARTS.items()
                 if name not in CHECKS and name in content and content[name]['results']]
    if any(sentences):
        yield '\n'.join(f'- {sentence}' for sentence in sentences if sentence)


def unknown(one):
    """Why a part says nothing about correctness, or None. one: its content, or None."""
    if one is None:
        return 'not run'
    missing = [r['missing'] for r in one['results'] if 'missing' in r]
    return (*missing, unfinished(one) or ('no results' if not one['results'] else None))[0]


def unfinished(one):
    """Why results of a part may be missing, or None."""
    if one['error']:
        return 'ended with an error'
    if not one['done']:
        return 'stopped before its end'
    return f'time was up after {one["seconds"]:.0f} s' if one['cut'] else None


def faults(content):
    """A line for each result that is not correct, and for each part that ended with an error."""
    return [line for name, part in PARTS.items() if name in content
            for line in (*part.wrong(content[name]['results']),
                         *([f'{part.title}: {content[name]["error"]}'] if content[name]['error'] else []))]


def of_part(folder, name, part, one):
    """The paragraphs of a part, and its chart."""
    if one['error']:
        yield f'**This part ended with an error: {one["error"]}**'
    elif unfinished(one):
        yield f'**Results may be missing: {unfinished(one)}.**'
    if one['results']:
        yield from part.page(one['results'])
        figure = Figure(layout='constrained')
        if part.chart and part.chart(one['results'], figure):
            figure.savefig(Path(folder) / f'{name}.png', dpi=100)
            yield f'![{part.title}]({name}.png)'
    rounds = f', {one["rounds"]} rounds' if part.timed else ''
    yield f'*{one["seconds"]:.0f} s{rounds}:* `{one["command"]}`'
