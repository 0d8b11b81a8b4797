"""What goes wrong with a run, in words: numbers that are not finite, a D that has won, samples that collapse."""

from contextlib import ExitStack, contextmanager

from minigan.backend import array_module

LONG = 1000  # steps that a state must last before it is worth a warning
STATES = {  # name -> (whether a row shows it, given the largest norm of G's gradient; what to say about it)
    'D has won': (
        lambda row, most: row['train_D_x'] > 0.85 and row['train_D_G_z'] < 0.05,
        'D(x) > 0.85 and D(G(z)) < 0.05 (at step {step}: {train_D_x:.4f} and {train_D_G_z:.4f}), and G does not catch '
        'up. See first what holds G back: layers between its last Dense and tanh (--network default has none) or a '
        'large --learning-rate-G; then slow D down by a smaller --learning-rate-D.'),
    "G's gradient has vanished": (
        lambda row, most: row['gradient_norm_G'] < 1e-3 * most,
        'its norm was below a thousandth of its largest (at step {step}: {gradient_norm_G:.1e}), and G hardly moves. '
        '--objective nonsaturating has a gradient where D is sure of a fake; if G has that already, its own units are '
        'saturated: take a smaller --learning-rate-G.'),
    'the samples have collapsed': (
        lambda row, most: row['spread'] < 0.4,
        'their total variance was less than 0.4 of that of the data (at step {step}: {spread:.2g}): many z give nearly '
        'the same image. Take a smaller --learning-rate-G, or a --learning-rate-D that is not so far below it; '
        'best.npz may be from before.'),
}


class NotFinite(ArithmeticError):
    """A number that is infinite or undefined; says where it appeared first."""


def find_not_finite(game, steps):
    """Repeat the steps and raise NotFinite at the first tensor with a number that is not finite, if there is one.

    A step is a function of the parameters, the moments and its number: it is the same again, and so nothing need be
    checked while training, and everything here.
    """
    for t in steps:
        with ExitStack() as stack:
            for net, optimizer in ((game.G, game.optimizer_G), (game.D, game.optimizer_D)):
                stack.enter_context(_watched(net, optimizer, t))
            game.step(t)


@contextmanager
def _watched(net, optimizer, t):
    """Within, what each layer and the optimiser compute is checked as soon as it is there."""
    def check(array, where):
        bad = 0 if array is None else int((~array_module(array).isfinite(array)).sum())
        if bad:
            raise NotFinite(f'step {t}: {net.name}, {where}: {bad} of {array.size} numbers are infinite or undefined')

    def watch(thing, method, where):
        compute = getattr(thing, method)

        def compute_and_check(*arguments, **options):
            result = compute(*arguments, **options)
            check(result, where)
            return result
        setattr(thing, method, compute_and_check)

    def step(compute=optimizer.step):
        check_slots('derivative of', net.dtheta)
        compute()
        check_slots('', net.theta)
        for name in optimizer.buffers:
            check_slots(f"{type(optimizer).__name__}'s {name} of", getattr(optimizer, name))

    def check_slots(what, flat):
        for slot in net.slots:
            check(slot.of(flat), f'{what} {slot.name}'.strip())

    layers = net.layers_in_training
    for i, layer in enumerate(layers, 1):
        watch(layer, 'forward', f'output of layer {i}, {layer}')
        watch(layer, 'backward', f'derivative with respect to the input of layer {i}, {layer}')
    optimizer.step = step
    try:
        yield
    finally:
        del optimizer.step
        for layer in layers:
            del layer.forward, layer.backward


def warnings(rows):
    """name -> a warning with its remedy, for a run with this log: rows, one dict an epoch, as in log.csv.

    Each speaks of the first time that its state has lasted for LONG steps.
    """
    found, most = {}, max((row['gradient_norm_G'] for row in rows), default=0)
    for name, (holds, text) in STATES.items():
        since = None
        for row in rows:
            since = (row['step'] if since is None else since) if holds(row, most) else None
            if since is not None and row['step'] - since >= LONG:
                found[name] = f'{name}: for {row["step"] - since} steps {text.format(**row)}'
                break
    return found
