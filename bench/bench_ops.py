"""Every operation that training uses, forward and backward, at the size of D's first layer (784 -> 512), float32.

    python bench/bench_ops.py                  batches 32 and 256, one thread
    python bench/bench_ops.py --quick          batch 32, few rounds
    python bench/bench_ops.py --threads 2
    python bench/bench_ops.py --only convolutions --batches 64
    python bench/bench_ops.py --only tanh adam_ --against ../another-minigan

An operation that has a native twin has two rows: NumPy alone, and ", native", the kernel compiled for this CPU.
us: the time of a call. speed: GFLOP/s of matrix products, GB/s of all others, counting what must be read and written
at least once. fraction: the speed relative to that of a matrix product of 1024 x 1024 x 1024, or of a copy of as many
bytes, with as many threads, in the same run. A copy is no upper bound: it writes as much as it reads, and writing is
slower, since a line of memory is read before it is overwritten. So an operation that reads more than it writes
(dropout_backward), or that writes where it has just read (sgd_momentum_), can exceed 100 %.

Convolutions are those of dcgan, and one with k3; backward gives dx, dW and db. Their flops are those of the products.

PyTorch, the other (--against): its time / minigan's (above 1: slower than minigan), as quartiles of paired ratios.
The column is empty where PyTorch has no such call. Before anything is timed, PyTorch's results are compared with
minigan's, and minigan's with its own in float64. Random and in-place operations are compared in the tests, not here,
and native twins when they are compiled. moving_average_, clip_norm_ and the optimisers walk over all of D's parameters.
A full run writes bench/results/ops.json and draws ops.png. bench_gpu.py is for a GPU.
"""

import argparse
import re
from contextlib import ExitStack, closing
from functools import cache, partial

import numpy as np
from candidates import copying, use_native
from harness import RESULTS, ROOT, Entrant, Worker, describe, machine, other_minigan, positive, race, save, spread
from matplotlib.figure import Figure

from minigan import Adam, SGDMomentum, Streams, ops
from minigan.checks.derivatives import TOLERANCE
from minigan.gpu import fusion

N_IN, N_OUT, PARAMETERS, BATCHES, ROUNDS = 784, 512, 533_505, (32, 256), 15
UNCHECKED = ('bits', 'uniform', 'normal', 'bits and dropout', 'bias_leaky_relu_dropout', 'scale_dropout', 'adam_',
             'sgd_momentum_', 'moving_average_', 'clip_norm_')  # random, or in place
NATIVE = ', native'  # ends the name of an operation's row with its native twin
AGAINST = 'the other'  # the column of --against
GROUP = 'convolutions'  # of --only


def arrays(m, threads, dtype=np.float32):
    """The same numbers for minigan, PyTorch and the other minigan."""
    rng = np.random.default_rng(0)
    shapes = {'x': (m, N_IN), 'h': (m, N_OUT), 'dh': (m, N_OUT), 'W': (N_IN, N_OUT), 'b': N_OUT, 'gamma': N_OUT,
              'beta': N_OUT, 'theta': PARAMETERS, 'dtheta': PARAMETERS}
    a = {name: rng.standard_normal(shape, np.float32).astype(dtype) for name, shape in shapes.items()}
    a |= {'images': rng.integers(0, 256, (10_000, N_IN), np.uint8), 'rows': rng.permutation(10_000)[:m],
          'y': np.tanh(a['h']), 'threads': threads}
    bits = rng.integers(0, 2**16, (m, N_OUT), np.uint16)
    return a | {'labels': rng.integers(0, N_OUT, m), 'bits': bits, 'mask': ops.dropout(a['h'], bits, rate=0.3)[1]}


def operations(a):
    """name -> function, for the arrays of a."""
    x, h, dh, W, b, gamma, beta, y = (a[name] for name in ('x', 'h', 'dh', 'W', 'b', 'gamma', 'beta', 'y'))
    dW, db, moving, streams = np.empty_like(W), np.empty_like(b), np.zeros_like(a['theta']), Streams(0)
    cache, s = ops.batch_norm(h, gamma, beta, eps=1e-3)[1], np.copysign(a['mask'], h)
    averages, dparams = np.ones_like([b, b]), np.empty_like([b, b])

    def dense_params():
        ops.dense_backward_params_(dh, x, dW, db)
        return dW, db

    def bits_and_dropout():
        return ops.dropout(h, streams.at('dropout', 0).bits(h.shape), rate=0.3)

    return {
        'dense': lambda: ops.dense(x, W, b),
        'dense_backward_input': lambda: ops.dense_backward_input(dh, W),
        'dense_backward_params_': dense_params,
        'batch_norm': lambda: ops.batch_norm(h, gamma, beta, eps=1e-3)[0],
        'batch_norm_backward': lambda: ops.batch_norm_backward(dh, gamma, cache),
        'batch_norm_leaky_relu_': lambda: fusion.batch_norm_leaky_relu_(h, gamma, beta, *averages, eps=1e-3,
                                                                        momentum=0.99, slope=0.2)[0],
        'batch_norm_leaky_relu_backward_': lambda: fusion.batch_norm_leaky_relu_backward_(dh, gamma, beta, cache,
                                                                                          *dparams, slope=0.2),
        'batch_norm_evaluation': lambda: ops.batch_norm_evaluation(h, gamma, beta, beta, gamma**2, eps=1e-3)[0],
        'batch_norm_evaluation_backward': lambda: ops.batch_norm_evaluation_backward(dh, gamma, cache),
        'leaky_relu': lambda: ops.leaky_relu(h, slope=0.2),
        'leaky_relu_backward': lambda: ops.leaky_relu_backward(dh, h, slope=0.2),
        'bias_leaky_relu_dropout': lambda: fusion.bias_leaky_relu_dropout(h[None], b, streams.at('dropout', 0),
                                                                          slope=0.2, rate=0.3),
        'leaky_relu_dropout_backward': lambda: fusion.leaky_relu_dropout_backward(dh, s, slope=0.2),
        'maxout': lambda: ops.maxout(h, pieces=4),
        'maxout_backward': lambda: ops.maxout_backward(dh[:, ::4], h, h[:, :N_OUT // 4], pieces=4),
        'scale': lambda: ops.scale(h, a=2, b=-1),
        'scale_backward': lambda: ops.scale_backward(dh, a=2),
        'scale_dropout': lambda: fusion.scale_dropout(h, streams.at('dropout', 0), a=2, b=-1, rate=0.3),
        'scale_dropout_backward': lambda: fusion.scale_dropout_backward(dh, a['mask'], a=2),
        'softmax': lambda: ops.softmax(h),
        'softmax_cross_entropy': lambda: ops.softmax_cross_entropy(h, a['labels']),
        'softmax_cross_entropy_backward': lambda: ops.softmax_cross_entropy_backward(h, a['labels']),
        'clip_norm_': lambda: ops.clip_norm_(a['dtheta'], limit=1),
        'dropout': lambda: ops.dropout(h, a['bits'], rate=0.3)[0],
        'bits and dropout': bits_and_dropout,
        'dropout_backward': lambda: ops.dropout_backward(dh, a['mask']),
        'tanh': lambda: ops.tanh(h),
        'tanh_backward': lambda: ops.tanh_backward(dh, y),
        'sigmoid': lambda: ops.sigmoid(h),
        'sigmoid_backward': lambda: ops.sigmoid_backward(dh, y),
        'sigmoid_scale_backward': lambda: fusion.sigmoid_scale_backward(dh, y, a=2),
        'softplus': lambda: ops.softplus(h),
        'softplus_backward': lambda: ops.softplus_backward(dh, h),
        'gather_images': lambda: ops.gather_images(a['images'], a['rows'], x.dtype),
        'adam_': Adam(Flat(a), learning_rate=2e-4, beta1=0.5, eps=1e-7).step,
        'sgd_momentum_': SGDMomentum(Flat(a), learning_rate=2e-4, momentum=0.5).step,
        'moving_average_': lambda: ops.moving_average_(moving, a['theta'], momentum=0.99),
        'bits': lambda: streams.at('dropout', 0).bits(h.shape),
        'uniform': lambda: streams.at('noise', 0).uniform(h.shape),
        'normal': lambda: streams.at('noise', 0).normal(h.shape),
        **of_convolutions(len(x), x.dtype),
    }


@cache
def convolved():
    """name of an operation -> its Convolution. An older minigan has none."""
    try:
        from convolutions import LAYERS
    except ImportError:
        return {}
    found = {f'{layer}{backward}': layer for layer in LAYERS for backward in ('', ' backward')}
    return found | {str(layer).replace('convolution', name): layer
                    for layer in LAYERS if not layer.transposed for name in ('patches', 'unpatches')}


def of_convolutions(m, dtype):
    """name -> function, for each of convolved()."""
    found = {}
    for name, layer in convolved().items():
        from minigan.variants import convolution
        kind, arrays = name.split()[0], layer.arrays(m, dtype)
        if 'patches' in kind:
            images = arrays[0] if kind == 'patches' else convolution.patches(arrays[0], **layer.window)
            found[name] = partial(getattr(convolution, kind), images, **layer.window)
        else:
            found[name] = layer.operations(*arrays)[name.endswith('backward')]
    return found


def rows(names):
    """The names, each followed by that of its native twin if it has one."""
    from minigan.native.twins import Native  # here, since an older minigan has none
    twins = {name: {'convolution': 'patches', 'transposed': 'unpatches'}.get(name.split()[0], name.split()[0])
             for name in convolved()}
    return [row for name in names for row in (name, name + NATIVE)
            if row == name or hasattr(Native, twins.get(name, name))]


class Flat:
    """The part of a Net that an optimiser needs."""

    def __init__(self, a):
        self.theta, self.dtheta, self.dtype, self.version = a['theta'].copy(), a['dtheta'].copy(), a['theta'].dtype, 0


def flops(name, m):
    """Floating-point operations of matrix products, or 0."""
    name = name.removesuffix(NATIVE)
    if name in convolved() and 'patches' not in name:
        return (1 + name.endswith('backward')) * convolved()[name].flops(m)
    return 2 * m * N_IN * N_OUT if name.startswith('dense') else 0


def traffic(name, m):
    """Bytes that must be read and written at least once."""
    name = name.removesuffix(NATIVE)
    if name in convolved():
        return convolved()[name].traffic(m)
    walks = {'adam_': 28, 'sgd_momentum_': 20, 'clip_norm_': 12, 'moving_average_': 12}
    if name in walks:
        return PARAMETERS * walks[name]
    if name == 'gather_images':
        return 5 * m * N_IN
    floats = {'dropout': 3.5, 'bits and dropout': 3, 'bits': 0.5, 'uniform': 1, 'normal': 1, 'batch_norm': 3,
              'batch_norm_evaluation': 3, 'batch_norm_leaky_relu_': 3, 'bias_leaky_relu_dropout': 3, 'scale_dropout': 3}
    return int(4 * m * N_OUT * floats.get(name, 3 if 'backward' in name else 2))


def yardstick(name, m):
    """The name and the work of what an operation is compared with, a product or a copy."""
    return ('product', 2 * 1024**3) if flops(name, m) else (f'copy {traffic(name, m)}', traffic(name, m))


class Minigan:
    """The operations of these rows, and what they are compared with: 'product', and 'copy N' of N bytes.

    about: the rows that there are, and why there are no native twins. An older minigan, with --against, has fewer rows.
    """

    def __init__(self, m, threads, names):
        exact, self.operations, self.about = operations(arrays(m, threads, np.float64)), {}, {'names': [], 'wrong': []}
        for native in (False, True):
            without = use_native(native)
            self.about['wrong'] += [f'no native twins: {without}'] if without else []
            found = {} if without else operations(arrays(m, threads))
            for name in names:
                base = name.removesuffix(NATIVE)
                if base in found and native == (base != name) and self.has(found[base]):
                    self.operations[name] = found[base]
                    if name not in UNCHECKED and not native:
                        compare(name, found[name](), exact[name]())
        self.about['names'] = [name for name in names if name in self.operations]
        P, Q = np.ones((2, 1024, 1024), np.float32)
        self.operations['product'] = lambda: P @ Q
        for size in {traffic(name, m) for name in self.about['names'] if not flops(name, m)}:
            source, target = np.ones((2, size // 8), np.float32)
            self.operations[f'copy {size}'] = copying(target, source)

    @staticmethod
    def has(operation):
        """Whether this minigan has the operation."""
        try:
            operation()
        except AttributeError:
            return False
        return True

    def run(self, steps, name):
        use_native(name.endswith(NATIVE))
        f = self.operations[name]
        for _ in range(steps):
            f()


class PyTorch(Minigan):
    """PyTorch's operations; about: the names of those that give minigan's results, and how the others differ."""

    def __init__(self, m, threads, names):
        from references import pytorch_ops
        ours, theirs = operations(arrays(m, threads)), pytorch_ops.operations(arrays(m, threads))
        self.operations = {name: theirs[name] for name in names if name in theirs}  # names of operations, not of rows
        self.about = {'names': list(self.operations), 'wrong': []}
        use_native(False)
        for name, f in self.operations.items():
            try:
                if name not in UNCHECKED:
                    compare(name, ours[name](), f())
            except ValueError as error:
                self.about['names'].remove(name)
                self.about['wrong'].append(str(error))


def compare(name, got, expected):
    """Raises ValueError unless both agree within float32's tolerance, relative to the largest entry."""
    layer = {'dense': 'Dense', 'convolution': 'Dense', 'transposed': 'Dense', 'batch': 'BatchNorm'}.get(
        re.split('[_ ]', name)[0], 'any')
    for one, other in zip(*(q if isinstance(q, tuple) else (q,) for q in (got, expected)), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        error = abs(one - other).max() / abs(other).max()
        if not error < TOLERANCE['float32'].get(layer, TOLERANCE['float32']['any']):
            raise ValueError(f"{name}: minigan's result and the other differ by {error:.1e}")


def measure(m, threads, names, *, against=None, **settings):
    """The results of one batch size, row -> dict (see judge), and remarks on what is missing. settings: of race.

    names: of rows. Those of native twins are left out where there are none.
    """
    kinds = {'': ('Minigan', ROOT), 'PyTorch': ('PyTorch', ROOT)}
    if against:
        kinds[AGAINST] = 'Minigan', against
    with ExitStack() as stack:
        workers = {who: stack.enter_context(closing(Worker(f'bench_ops:{kind}', m, threads, names, threads=threads,
                                                           path=path))) for who, (kind, path) in kinds.items()}
        for who, worker in workers.items():
            if not worker.wait_until_ready() and who != 'PyTorch':
                raise SystemExit(f'minigan{" at " + against if who else ""}: {worker.missing}')
        missing = {'names': [], 'wrong': [f'PyTorch is missing: {workers["PyTorch"].missing}']}
        about = {who: worker.about or missing for who, worker in workers.items()}
        timed, names = {who: said['names'] for who, said in about.items()}, about['']['names']
        timed[''] = [*dict.fromkeys(yardstick(name, m)[0] for name in names), *names]
        entrants = {who: {name: Entrant(name, worker, name) for name in timed[who]} for who, worker in workers.items()}
        race([named[name] for name in timed[''] for named in entrants.values() if name in named], **settings)
    remarks = [f'{who}: {remark}' if who == AGAINST else remark
               for who, said in about.items() for remark in said['wrong']]
    return {name: judge(name, m, entrants) for name in names}, remarks


def judge(name, m, entrants):
    """What is reported about one row; entrants: who -> name -> Entrant, with minigan's under ''.

    The ratio of another's time to minigan's is None where the other has no such row; PyTorch's serves two rows.
    """
    (own, work), entrant = yardstick(name, m), entrants[''][name]
    names = {who: name.removesuffix(NATIVE) if who == 'PyTorch' else name for who in entrants}
    median, done = float(np.median(entrant.seconds)), flops(name, m) or traffic(name, m)
    ratios = {who: theirs[names[who]].ratio(entrant) if names[who] in theirs else None
              for who, theirs in entrants.items() if who}
    return {'us': 1e6 * median, 'speed': done / median / 1e9, 'unit': 'GFLOP/s' if flops(name, m) else 'GB/s',
            'fraction': done / work * entrants[''][own].ratio(entrant)[0], **ratios}


def report(m, threads, results, remarks):
    """One batch size's table, as text."""
    title = f'batch {m}, {threads} thread{"s" * (threads > 1)}'
    columns = [who for who in ('PyTorch', AGAINST) if who in next(iter(results.values()))]
    lines = ['', f'{title:53}{"us":>9}{"speed":>18}{"fraction":>10}   ' + ''.join(f'{who:20}' for who in columns)]
    for name, r in results.items():
        ratios = ''.join(f'{spread(*r[who]) if r[who] else "":20}' for who in columns)
        lines.append(f'{name:53}{r["us"]:9.1f}{r["speed"]:10.1f} {r["unit"]:7}{r["fraction"]:10.0%}   {ratios}')
    return '\n'.join(line.rstrip() for line in lines + remarks)


def chart(content, path):
    """Bars of the fractions, with a dot for a native twin."""
    figure = Figure(figsize=(9, 10), layout='constrained')
    axes, names = figure.subplots(), [name for name in content['runs'][0]['results'] if not name.endswith(NATIVE)]
    for i, run in enumerate(content['runs']):
        results, at = run['results'], [j + (i - len(content['runs']) / 2 + 0.5) * 0.4 for j in range(len(names))]
        label = f"batch {run['m']}"
        axes.barh(at, [100 * results[name]['fraction'] for name in names], 0.38, label=f'{label}, NumPy alone')
        native = [100 * results[name + NATIVE]['fraction'] if name + NATIVE in results else None for name in names]
        axes.plot(native, at, 'o', color=f'C{i}', markeredgecolor='black', label=f'{label}, native twin')
    axes.set_yticks(range(len(names)), names, fontsize='small')
    axes.invert_yaxis()
    axes.axvline(100, color='black', linewidth=1)
    axes.margins(y=0.01)
    axes.set_xlabel("% of this machine's own matrix product (dense) or copy (all others), in the same run")
    axes.legend()
    figure.savefig(path, dpi=100)


def main():
    """Parse the arguments, measure, print, and after a full run write."""
    names = list(operations(arrays(2, 1)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a first look: batch 32, few rounds')
    parser.add_argument('--batches', type=positive, metavar='M', nargs='+', default=BATCHES)
    parser.add_argument('--threads', type=positive, metavar='N', default=1)
    parser.add_argument('--rounds', type=positive, metavar='N', default=ROUNDS)
    parser.add_argument('--only', nargs='+', metavar='NAME', choices=[*names, GROUP],
                        help=f'only these: {", ".join(names)}; {GROUP}: all of them')
    parser.add_argument('--against', metavar='PATH', type=other_minigan,
                        help='the folder of another copy of minigan, to compare with')
    options = parser.parse_args()
    only = [name for one in options.only or () for name in (convolved() if one == GROUP else [one])]
    settings = {'rounds': options.rounds, 'seconds': 0.03}
    if options.quick:
        options.batches, settings = [32], {'rounds': min(options.rounds, 4), 'seconds': 0.01}
    print(f'{describe(machine())}\nblocks of {settings["seconds"]} s, {settings["rounds"]} rounds after 3 of warm-up')
    runs = []
    for m in options.batches:
        results, remarks = measure(m, options.threads, rows(only or names), against=options.against, **settings)
        runs.append({'m': m, 'threads': options.threads, 'results': results})
        print(report(m, options.threads, results, remarks), flush=True)
    full = (tuple(options.batches), options.threads, options.rounds) == (BATCHES, 1, ROUNDS)
    if full and not (options.only or options.against):
        chart(save('ops', {'runs': runs, **settings}), RESULTS / 'ops.png')


if __name__ == '__main__':
    main()
