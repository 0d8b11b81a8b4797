"""The parser: the commands and their flags. The flags of train are the fields of Config."""

import argparse
from dataclasses import fields
from typing import get_args

import minigan
from minigan.cli import commands
from minigan.gpu.roofline import GPUS
from minigan.training.config import Config, flag

OWN = "the network's own"  # default
NOT_TRACED = ('out', 'samples_every', 'save_every', 'tensorboard', 'device')  # a trace writes nothing and uses NumPy


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help of each option that has one."""

    def _get_help_string(self, action):
        has_default = action.default is not None and action.default is not False
        return super()._get_help_string(action) if has_default else action.help


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def parse_known_args(self, args=None, namespace=None):
        """Refuse unknown arguments here, where self.prog names the command that they were given to."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f'unrecognized arguments: {" ".join(unknown)}')
        return found, unknown

    def _print_message(self, message, file=None):
        """Not argparse's own, which says nothing when a long text cannot be written."""
        if message and file:
            file.write(message)

    def error(self, message):
        self.exit(2, f'minigan: error: {message} ({self.prog} --help shows the usage)\n')


def parser():
    """The parser of `minigan`. It sets `command` to a function, whose arguments are the other options."""
    whole = Parser(prog='minigan', description=minigan.__doc__)
    whole.add_argument('--version', action='version', version=f'minigan {minigan.__version__}')
    added = whole.add_subparsers(required=True, metavar='COMMAND')
    for add_options, function, description in (
            (_train, commands.train, 'train a GAN and leave a folder with pictures, log and checkpoints'),
            (_search, commands.search, 'search for better settings: Optuna chooses them, and minigan trains'),
            (_sample, commands.sample, 'draw images with a trained generator'),
            (_interpolate, commands.interpolate, 'walk through z: how one image turns into another'),
            (_translate, commands.translate, 'translate images with a run of minigan train --cycle'),
            (_inspect, commands.inspect, "show a run's config, the end of its log, warnings, and its parameters"),
            (_evaluate, commands.evaluate, 'measure what a run has learned, next to the same measures of real images'),
            (_gradcheck, commands.gradcheck, 'check the derivative of every layer, loss and network'),
            (_trace, commands.trace, 'run one step of Algorithm 1, and print each line with what it produced'),
            (_theory, commands.theory, "check the paper's theorems and claims in numbers, and draw them"),
            (_study, commands.study, 'write a page to learn from: Algorithm 1 with its code and numbers'),
            (_selftest, commands.selftest, 'check the kernels, and training, on this GPU or CPU'),
            (_kernelcheck, commands.kernelcheck, 'check without a GPU that CUDA kernels are complete and correct')):
        command = added.add_parser(function.__name__, help=description, description=description,
                                   formatter_class=Help)
        command.set_defaults(command=function)
        _debug(command.add_argument)
        add_options(command.add_argument)
    _exercise(added)
    return whole


def _debug(add):
    add('--debug', action='store_true', default=argparse.SUPPRESS, help='show where in the program an error came from')


def _exercise(added):
    about = 'write parts of the package yourself, and let the checks say what is wrong'
    whole = added.add_parser('exercise', help=about, description=about, formatter_class=Help)
    whole.set_defaults(command=commands.exercise_list)
    _debug(whole.add_argument)
    actions = whole.add_subparsers(metavar='ACTION')
    for name, function, description in (
            ('list', commands.exercise_list, 'show the exercises, ordered by difficulty'),
            ('start', commands.exercise_start, 'write a file with the signature and the docstring'),
            ('check', commands.exercise_check, 'check a file, and say in words what is wrong'),
            ('solution', commands.exercise_solution, "show the package's own source")):
        command = actions.add_parser(name, help=description, description=description, formatter_class=Help)
        command.set_defaults(command=function)
        _debug(command.add_argument)
        if name != 'list':
            command.add_argument('name', nargs='?' if name == 'check' else None, metavar='NAME',
                                 help='an exercise, as `minigan exercise list` shows it')
        if name == 'start':
            command.add_argument('-o', '--out', metavar='FILE', help='the new file (default: exercises/NAME.py)')
        if name == 'check':
            _exercise_check(command.add_argument)


def _exercise_check(add):
    add('file', nargs='?', metavar='FILE', help='your file (default: exercises/NAME.py)')
    add('--hint', action='count', help='add a hint; repeat for the next hint')
    add('--all', dest='folder', nargs='?', const='exercises', metavar='FOLDER',
        help='check every exercise, in the files NAME.py of this folder (default: exercises)')
    add('--json', action='store_true', help='with --all: print JSON instead of a table')


def _train(add):
    _choices(add, fields(Config))
    add('--resume', metavar='RUN', default=argparse.SUPPRESS,
        help='continue the run in this folder from its last checkpoint, as if it had never stopped; with more '
             '--epochs, continue beyond its end (default: start a new run)')


def _search(add):
    add('--over', nargs='+', metavar='NAME', default=argparse.SUPPRESS,
        help='what to search: names of choices of minigan train, such as learning_rate_G, each with a default range, '
             'or with one of yours: NAME=LOW..HIGH or NAME=A,B,C (default: learning_rate_G learning_rate_D batch)')
    add('--trials', type=int, default=30, metavar='N', help='how many settings to try, those of earlier calls included')
    add('--best', type=int, default=3, metavar='K', help='how many of the best settings to run again')
    add('--seeds', type=int, default=3, metavar='N', help='with how many fresh seeds')
    _seed(add, ' of all trials; those of the runs again are the next ones')
    add('-o', '--storage', metavar='FILE', default=argparse.SUPPRESS,
        help='where to keep the search: a .db file (SQLite), or a .log or .journal file; the runs are in the folder '
             'next to it with the same name. The same command goes on with it (default: runs/search-DATA-NETWORK.db)')
    add.__self__.usage = 'minigan search [--over NAME ...] [--trials N] [--storage FILE] [choices of minigan train]'
    group = add.__self__.add_argument_group('for all trials', 'The choices of minigan train:')
    _choices(group.add_argument, [option for option in fields(Config) if option.name not in ('seed', 'out')])


def _choices(add, options):
    """A flag for each of some fields of Config."""
    for option in options:
        metadata, names = option.metadata, [flag(option.name)]
        if 'short' in metadata:
            names.insert(0, metadata['short'])
        kind = (get_args(option.type) or (option.type,))[0]
        settings = {'action': 'store_true'} if kind is bool else {'type': kind, 'metavar': metadata.get('metavar')}
        if 'choices' in metadata:
            settings['choices'] = list(metadata['choices'])
        if 'nargs' in metadata:
            settings['nargs'] = metadata['nargs']
        add(*names, dest=option.name, default=argparse.SUPPRESS,  # so that --resume can tell what was given
            help=f'{metadata["help"]} (default: {_default(option)})', **settings)


def _default(option):
    """The default of a choice in words."""
    if option.default is None:
        return option.metadata.get('otherwise', OWN)
    if type(option.default) is bool:
        return 'on' if option.default else 'off'
    return f'{option.default:g}' if type(option.default) is float else option.default


def _sample(add):
    _run(add)
    add('--n', type=int, default=64, help='number of images')
    _label(add)
    _seed(add, '; the same seed gives the same images')
    add('--training', action='store_true',
        help="let batch norm use each minibatch's own mean and variance, as in training: every image then depends on "
             'the others; without this flag, it uses the averages from training, and an image depends on its z alone')
    add('-o', '--out', default='samples.png', metavar='FILE',
        help='the file to write, which is replaced if it exists: a .png with all images in a grid, or a .npy array '
             '(N, height, width) in [0, 1]')


def _interpolate(add):
    _run(add)
    add('--points', type=int, default=8, metavar='N', help='number of random z on the closed path')
    add('--steps', type=int, default=12, metavar='N', help='number of images from one z to the next')
    _label(add)
    _seed(add)
    add('-o', '--out', default='interpolation', metavar='NAME', help='write NAME.png and NAME.gif')


def _translate(add):
    _run(add)
    add('file', metavar='FILE', help='images: a .npy file, an .npz file with one array of them, or an IDX file')
    add('--back', action='store_true', help='from B to A: the data sets of the run are --cycle A B')
    add('-o', '--out', default='translated', metavar='NAME',
        help='write NAME.npz, with the arrays images, translated and and_back, and NAME.png with the first of them')


def _inspect(add):
    _run(add)


def _evaluate(add):
    _run(add)
    add('--n', type=int, help='number of samples (default: that of the published figures, 10000, or 26000 for '
        'stacked-mnist)')
    _seed(add)
    add('--data', metavar='DATA', help='where the images that the run was trained on are now, if they have moved')
    add('--json', action='store_true', help='print JSON instead of a table')


def _gradcheck(add):
    _seed(add)


def _trace(add):
    add('run', nargs='?', metavar='RUN', help="a run's folder, or a checkpoint (default: a new run, with the choices "
        'below, which are those of minigan train)')
    add('--step', type=int, metavar='T', help='the iteration to show, 0, 1, ...; the run is played until there '
        '(default: the first of a new run, the one after the checkpoint of RUN)')
    add('--json', action='store_true', help='print JSON instead of text')
    add.__self__.usage = 'minigan trace [RUN] [--step T] [--json] [choices of minigan train]'
    group = add.__self__.add_argument_group('a new run', 'The choices of minigan train:')
    _choices(group.add_argument, [option for option in fields(Config) if option.name not in NOT_TRACED])


def _theory(add):
    _seed(add)
    add('-o', '--out', default='theory', metavar='FOLDER', help='folder for the pictures')


def _study(add):
    _seed(add)
    add('-o', '--out', default='study.html', metavar='FILE', help='the page to write, which is replaced if it exists')


def _selftest(add):
    add('--device', choices=['cuda', 'cpu'], default='cuda',
        help='what to compare with NumPy: the kernels on this GPU, or those compiled for this CPU (default: cuda)')


def _kernelcheck(add):
    add('file', nargs='?', metavar='FILE.py', help="a module that describes kernels of your own (default: minigan's)")
    add('--kernel', metavar='NAME', help='check only this kernel')
    add('--gpu', choices=list(GPUS), default='A100',
        help='GPU to compute the least times for, from its bandwidth and peak performance')


def _run(add):
    add('run', metavar='RUN',
        help="a run's folder, which stands for its last checkpoint, or a checkpoint file such as RUN/best.npz")


def _label(add):
    add('--label', type=int, metavar='CLASS', help='the class to draw, with the generator of a conditional run')


def _seed(add, more=''):
    add('--seed', type=int, default=0, help=f'seed of the random numbers{more}')
