"""The commands: arguments in, one call, one line of error."""

import argparse
import sys

import minigan
from minigan import losses
from minigan.networks import RECIPES

SETTING = "default: the network's own"


def main(arguments=None):
    """Run a command. Returns the exit code: 0, 1 after a failed check, 2 after bad input."""
    options = vars(_parser().parse_args(arguments))
    command, debug = options.pop('command'), options.pop('debug', False)
    try:
        return command(**options)
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f'minigan: error: {error}', file=sys.stderr)
        return 2


def _train(**options):
    from minigan import training  # imported late: --help should not wait for it
    folder = training.train(training.Config(**options))
    print(f'Done. Look at {folder}/samples, {folder}/losses.png and {folder}/log.csv; '
          f'the generator is {folder}/generator.npz.')
    return 0


def _gradcheck(seed):
    from minigan.selfcheck import cases
    print('expected: central differences along a random direction; got: the hand-written derivative (float64)\n')
    wrong, count = [], 0
    for name, case in cases():
        report = case(seed)
        print(f'{name}\n{report}\n')
        count += len(report)
        wrong += [name] * (not report.ok)
    print(f'WRONG: {"; ".join(wrong)}' if wrong else f'All {count} derivatives are right.')
    return 1 if wrong else 0


def _selftest():
    from minigan import selftest
    from minigan.backend import select_device
    xp, device = select_device('cuda')
    print(f'{device}: each kernel against its specification in NumPy, the largest difference relative to the largest\n'
          f'number of its array; then whole steps\n\n{"":46} {"got":>9} {"allowed":>9}')
    wrong, count = [], 0
    for row in selftest.rows(xp):
        print(row, flush=True)
        count += 1
        wrong += [row.name] * (not row.ok)
    print(f'\nWRONG: {"; ".join(wrong)}' if wrong else f'\nAll {count} are right.')
    return 1 if wrong else 0


def _parser():
    parser = argparse.ArgumentParser(prog='minigan', description=minigan.__doc__)
    parser.add_argument('--version', action='version', version=f'minigan {minigan.__version__}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    train = commands.add_parser('train', help='train a GAN and leave a folder with its pictures, log and generator',
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    train.set_defaults(command=_train)
    _add_train_options(train.add_argument)
    gradcheck = commands.add_parser('gradcheck', help='check the derivative of every layer, loss and network',
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    gradcheck.set_defaults(command=_gradcheck)
    gradcheck.add_argument('--seed', type=int, default=0, help='where the random numbers start')
    selftest = commands.add_parser('selftest', help='check every CUDA kernel, and training, on this GPU')
    selftest.set_defaults(command=_selftest)
    return parser


def _add_train_options(add):
    hide = argparse.SUPPRESS  # in place of 'None' in the help; Config has the defaults of what is not given
    add('--network', default='default', choices=list(RECIPES),
        help="which pair of networks: 'article' as the article has it, 'default' with its errors put right")
    add('--data', default='digits', metavar='DATA',
        help="what to learn from: 'digits' (8x8, comes with scikit-learn), 'mnist' (28x28, downloaded once), "
             'a folder of IDX files, or a .npz or .npy file with images')
    add('--epochs', type=int, default=hide, metavar='N',
        help='how often to read all training images (default: enough for about 8000 steps of D, at least 25)')
    add('--batch', type=int, default=hide, metavar='M', help=f'images per step, m in Algorithm 1 ({SETTING})')
    add('-k', type=int, default=1, metavar='K', help='steps of D for each step of G, k in Algorithm 1')
    add('--learning-rate-G', type=float, default=hide, metavar='X', help=f"step size of G's Adam ({SETTING})")
    add('--learning-rate-D', type=float, default=hide, metavar='X', help=f"step size of D's Adam ({SETTING})")
    add('--beta1', type=float, default=hide, metavar='X',
        help=f'how much both Adams remember of earlier gradients, from 0 to below 1 ({SETTING})')
    add('--objective', choices=sorted(losses.OBJECTIVES), default=hide,
        help=f'what G descends: log(1 - D(G(z))), as in Algorithm 1 (minimax), or -log D(G(z)) (nonsaturating) '
             f'({SETTING})')
    add('--update', choices=['alternating', 'simultaneous'], default=hide,
        help=f'D first and then G with new noise, as in Algorithm 1, or both at once, as in the article ({SETTING})')
    add('--seed', type=int, default=0, help='where the random numbers start; the same seed gives the same result')
    add('--device', choices=['auto', 'cpu', 'cuda'], default='cpu',
        help='where to compute: NumPy on the CPU, CuPy on the GPU, or the GPU if it works')
    add('--samples-every', type=int, default=hide, metavar='N',
        help='epochs between two pictures of samples (default: a tenth of them)')
    add('-o', '--out', default=hide, metavar='FOLDER', help='where to put the run (default: runs/DATA-NETWORK)')
    add('--debug', action='store_true', default=hide, help='show where in the program an error came from')
