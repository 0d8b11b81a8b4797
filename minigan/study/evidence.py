"""For each line of Algorithm 1 in gan.py: the tests that check it, and the bugs planted in it that a test catches.

The same for the derivatives of the losses, for those in ops.py that the default networks need, and for Adam.

tests/study/test_evidence.py plants each bug and sees its test fail. Paths of tests start at the root of the repository.
"""

from dataclasses import dataclass
from functools import partial

GAN = 'tests/core/test_gan.py::test_'
ORDER = GAN + 'an_iteration_is_k_steps_of_D_on_fresh_data_and_noise_then_one_of_G'
GRADIENT = GAN + 'each_player_follows_the_gradient_of_its_own_loss'
LOGITS_D = GAN + 'a_step_returns_the_logits_that_its_updates_saw'
LOGITS_G = GAN + 'a_G_step_returns_the_logits_that_it_saw'
ONLY_D = GAN + 'a_D_step_moves_D_and_leaves_theta_G_and_its_moments_bit_identical'
ONLY_G = GAN + 'a_G_step_moves_G_and_leaves_theta_D_and_its_moments_bit_identical'
NO_MORE = GAN + 'no_gradient_that_nobody_reads_is_computed'
NOISE = GAN + 'noise_is_of_the_prior_and_differs_by_iteration_by_update_and_from_what_layers_draw'
DROPOUT = GAN + 'dropout_differs_by_iteration_and_by_update'
SMOOTHING = GAN + 'label_smoothing_reaches_the_discriminators_derivative'
FLOAT32 = GAN + 'float32_players_stay_float32_and_play_the_same_game'
SLOPE = 'tests/core/test_losses.py::test_derivatives'
OPS = 'tests/core/test_ops.py::test_'
FEW_ROWS_AND_MANY = OPS + 'denses_dx_is_the_same_for_few_rows_and_for_many_and_for_one_column'
LEFT_SLOPE = OPS + 'leaky_relu_takes_the_left_slope_at_the_kink'
ADAM = OPS + 'adam_equals_the_plain_form_of_its_paper'
ASSIGNED = 'tests/core/test_net.py::test_gradients_are_assigned_not_accumulated'


@dataclass(frozen=True)
class Bug:
    """A mistake in a line. wrong: what replaces it. words: what that does. caught_by: a test that then fails."""

    wrong: str
    words: str
    caught_by: str


@dataclass(frozen=True)
class Evidence:
    """What supports a line of minigan/`file`: code, stripped and without comment, in the function `function`."""

    file: str
    function: str
    code: str
    bugs: tuple[Bug, ...]

    @property
    def tests(self):
        """The tests that check the line: without its bugs they pass, and each bug makes one of them fail."""
        return tuple(dict.fromkeys(bug.caught_by for bug in self.bugs))


def _line(file, function, code, *bugs):
    return Evidence(file, function, code, tuple(Bug(*bug) for bug in bugs))


_gan, _losses, _ops = (partial(_line, file) for file in ('gan.py', 'losses.py', 'ops.py'))

ALTERNATING = (
    _gan('alternating', 'for i in range(self.k):',
         ('for i in range(1):', 'D takes one step, whatever k is', ORDER),
         ('for i in range(self.k + 1):', 'D takes a step too many', ORDER)),
    _gan('alternating', 'z = self.noise(t, i)',
         ('z = self.noise(t, 0)', 'all k steps of D see the same noise', ORDER),
         ('z = self.noise(0, i)', 'every iteration sees the same noise', ORDER)),
    _gan('alternating', 'x = self.minibatch(t * self.k + i)',
         ('x = self.minibatch(t)', 'all k steps of D see the same examples', ORDER),
         ('x = self.minibatch(t + i)', 'the next iteration reads k - 1 of these minibatches again', ORDER),
         ('x = self.minibatch(i)', 'every iteration sees the same examples', ORDER)),
    _gan('alternating', 'real, fake = self.update_D(x, z, self.layer_rng(t, i))',
         ('real, fake = self.update_D(x, z, self.layer_rng(t, 0))', 'all k steps of D drop the same units', ORDER),
         ('real, fake = self.update_D(x, z, self.layer_rng(t, i)); self.update_G(z, self.layer_rng(t, i))',
          'G moves after each step of D, not after k of them', ORDER),
         ('fake, real = self.update_D(x, z, self.layer_rng(t, i))', 'the log takes samples for data', LOGITS_D)),
    _gan('alternating', 'z = self.noise(t, self.k)',
         ('z = self.noise(t, 0)', "G's step sees the noise of D's first step", ORDER),
         ('pass', "G's step sees the noise of D's last step", ORDER)),
    _gan('alternating', 'return real, fake, self.update_G(z, self.layer_rng(t, self.k))',
         ('return real, fake, self.update_G(z, self.layer_rng(t, 0))',
          "G's step drops the units that D's first step dropped", ORDER),
         ('return real, fake, [self.update_G(z, self.layer_rng(t, self.k)) for i in range(self.k)][-1]',
          'G takes k steps as well', ORDER),
         ('return real, fake, fake', 'G never moves', ORDER)),
)

UPDATE_D = (
    _gan('update_D', 'samples = self.G.forward(z, rng=rng, keep_cache=False)',
         ('samples = self.G.forward(z, rng=rng)', 'a cache that no backward uses up waits in G', ORDER),
         ('samples = self.G(z)', 'G draws in evaluation mode: its batch norms use their moving averages', LOGITS_D),
         ('samples = self.G.forward(z, rng=rng, keep_cache=False); self.optimizer_G.step()',
          "G moves in D's step", ONLY_D)),
    _gan('update_D', 'real, fake = self.logits(x, samples, rng)',
         ('fake, real = self.logits(x, samples, rng)', 'D learns that data are fake and samples real', GRADIENT),
         ('real, fake = (self.D.forward(q, rng=rng, keep_cache=q is samples) for q in (x, samples))',
          'D reads data and samples as two minibatches, and only the second leaves a cache', GRADIENT)),
    _gan('update_D', 'self.D.backward(self.L_D_backward(real, fake), input_grad=False)',
         ('self.D.backward(-self.L_D_backward(real, fake), input_grad=False)', 'D ascends L_D', GRADIENT),
         ('self.D.backward(self.L_D_backward(fake, real), input_grad=False)',
          'each half gets the label of the other', GRADIENT),
         ('self.D.backward(self.L_D_backward(real, fake), param_grads=False)',
          'D moves along an old gradient', GRADIENT),
         ('self.D.backward(self.L_D_backward(real, fake), input_grad=False, keep_cache=True)',
          'a cache that no backward uses up waits in D', ORDER),
         ('self.D.backward(self.L_D_backward(real, fake))', 'a dx that nobody reads is computed', NO_MORE)),
    _gan('update_D', 'self.optimizer_D.step()',
         ('self.optimizer_G.step()', 'G moves in place of D', ONLY_D),
         ('self.optimizer_D.step(); self.optimizer_G.step()', 'both players move', ONLY_D),
         ('pass', 'D never moves', ONLY_D)),
    _gan('update_D', 'return real, fake',
         ('return self.D(x), self.D(samples)', 'the logits are those after the update', LOGITS_D),
         ('return fake, real', 'the log takes samples for data', LOGITS_D),
         ('return 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))', 'probabilities pass for logits', LOGITS_D)),
)

UPDATE_G = (
    _gan('update_G', 'fake = self.D.forward(self.G.forward(z, rng=rng), rng=rng)',
         ('fake = self.D(self.G.forward(z, rng=rng))', 'D keeps no cache, so nothing flows back to G', GRADIENT),
         ('fake = self.D.forward(self.G.forward(z, rng=rng), training=False)',
          'G learns from a D without dropout', GRADIENT),
         ('fake = self.D.forward(self.G(z), rng=rng)', 'G keeps no cache, so it gets no gradient', GRADIENT)),
    _gan('update_G', 'dsamples = self.D.backward(self.L_G_backward(fake), param_grads=False)',
         ('dsamples = self.D.backward(self.L_G_backward(fake))', "G's step writes into dtheta_D", ONLY_G),
         ('dsamples = self.D.backward(-self.L_G_backward(fake), param_grads=False)', 'G ascends L_G', GRADIENT),
         ('dsamples = self.D.backward(self.L_D_backward(fake, fake)[len(fake):], param_grads=False)',
          "G descends D's loss for samples, and so helps D", GRADIENT)),
    _gan('update_G', 'self.G.backward(dsamples, input_grad=False)',
         ('self.G.backward(dsamples / len(z), input_grad=False)', 'the mean is taken twice', GRADIENT),
         ('self.G.backward(-dsamples, input_grad=False)', 'G ascends L_G', GRADIENT),
         ('self.G.backward(dsamples)', 'a dz that nobody reads is computed', NO_MORE)),
    _gan('update_G', 'self.optimizer_G.step()',
         ('self.optimizer_D.step()', 'D moves in place of G', ONLY_G),
         ('self.optimizer_G.step(); self.optimizer_D.step()', 'both players move', ONLY_G),
         ('pass', 'G never moves', ONLY_G)),
    _gan('update_G', 'return fake',
         ('return self.D(self.G(z))', 'the logits are those after the update', LOGITS_G),
         ('return 1 / (1 + np.exp(-fake))', 'probabilities pass for logits', LOGITS_G)),
)

WHAT_THEY_CALL = (
    _gan('logits', 'both = self.D.forward(stack(x, samples), rng=rng)',
         ('both = self.D.forward(stack(samples, x), rng=rng)', 'samples come before data', GRADIENT),
         ('both = self.D.forward(stack(x, x), rng=rng)', 'D never sees a sample', GRADIENT),
         ('both = self.D.forward(stack(x, samples), training=False)', 'D learns without dropout', LOGITS_D)),
    _gan('logits', 'return both[:len(both) // 2], both[len(both) // 2:]',
         ('return both[len(both) // 2:], both[:len(both) // 2]', 'the halves are swapped', GRADIENT),
         ('return both[::2], both[1::2]', 'each half is data and samples in turn', GRADIENT)),
    _gan('L_D_backward', "smoothing = {'smoothing': self.smoothing} if self.smoothing else {}",
         ('smoothing = {}', 'label smoothing is ignored', SMOOTHING),
         ("smoothing = {'smoothing': 1 - self.smoothing} if self.smoothing else {}",
          'the smoothed label passes for the smoothing', SMOOTHING)),
    _gan('L_D_backward', 'return stack(*losses.OBJECTIVES[self.objective].L_D_backward(real, fake, **smoothing))',
         ('return stack(*losses.OBJECTIVES[self.objective].L_D_backward(real, fake, **smoothing)[::-1])',
          'the derivatives of the halves are swapped', GRADIENT),
         ('return len(real) * stack(*losses.OBJECTIVES[self.objective].L_D_backward(real, fake, **smoothing))',
          'a sum over the minibatch stands in place of the mean', GRADIENT)),
    _gan('L_G_backward', 'return losses.OBJECTIVES[self.objective].L_G_backward(fake)',
         ("return losses.OBJECTIVES['minimax'].L_G_backward(fake)", 'the objective is ignored', GRADIENT),
         ("return -losses.OBJECTIVES['minimax'].L_G_backward(fake)", 'the sign of L_G is wrong', GRADIENT),
         ('return len(fake) * losses.OBJECTIVES[self.objective].L_G_backward(fake)',
          'a sum over the minibatch stands in place of the mean', GRADIENT)),
    _gan('noise', "return self.draw_z(self.streams.at('noise', t, i), self.m)",
         ("return self.draw_z(self.streams.at('noise', t), self.m)", 'all updates of an iteration share z', NOISE),
         ("return self.draw_z(self.streams.at('noise', t + i), self.m)",
          "G's noise comes again in D's next step", NOISE),
         ("return self.draw_z(self.streams.at('dropout', t, i), self.m)",
          'z and dropout share their random numbers', NOISE)),
    _gan('draw_z', 'return draw_z(rng, self.prior, (m, self.n_z), self.G.dtype)',
         ("return draw_z(rng, 'normal', (m, self.n_z), self.G.dtype)", 'the prior is ignored', NOISE),
         ('return draw_z(rng, self.prior, (self.m, self.n_z), self.G.dtype)', 'm is ignored', NOISE),
         ('return draw_z(rng, self.prior, (m, self.n_z), np.float64)', 'z does not fit a float32 G', FLOAT32)),
    _gan('layer_rng', "return self.streams.at('dropout', t, i)",
         ("return self.streams.at('dropout', t)", 'all updates of an iteration drop the same units', DROPOUT),
         ("return self.streams.at('dropout', 0, i)", 'every iteration drops the same units', DROPOUT),
         ("return self.streams.at('dropout', t + i)", "D's next step drops the units that G's step dropped",
          DROPOUT)),
)

SLOPES = (
    _losses('L_D_backward', 'return cross_entropy_backward(real, target=1 - number(smoothing)), '
            'cross_entropy_backward(fake, target=0)',
            ('return cross_entropy_backward(real, target=0), cross_entropy_backward(fake, target=1)',
             'the labels are swapped', SLOPE),
            ('return cross_entropy_backward(real, target=1), cross_entropy_backward(fake, target=0)',
             'label smoothing is ignored', SMOOTHING)),
    _losses('L_G_minimax_backward', 'return -cross_entropy_backward(fake, target=0)',
            ('return cross_entropy_backward(fake, target=0)', 'the sign of L_G is wrong', SLOPE),
            ('return cross_entropy_backward(fake, target=1)', 'G descends the other L_G', SLOPE)),
    _losses('L_G_nonsaturating_backward', 'return cross_entropy_backward(fake, target=1)',
            ('return -cross_entropy_backward(fake, target=1)', 'the sign of L_G is wrong', SLOPE),
            ('return -cross_entropy_backward(fake, target=0)', 'G descends the other L_G', SLOPE)),
)

DERIVATIVES = (
    _ops('dense_backward_input', 'return np.ascontiguousarray((W @ dy.T).T)',
         ('return np.ascontiguousarray((W.T @ dy.T).T)', 'W is transposed', OPS + 'dense'),
         ('return (W @ dy.T).T', 'the columns of dx lie together, which slows down what reads them',
          FEW_ROWS_AND_MANY)),
    _ops('dense_backward_input', 'return dy @ W.T',
         ('return dy @ W', 'W is not transposed', FEW_ROWS_AND_MANY),
         ('return dy @ W.T / len(dy)', 'the mean over the minibatch is taken twice', FEW_ROWS_AND_MANY)),
    _ops('dense_backward_params_', 'array_module(dy).matmul(x.T, dy, out=dW)',
         ('array_module(dy).matmul(x.T, dy / len(dy), out=dW)', 'a mean stands in place of the sum', OPS + 'dense'),
         ('dW += x.T @ dy', 'the gradients of all steps add up', ASSIGNED)),
    _ops('dense_backward_params_', 'dy.sum(axis=0, out=db)',
         ('dy.mean(axis=0, out=db)', 'a mean stands in place of the sum', OPS + 'dense'),
         ('db[...] = dy[0]', 'the bias learns from the first row alone', OPS + 'dense'),
         ('db += dy.sum(axis=0)', 'the gradients of all steps add up', ASSIGNED)),
    _ops('batch_norm_backward', 'dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)',
         ('dbeta, dgamma = (dy * xhat).sum(axis=0), dy.sum(axis=0)', 'gamma and beta are swapped',
          OPS + 'batch_norm'),
         ('dgamma, dbeta = (dy * xhat).mean(axis=0), dy.mean(axis=0)', 'means stand in place of the sums',
          OPS + 'batch_norm')),
    _ops('batch_norm_backward', 'return (gamma * rstd) * (dy - dbeta / m - xhat * (dgamma / m)), dgamma, dbeta',
         ('return (gamma * rstd) * (dy - dbeta / m), dgamma, dbeta', 'the path through the variance is missing',
          OPS + 'batch_norm'),
         ('return (gamma * rstd) * (dy - xhat * (dgamma / m)), dgamma, dbeta',
          'the path through the mean is missing', OPS + 'batch_norm'),
         ('return rstd * (dy - dbeta / m - xhat * (dgamma / m)), dgamma, dbeta', 'gamma is forgotten',
          OPS + 'batch_norm')),
    _ops('leaky_relu_backward', 'dx = (x > 0).astype(dy.dtype)',
         ('dx = (dy > 0).astype(dy.dtype)', 'the sign of dy decides, not that of x', OPS + 'leaky_relu'),
         ('dx = (x < 0).astype(dy.dtype)', 'the slopes are swapped', OPS + 'leaky_relu'),
         ('dx = (x >= 0).astype(dy.dtype)', 'at the kink, dx takes the other slope', LEFT_SLOPE)),
    _ops('leaky_relu_backward', 'dx += slope',
         ('pass', 'no gradient flows where x < 0, and too little elsewhere', OPS + 'leaky_relu'),
         ('dx -= slope', 'the slope is negative', OPS + 'leaky_relu')),
    _ops('dropout_backward', 'return dy * mask',
         ('return dy', 'dropped units get a gradient', OPS + 'dropout'),
         ('return dy * (mask > 0)', 'the factor 1 / (1 - rate) is missing', OPS + 'dropout')),
    _ops('tanh_backward', 'return dy * (1 - y**2)',
         ('return dy * (1 - y)', 'the square is missing', OPS + 'elementwise'),
         ('return dy * (1 - array_module(y).tanh(y)**2)', 'y passes for x', OPS + 'elementwise')),
    _ops('cross_entropy_backward', 'return ((1 - target) * sigmoid(logit) - target * sigmoid(-logit)) / len(logit)',
         ('return (1 - target) * sigmoid(logit) - target * sigmoid(-logit)', 'a sum stands in place of the mean',
          OPS + 'cross_entropy'),
         ('return (target * sigmoid(logit) - (1 - target) * sigmoid(-logit)) / len(logit)',
          'the labels are swapped', OPS + 'cross_entropy'),
         ('return ((1 - target) * logit - target * (1 - logit)) / len(logit)', 'the logit passes for D',
          OPS + 'cross_entropy')),
    _ops('adam_', 'n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)',
         ('n1, n2 = 1 / (1 - beta1), 1 / (1 - beta2)', 'no moment is corrected for its start at 0', ADAM),
         ('n1, n2 = (1 - beta1**(t + 1)) / (1 - beta1), (1 - beta2**(t + 1)) / (1 - beta2)',
          'the steps are counted from 2', ADAM)),
    _ops('adam_', 'v += xp.square(dtheta, out=scratch)',
         ('v += abs(dtheta)', 'the square is missing', ADAM),
         ('v = v + xp.square(dtheta, out=scratch)', 'the second moment is forgotten after each step', ADAM)),
    _ops('adam_', 'scratch += eps * n2**0.5',
         ('scratch += eps', 'eps is added before the correction, as in Keras', ADAM),
         ('xp.sqrt(v + eps * n2, out=scratch)', 'eps stands inside the root', ADAM)),
    _ops('adam_', 'theta -= scratch',
         ('theta += scratch', 'the step goes up the gradient', ADAM),
         ('theta = theta - scratch', 'a copy of theta moves, not theta', ADAM)),
)

EVIDENCE = ALTERNATING + UPDATE_D + UPDATE_G + WHAT_THEY_CALL + SLOPES + DERIVATIVES


def of(code):
    """The Evidence for a line, stripped and without comment, or None."""
    return next((evidence for evidence in EVIDENCE if evidence.code == code), None)
