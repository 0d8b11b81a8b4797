"""The commands: one function each, which calls the package that does the work and prints the result.

Imports are late, so that --help does not wait for them.
"""

import shlex
from itertools import chain
from json import dumps
from pathlib import Path

import minigan
from minigan.cli import printable

HEAD = f'{"":54} {"got":>9} {"allowed":>9}'


def train(resume=None, **options):
    """Train a new run, or continue one; under mpiexec, on all of its processes."""
    from minigan.parallel.world import together
    from minigan.training.signals import signals_raised
    with together() as ranks, signals_raised():
        _cycle(options, new=resume is None)
        if resume is None:
            folder = minigan.train(**options, ranks=ranks)
        else:
            folder = minigan.resume(resume, **options, ranks=ranks)
    name = shlex.quote(str(folder))
    more = f'translate {name} FILE translates images' if 'cycle' in options else f'sample {name} draws more'
    print(f'Done. Look at {folder}/samples, {folder}/losses.png and {folder}/log.csv; minigan {more}.')
    return 0


def _cycle(options, *, new):
    """Turn --cycle A B into the choices cycle and data, and the network of a new run."""
    if 'cycle' in options:
        if 'data' in options:
            raise ValueError('data: expected none with --cycle A B, which names both data sets')
        options['cycle'], options['data'] = options['cycle']
        if new:
            options.setdefault('network', 'cycle')


def search(**options):
    """Search for settings, or go on with a search."""
    from minigan.search import report, search
    _cycle(options, new=True)
    found = search(**options)
    print(f"{printable(report.table(found))}\n\n{found['folder']} has the runs, {report.RESULTS} and Optuna's plots.")
    return 0


def sample(run, n, label, seed, out, training):
    """Draw images into a .png or .npy file."""
    kind = Path(out).suffix.lower()
    if kind not in ('.png', '.npy'):
        raise ValueError(f'out: expected a name that ends in .png or .npy, got {out}')
    from minigan.pictures import grids
    from minigan.storage import files
    generator = minigan.load(run)
    if kind == '.png':
        grids.layout(n, generator.shape)  # refuses too large a picture before its images are drawn
    images = generator.sample(n, label=label, seed=seed, training=training)
    if kind == '.npy':
        files.save_array(out, images)
    else:
        grids.save(out, grids.grid(images))
    print(f'{out}: {n} images')
    return 0


def interpolate(run, points, steps, label, seed, out):
    """Draw a walk through z, as a strip and as an animation."""
    from minigan.pictures import grids
    generator = minigan.load(run)
    if min(points, steps) > 0:  # otherwise generator.path says what is wrong
        grids.layout(points * steps, generator.shape, columns=steps, size=900)  # refuses what is too large
        grids.frame_zoom(points * steps, generator.shape)                       # before the images are drawn
    images = generator.path(points, steps, label=label, seed=seed).reshape(-1, *generator.shape)
    grids.save(f'{out}.png', grids.grid(images, columns=steps, size=900))
    grids.save_animation(f'{out}.gif', images)
    print(f'{out}.png: each row goes from one random z to the next; {out}.gif: all rows in turn')
    return 0


def translate(run, file, back, out):
    """Translate the images of a file there and back, into an array for each and a picture of the first ones."""
    from minigan.data.arrays import read_images
    from minigan.pictures import grids
    from minigan.storage import files, translator
    from minigan.variants.cycle import distance
    found = translator.load(run)(read_images(file), back=back)
    images = dict(zip(('images', 'translated', 'and_back'), found))
    grids.save(f'{out}.png', grids.rows(found))
    files.save_arrays(f'{out}.npz', images)
    print(f'{out}.npz: {len(found[0])} {", ".join(images)}; {out}.png: the first of them, in three rows. There and '
          f'back, pixels in [0, 1] differ by {distance(found[2], found[0]):.3f} on average')
    return 0


def inspect(run):
    """Print what a checkpoint holds."""
    from minigan.training import inspection
    print(printable(inspection.describe(run)))
    return 0


def evaluate(run, n, seed, data, json):
    """Print the measures of a run's samples."""
    from minigan.evaluation import judge, report
    result = judge.evaluate(run, n=n, seed=seed, source=data)
    print(dumps(result, indent=2) if json else printable(report.table(result)))
    return 0


def gradcheck(seed):
    """Print a comparison of each derivative with differences."""
    from minigan.checks.cases import cases
    from minigan.gpu.kernelset import fused_cases
    print('expected: central differences along a random direction; got: the hand-written derivative (float64)\n')
    wrong, count = [], 0
    for name, case in (*cases(), *fused_cases()):
        report = case(seed)
        print(f'{name}\n{report}\n')
        count += len(report)
        if not report.ok:
            wrong.append(name)
    return _verdict(wrong, f'All {count} derivatives are correct.')


def selftest(device):
    """Print a comparison of each kernel with its specification, on this GPU or CPU."""
    return _selftest_of_cpu() if device == 'cpu' else _selftest_of_gpu()


def _selftest_of_cpu():
    from minigan.native import check, twins
    from minigan.training import on_cpu
    if reason := twins.use(True):
        raise ValueError(f"device 'cpu': there are no compiled kernels: {reason}")
    print(f'Kernels compiled for this CPU, with {twins.threads()} threads at most. got: how many numbers differ from '
          'those of NumPy, in any bit\n')
    print(HEAD)
    wrong, count = _print_rows(chain(check.rows(twins.native()), on_cpu.rows()))
    print()
    return _verdict(wrong, f'All {count} are the same.')


def _selftest_of_gpu():
    from minigan.gpu import compare
    from minigan.gpu.device import select_device, tf32
    from minigan.gpu.twins import compiled
    from minigan.training import on_gpu
    try:
        xp, device = select_device('cuda')
    except ValueError as error:
        raise ValueError(f'{error}; minigan kernelcheck checks the kernels without a GPU') from error
    print(f'{device}. Compares each kernel with its specification in NumPy, then whole steps with the CPU.\n'
          f'got: the largest difference, relative to the largest number of its array\n')
    switches = ' and '.join(tf32())
    if switches:
        print(f'{switches}: cuBLAS may round what it multiplies to TF32, which has 10 bits; the kernels do not\n')
    print(HEAD)
    wrong, count = _print_rows(chain(compare.rows(xp), on_gpu.rows(xp)))
    hint = f'\n{switches} may be why: cuBLAS computes the products here. Unset it and repeat the test'
    print(hint if wrong and switches and compiled(xp).products == 'cublas' else '')
    return _verdict(wrong, f'All {count} are correct.')


def kernelcheck(file, kernel, gpu):
    """Print what is wrong with kernels, without a GPU."""
    from minigan.gpu import kernelcheck, kernelset
    kernels = kernelset.of_module(file) if file else kernelset.own()
    return 1 if kernelcheck.check(kernels, only=kernel, gpu=gpu) else 0


def trace(run, step, json, **choices):
    """Print one iteration of a run, line by line."""
    from minigan.study import told
    from minigan.study.played import one_thread, played
    from minigan.study.trace import trace
    _cycle(choices, new=run is None)
    with one_thread():  # as for the page of minigan study, so that both show the same numbers
        shown = played(run, step, quiet=json, **choices)
        record = trace(shown.game, shown.t)
    if json:
        print(dumps(told.as_dict(record), allow_nan=False))
    else:
        print(f'{_where(shown)}\n\n{told.LEGEND}\n\n{record}')
    return 0


def _where(run):
    """Which step of which run is shown."""
    config = run.config
    lines = [f'{run.dataset.name}, network {config.network}, step {run.t} of 0 to {run.last - 1}',
             f'm = {config.batch}, n_z = {config.n_z}, k = {config.k}, objective {config.objective}']
    if config.schedule == 'linear':
        lines.append('The learning rates rise at the beginning of the run, and fall to 0 at its end.')
    if run.t >= run.last:
        lines.append('This run has ended, so its next step is shown. --step shows an earlier one.')
    return '\n'.join(lines)


def theory(out, seed):
    """Print the paper's claims in numbers, and draw them."""
    from minigan.study import claims
    print(HEAD)
    wrong, count = _print_rows(claims.check(out, seed=seed))
    print(f'\n{out}/theory.png, {out}/critics.png, {out}/ring.png and {out}/figure1.gif show the results.')
    return _verdict(wrong, f'All {count} checks hold.')


def study(out, seed):
    """Record small runs, and write a page that shows them next to the code."""
    from minigan.study.page.make import make
    size = make(out, seed=seed)
    print(f'{out}: a page of {size / 1e6:.1f} MB that needs no network; open it in a browser')
    return 0


def exercise_list():
    """Print the exercises, and which of them have a file here."""
    from minigan.study.exercises import catalogue, student
    for exercise in catalogue.EXERCISES.values():
        begun = '*' if student.default(exercise).exists() else ' '
        print(f'{exercise.difficulty} {begun} {exercise.name:28} {exercise.about}')
    print('\nThe number is the difficulty, and * marks a file in exercises/. `minigan exercise start NAME` begins one.')
    return 0


def exercise_start(name, out):
    """Write what a student completes into a new file."""
    from minigan.study.exercises import catalogue, student
    exercise = catalogue.find(name)
    path = student.default(exercise) if out is None else Path(out)
    if path.parent == student.FOLDER and not student.FOLDER.exists():
        student.FOLDER.mkdir()
    student.require_folder(path.parent)
    try:
        with open(path, 'x', encoding='utf-8') as file:
            file.write(exercise.template(path))
    except FileExistsError:
        raise ValueError(f'{path}: is there already, and may hold your work; name a different file with -o') from None
    print(f'{path}: write the body. Then run: {student.command(exercise, path)}')
    return 0


def exercise_solution(name):
    """Print the package's own source."""
    from minigan.study.exercises import catalogue
    print(catalogue.find(name).solution())
    return 0


def exercise_check(name, file, hint, folder, json):
    """Check one file, or all those of a folder."""
    from minigan.study.exercises import catalogue, check, student
    if (name is None) == (folder is None) or folder is not None and (file or hint) or json and folder is None:
        raise ValueError('exercise check: expected NAME [FILE] [--hint], or --all [FOLDER] [--json]')
    if folder is not None:
        return _check_all(check.check_all(Path(folder), catalogue.EXERCISES.values()), json)
    if file is None and Path(name).suffix in ('.py', '.cu'):
        name, file = Path(name).stem, name
    exercise = catalogue.find(name)
    path = student.default(exercise) if file is None else Path(file)
    outcome = check.check(exercise, path)
    words = [*outcome.words, ''] if outcome.words else []
    print(printable('\n'.join([f'{exercise.name}: {path}', '', *words, *map(str, outcome.lines)])))
    if outcome.passed:
        verdict = f'Correct, but {" ".join(outcome.remarks)}' if outcome.remarks else 'Correct.'
        print(f'\n{verdict} `minigan exercise solution {exercise.name}` shows how the package does it.')
    else:
        _hints(exercise.hints, hint or 0)
    return 0 if outcome.passed else 1


def _hints(hints, count):
    """Print some hints, and how to get the next."""
    for hint in hints[:count]:
        print(f'\nHint: {hint}')
    if count < len(hints):
        print(f'\nFor {"the next" if count else "a"} hint, add{" --hint" * (count + 1)}.')


def _check_all(entries, json):
    """Print the entries of exercises. Returns the exit code."""
    if json:
        print(dumps(entries, indent=2))
    for entry in [] if json else entries:
        verdict = 'missing' if entry['missing'] else 'ok' if entry['passed'] else 'wrong'
        print(printable(f'{verdict:8}{entry["name"]:28} {" ".join(entry["words"][:1])}'.rstrip()))
    if not json:
        passed, missing = (sum(entry[kind] for entry in entries) for kind in ('passed', 'missing'))
        print(f'\n{passed} of {len(entries)} {_are(passed)} correct, {missing} {_are(missing)} missing.')
    return 0 if all(entry['passed'] for entry in entries) else 1


def _are(count):
    return 'is' if count == 1 else 'are'


def _print_rows(rows):
    """Print each row of a check. Returns the names of those that are wrong, and how many there are."""
    wrong, count = [], 0
    for row in rows:
        print(row, flush=True)
        count += 1
        if not row.ok:
            wrong.append(row.name.strip())
            if row.why:
                print(f'    {row.why}', flush=True)
    return wrong, count


def _verdict(wrong, all_right):
    """Print the last line of a check. Returns the exit code."""
    print(f'WRONG: {"; ".join(wrong)}' if wrong else all_right)
    return 1 if wrong else 0
