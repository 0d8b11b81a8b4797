"""The commands: arguments in, one call, one line of error."""

import argparse
import os
import sys
from contextlib import suppress
from dataclasses import fields
from itertools import chain
from json import dumps

import minigan
from minigan import losses
from minigan.gpu.roofline import GPUS
from minigan.networks import RECIPES
from minigan.training.config import SCHEDULES, Config
from minigan.training.diagnosis import NotFinite

SETTING = "default: the network's own"
RESUMABLE = ('epochs', 'device', 'data', 'save_every', 'tensorboard')  # what may change when a run goes on


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message):
        self.exit(2, f'minigan: error: {message} ({self.prog} --help lists what is possible)\n')


def main(arguments=None):
    """Run a command. Returns the exit code: 0, 1 after a failed check, 2 after bad input, 128 + n after signal n."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')  # a name that the terminal lacks is no reason to fail
    options = vars(_parser().parse_args(arguments))
    command, debug = options.pop('command'), options.pop('debug', False)
    try:
        return command(**options)
    except KeyboardInterrupt as stop:
        code, said = 128 + getattr(stop, 'signal', 2), 'interrupted'
        if hasattr(stop, 'folder'):
            said = f'{stop}; to go on: minigan train --resume {stop.folder}'
    except BrokenPipeError:  # nobody reads on: minigan inspect RUN | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 141
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        if debug:
            raise
        code, said = 1 if isinstance(error, NotFinite) else 2, f'error: {str(error) or "not enough memory"}'
    with suppress(OSError):  # nobody may be listening
        print(f'minigan: {_one_line(said)}', file=sys.stderr)
    return code


def _one_line(text):
    return _printable(' '.join(text.split()))[:2000]


def _printable(text):
    """Text from a stranger's file, without what could command a terminal."""
    return ''.join(letter if letter.isprintable() or letter == '\n' else '?' for letter in text)


def _train(resume=None, **options):
    from minigan import training  # imported late: --help should not wait for it
    if resume is None:
        folder = training.train(Config(**options))
    else:
        fixed = [name for name in options if name not in RESUMABLE]
        if fixed:
            raise ValueError(f'--resume: beside it expected only {", ".join(RESUMABLE)}, got {", ".join(fixed)}: '
                             'that is settled')
        folder = training.resume(resume, **options)
    print(f'Done. Look at {folder}/samples, {folder}/losses.png and {folder}/log.csv; '
          f'minigan sample {folder} draws more.')
    return 0


def _sample(run, n, seed, out, training):
    if not out.endswith(('.png', '.npy')):
        raise ValueError(f'out: expected a name that ends in .png or .npy, got {out}')
    images = minigan.load(run).sample(n, seed=seed, training=training)
    from minigan.pictures import plots
    from minigan.storage import files
    if out.endswith('.npy'):
        files.save_array(out, images)
    else:
        plots.save(out, plots.grid(images))
    print(f'{out}: {n} images')
    return 0


def _interpolate(run, points, steps, seed, out):
    images = minigan.load(run).path(points, steps, seed=seed)
    images = images.reshape(-1, *images.shape[2:])
    from minigan.pictures import plots
    plots.save(f'{out}.png', plots.grid(images, columns=steps, width=900))
    plots.save_animation(f'{out}.gif', images)
    print(f'{out}.png: each row goes from one random z towards the next; {out}.gif: the whole way round')
    return 0


def _inspect(run):
    from minigan.training import inspection
    print(_printable(inspection.describe(run)))
    return 0


def _evaluate(run, n, seed, data, json):
    from minigan.evaluation import judge
    result = judge.evaluate(run, n=n, seed=seed, source=data)
    print(dumps(result, indent=2) if json else _printable(judge.table(result)))
    return 0


def _gradcheck(seed):
    from minigan.checks.cases import cases
    from minigan.gpu.kernelset import fused_cases
    print('expected: central differences along a random direction; got: the hand-written derivative (float64)\n')
    wrong, count = [], 0
    for name, case in (*cases(), *fused_cases()):
        report = case(seed)
        print(f'{name}\n{report}\n')
        count += len(report)
        wrong += [name] * (not report.ok)
    print(f'WRONG: {"; ".join(wrong)}' if wrong else f'All {count} derivatives are right.')
    return 1 if wrong else 0


def _selftest():
    from minigan.gpu import compare
    from minigan.gpu.device import select_device
    from minigan.training import on_gpu
    xp, device = select_device('cuda')
    print(f'{device}: each kernel against its specification in NumPy, the largest difference relative to the largest\n'
          f'number of its array; then whole steps\n\n{"":54} {"got":>9} {"allowed":>9}')
    wrong, count = _count(chain(compare.rows(xp), on_gpu.rows(xp)))
    print(f'\nWRONG: {"; ".join(wrong)}' if wrong else f'\nAll {count} are right.')
    return 1 if wrong else 0


def _kernelcheck(file, kernel, gpu):
    from minigan.gpu import kernelcheck, kernelset
    kernels = kernelset.of_module(file) if file else kernelset.own()
    return 1 if kernelcheck.check(kernels, only=kernel, gpu=gpu) else 0


def _theory(out, seed):
    from minigan.study import theory
    print(f'{"":54} {"got":>9} {"allowed":>9}')
    wrong, count = _count(theory.check(out, seed=seed))
    print(f'\n{out}/theory.png, {out}/ring.png and {out}/figure1.gif show it.')
    print(f'WRONG: {"; ".join(wrong)}' if wrong else f'All {count} hold.')
    return 1 if wrong else 0


def _count(rows):
    """Print each row; the names of those that are wrong, and how many there are."""
    wrong, count = [], 0
    for row in rows:
        print(row, *[f'    {row.why}'] * (not row.ok and row.why != ''), sep='\n', flush=True)
        count += 1
        wrong += [row.name.strip()] * (not row.ok)
    return wrong, count


def _parser():
    parser = Parser(prog='minigan', description=minigan.__doc__)
    parser.add_argument('--version', action='version', version=f'minigan {minigan.__version__}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def command(name, function, description):
        one = commands.add_parser(name, help=description, description=description,
                                  formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        one.set_defaults(command=function)
        one.add_argument('--debug', action='store_true', default=argparse.SUPPRESS,
                         help='show where in the program an error came from')
        return one.add_argument

    _add_train_options(command('train', _train, 'train a GAN and leave a folder with pictures, log and checkpoints'))
    _add_generator_options(command)
    add = command('inspect', _inspect, "show a run's config, the end of its log, warnings, and its parameters")
    _add_run(add)
    add = command('evaluate', _evaluate, 'measure what a run has learned, beside the same measures of real images')
    _add_run(add)
    add('--n', type=int, default=10_000, help='how many samples; the published figures are for 10000')
    add('--seed', type=int, default=0, help='where the random numbers start')
    add('--data', metavar='DATA', help='where the images lie now that the run was trained with, if they have moved')
    add('--json', action='store_true', help='print JSON')
    add = command('gradcheck', _gradcheck, 'check the derivative of every layer, loss and network')
    add('--seed', type=int, default=0, help='where the random numbers start')
    add = command('theory', _theory, "check the paper's theorems and claims in numbers, and draw them")
    add('--seed', type=int, default=0, help='where the random numbers start')
    add('-o', '--out', default='theory', metavar='FOLDER', help='where to put theory.png, ring.png and figure1.gif')
    command('selftest', _selftest, 'check every CUDA kernel, and training, on this GPU')
    add = command('kernelcheck', _kernelcheck, 'check without a GPU that CUDA kernels are complete and correct')
    add('file', nargs='?', metavar='FILE.py', help="a module that describes kernels of your own (default: minigan's)")
    add('--kernel', metavar='NAME', help='only this one')
    add('--gpu', choices=list(GPUS), default='A100', help='whose bandwidth and peak the times are for')
    return parser


def _add_run(add):
    add('run', metavar='RUN', help="a run's folder, for its last checkpoint, or a checkpoint file such as RUN/best.npz")


def _add_generator_options(command):
    add = command('sample', _sample, 'draw images with a trained generator')
    _add_run(add)
    add('--n', type=int, default=64, help='how many')
    add('--seed', type=int, default=0, help='where the random numbers start; the same seed gives the same images')
    add('--training', action='store_true',
        help="batch norm with each minibatch's own mean and variance, as in training, where every image depends on "
             'the others; without it, with the averages that training left, where an image depends on its z alone')
    add('-o', '--out', default='samples.png', metavar='FILE',
        help='where to put them: a .png with all in a grid, or a .npy array (N, height, width) in [0, 1]; '
             'what is there is replaced')
    add = command('interpolate', _interpolate, 'walk through z: how one image turns into another')
    _add_run(add)
    add('--points', type=int, default=8, metavar='N', help='random z to pass on the way round')
    add('--steps', type=int, default=12, metavar='N', help='images from each to the next')
    add('--seed', type=int, default=0, help='where the random numbers start')
    add('-o', '--out', default='interpolation', metavar='NAME', help='NAME.png and NAME.gif are written')


def _add_train_options(add):
    own = {field.name: field.default for field in fields(Config)}

    def choice(*flags, **options):
        add(*flags, default=argparse.SUPPRESS, **options)  # so that --resume can tell what was given
    choice('--network', choices=list(RECIPES),
           help="which pair of networks: 'article' as the article has it, 'default' with its errors put right "
                f'(default: {own["network"]})')
    choice('--data', metavar='DATA',
           help="what to learn from: 'digits' (8x8, comes with scikit-learn), 'mnist' (28x28, downloaded once), "
                f'a folder of IDX files, or a .npz or .npy file with images (default: {own["data"]})')
    choice('--epochs', type=int, metavar='N',
           help='how often to read all training images (default: enough for about 3000 steps of D, at least 25)')
    choice('--batch', type=int, metavar='M', help=f'images per step, m in Algorithm 1 ({SETTING})')
    choice('--n-z', type=int, metavar='N', help=f'width of the noise z ({SETTING})')
    choice('-k', type=int, metavar='K', help=f'steps of D for each step of G, k in Algorithm 1 (default: {own["k"]})')
    choice('--learning-rate-G', type=float, metavar='X', help=f"step size of G's Adam ({SETTING})")
    choice('--learning-rate-D', type=float, metavar='X', help=f"step size of D's Adam ({SETTING})")
    choice('--beta1', type=float, metavar='X',
           help=f'how much both Adams remember of earlier gradients, from 0 to below 1 ({SETTING})')
    choice('--objective', choices=sorted(losses.OBJECTIVES),
           help=f'what G descends: log(1 - D(G(z))), as in Algorithm 1 (minimax), or -log D(G(z)) (nonsaturating) '
                f'({SETTING})')
    choice('--update', choices=['alternating', 'simultaneous'],
           help=f'D first and then G with new noise, as in Algorithm 1, or both at once, as in the article ({SETTING})')
    choice('--schedule', choices=SCHEDULES,
           help=f'both learning rates stay, or rise at first and then fall to 0 at the end of the run ({SETTING})')
    choice('--average', type=float, metavar='X',
           help='draw samples with an average of theta_G over about the last 1 / (1 + X) of the run so far; 0: with '
                f'theta_G itself ({SETTING})')
    choice('--label-smoothing', type=float, metavar='X',
           help=f"D's target for data is 1 - X, one-sided label smoothing ({SETTING})")
    choice('--input-noise', type=float, metavar='X',
           help='standard deviation of noise that is added to what D reads, pixels being in [-1, 1]; it falls to 0 at '
                f'the end of the run ({SETTING})')
    choice('--clip-norm', type=float, metavar='X',
           help=f'cut the gradient of all parameters of a net to this norm where it is longer; 0: not ({SETTING})')
    choice('--seed', type=int,
           help=f'where the random numbers start; the same seed gives the same result (default: {own["seed"]})')
    choice('--device', choices=['auto', 'cpu', 'cuda'],
           help=f'where to compute: NumPy on the CPU, CuPy on a GPU, or a GPU if it works (default: {own["device"]})')
    choice('--samples-every', type=int, metavar='N',
           help='epochs between two pictures of samples (default: a tenth of them)')
    choice('--save-every', type=float, metavar='SECONDS',
           help=f'time between two checkpoints; 0: after each step (default: {own["save_every"]:g})')
    choice('--tensorboard', action='store_true', help='log for TensorBoard too (default: no)')
    choice('-o', '--out', metavar='FOLDER', help='where to put the run (default: a new folder runs/DATA-NETWORK)')
    choice('--resume', metavar='RUN',
           help="go on with the run in this folder, from its last checkpoint, as if it had never stopped; with more "
                '--epochs, beyond its end (default: a new run)')
