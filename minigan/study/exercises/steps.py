"""A player's step: its results, and what it leaves behind."""

import numpy as np

from minigan.study.exercises.calls import Wrong, checked
from minigan.study.exercises.exercise import Function

ADVICE = {  # what a message of a net or of a layer contains -> what it means here
    'expected rng=': 'Its layers draw random numbers in training: pass rng=rng.',
    'backward needs a forward': 'G(z) and D(x) are for evaluation: use forward where a backward follows.',
    'an earlier forward waits': 'A net has one cache, for one backward: self.logits reads data and samples together.',
    'expected dy as y': 'Each backward belongs to one forward: dy has a row for each row that the net has read.'}


class Step(Function):
    """One player's step, which must leave no cache behind, nor a derivative for the player who does not move."""

    def explain(self, function):
        """Sentences on the results, and on what is left behind."""
        try:
            found = super().explain(function)
        except Wrong as wrong:
            advice = ''.join(f' {says}' for said, says in ADVICE.items() if said in str(wrong))
            raise Wrong(f'{wrong}{advice}') from wrong
        game, *others = self.cases()[0].arguments
        dtheta_D = game.D.dtheta.copy()
        checked(self, function)(game, *others)
        for net in (game.G, game.D):
            if net._cached is not None:
                cure = ('pass keep_cache=False to G.forward' if (self.name, net) == ('update_D', game.G)
                        else 'its backward must use it up, without keep_cache=True')
                found.append(f'After {self.name} a cache waits in {net.name}: {cure}.')
        if self.name == 'update_G' and not np.array_equal(game.D.dtheta, dtheta_D):
            found.append('dtheta_D is written, though D does not move: pass param_grads=False to D.backward.')
        return found

    def remarks(self, function):
        """Whether a derivative is computed that nobody reads."""
        game, *others = self.cases()[0].arguments
        net, asked = getattr(game, self.name[-1]), []
        backward = net.backward

        def spied(dy, **options):
            asked.append(options.get('input_grad', True))
            return backward(dy, **options)

        net.backward = spied
        checked(self, function)(game, *others)
        return [f'it computes a d{"x" if net is game.D else "z"} that nobody reads: pass input_grad=False to '
                f'{net.name}.backward.'] * any(asked)
