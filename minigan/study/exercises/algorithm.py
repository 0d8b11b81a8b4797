"""Algorithm 1 itself: who is called when, and with what."""

from functools import partial

from minigan.gan import Game
from minigan.study.exercises import calls
from minigan.study.exercises.calls import Case
from minigan.study.exercises.exercise import Exercise, Function
from minigan.study.exercises.trials import training

ARGUMENTS = {'noise': ('t', 'i'), 'minibatch': ('j',), 'layer_rng': ('t', 'i'), 'update_D': ('x', 'z', 'rng'),
             'update_G': ('z', 'rng')}


class Recorder:
    """A game that computes nothing: each method returns its own call as text, and the updates are noted."""

    def __init__(self, k):
        self.k, self.updates = k, []

    def __getattr__(self, name):
        if name not in ARGUMENTS:
            raise AttributeError(f'{name}: expected one of k, {", ".join(ARGUMENTS)}')
        return partial(self._call, name)

    def _call(self, name, *arguments, **keywords):
        given = {**dict(zip(ARGUMENTS[name], arguments)), **keywords}
        if len(arguments) + len(keywords) != len(given) or tuple(sorted(given)) != tuple(sorted(ARGUMENTS[name])):
            raise TypeError(f'{name}: expected {", ".join(ARGUMENTS[name])}, got {len(arguments) + len(keywords)} '
                            'arguments')
        if not name.startswith('update'):
            return f'{name}({", ".join(str(given[one]) for one in ARGUMENTS[name])})'
        self.updates.append((name, given))
        text = f'logits of update {len(self.updates)}, {name}'
        return (f'real {text}', f'fake {text}') if name == 'update_D' else f'fake {text}'


class Alternating(Function):
    """Calls, in place of arrays, are compared."""

    def explain(self, function):
        """Sentences on the first call that is wrong, none if all are as in Algorithm 1."""
        for k, t in ((1, 2), (3, 2)):
            ours, theirs = Recorder(k), Recorder(k)
            expected = self.own(ours, t)
            got = calls.checked(self, function)(theirs, t)
            if found := differing(ours.updates, theirs.updates, k) or returned(expected, got):
                return [f'With k = {k} and t = {t}: {found}']
        return []


def differing(ours, theirs, k):
    """A sentence on the first update that differs, or ''."""
    names, wanted = [name for name, *_ in theirs], [name for name, *_ in ours]
    if not names:
        return 'No player moves: neither update_D nor update_G is called.'
    if sorted(names) == sorted(wanted) and names != wanted:
        return 'G moves before D is done: the k steps of D come first.'
    for player, steps in (('D', k), ('G', 1)):
        if (count := names.count(f'update_{player}')) != steps:
            return f'expected {steps} {"step" if steps == 1 else "steps"} of {player}, got {count}.'
    for i, ((update, expected), (_, got)) in enumerate(zip(ours, theirs), 1):
        for what, one in expected.items():
            if (came := ' '.join(str(got[what]).split())) != one:  # it may be an array
                return (f'{what} of {update}, which is update {i}: expected {one}, got {came}. '
                        f'{reason(what, update, came)}')
    return ''


def reason(what, update, got):
    """Why an argument must be what it is."""
    if what == 'x':
        return ('x is noise; data come from minibatch, and x stands before z.' if got.startswith('noise')
                else 'Each step of D takes the next minibatch, number t * k + i.')
    if what == 'z' and update == 'update_G':
        return "G's step draws new noise, number k of the iteration: D has just learned from the old one."
    if what == 'z':
        return 'Each step of D draws new noise, number i of the iteration.'
    return 'The numbers that layers draw belong to the same (t, i) as the noise.'


def returned(expected, got):
    """A sentence on what is returned, or ''."""
    if str(got) == str(expected):  # arrays may be in it
        return ''
    if got is None:
        return "It returns None, expected real, fake of D's last step and fake of G's step: is a return missing?"
    return f"It returns {got}, expected {expected}: D's logits of its last step, then those of G's step."


ALTERNATING = Exercise(
    'Game.alternating', 5, 'Algorithm 1', (
        Alternating(Game, 'alternating', lambda: [Case((Recorder(1), 0))]),),
    hints=('Algorithm 1 has an inner loop, in which D moves k times, and then one step of G. Nothing is used twice.',
           'For i = 0 ... k - 1: noise(t, i), minibatch(t k + i), update_D(x, z, layer_rng(t, i)). Then noise(t, k) '
           "and update_G(z, layer_rng(t, k)). Return D's real and fake, and what update_G returns."),
    checks={'training': training})
