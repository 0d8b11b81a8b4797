"""The step in JAX: one jitted function from state to state, its buffers donated, random bits from the fast key."""

import jax
import jax.numpy as jnp
from jax import nn


class JAX:
    def __init__(self, start):
        if start.device == 'cuda':
            jax.config.update('jax_default_matmul_precision', 'highest')  # no TF32
            if jax.default_backend() != 'gpu':
                raise ValueError(f'JAX {jax.__version__} finds no GPU')
        self.start, self.m = start, start.m
        images = jnp.asarray(start.images)
        key = jax.random.key(0, impl='unsafe_rbg')

        def draw_and_step(state, t, rows):
            key_D, key_G, *keys = jax.random.split(jax.random.fold_in(key, t), 4)
            z_D, z_G = (jax.random.normal(k, (self.m, start.n_z)) for k in keys)
            return self.step(state, t, images[rows], z_D, z_G, key_D, key_G)[:2]

        self.jitted = jax.jit(draw_and_step, donate_argnums=0)
        self.state, self.t = initial(start), 0

    def step(self, state, t, x, z_D, z_G, key_D, key_G):
        (theta_G, adam_G), (theta_D, adam_D), moving = state
        samples, statistics = forward(self.start.G, theta_G, z_D)
        moving = self.follow(moving, statistics)
        loss_D, gradient_D = jax.value_and_grad(self.loss_D)(theta_D, x, samples, key_D)
        theta_D, adam_D = self.adam(theta_D, adam_D, gradient_D, t)
        (loss_G, statistics), gradient_G = jax.value_and_grad(self.loss_G, has_aux=True)(theta_G, theta_D, z_G, key_G)
        theta_G, adam_G = self.adam(theta_G, adam_G, gradient_G, t)
        state = (theta_G, adam_G), (theta_D, adam_D), self.follow(moving, statistics)
        return state, (loss_D, loss_G), (gradient_D, gradient_G)

    def follow(self, moving, statistics):
        momenta = (one.settings['momentum'] for one in self.start.G if one.kind == 'batch_norm')
        return [tuple(p * a + (1 - p) * s for a, s in zip(*pair)) for p, *pair in zip(momenta, moving, statistics)]

    def loss_D(self, theta_D, x, samples, key):
        logits, _ = forward(self.start.D, theta_D, jnp.concatenate([x, samples]), key)
        return nn.softplus(-logits[:self.m]).mean() + nn.softplus(logits[self.m:]).mean()

    def loss_G(self, theta_G, theta_D, z, key):
        samples, statistics = forward(self.start.G, theta_G, z)
        return nn.softplus(-forward(self.start.D, theta_D, samples, key)[0]).mean(), statistics

    def adam(self, theta, moments, gradient, t):
        s, tree = self.start, jax.tree.map
        m = tree(lambda m, g: s.beta1 * m + (1 - s.beta1) * g, moments[0], gradient)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradient)
        c1, c2 = 1 - s.beta1 ** (t + 1), 1 - 0.999 ** (t + 1)
        theta = tree(lambda w, m, v: w - s.learning_rate * (m / c1) / (jnp.sqrt(v / c2) + s.eps), theta, m, v)
        return theta, (m, v)

    def gradients(self, x, z_D, z_G):
        key = jax.random.key(0)
        return jax.jit(self.step)(initial(self.start), 0, x, z_D, z_G, key, key)[2]

    def run(self, rows):
        for chosen in rows:
            self.state, losses = self.jitted(self.state, self.t, chosen)
            self.t += 1
        jax.block_until_ready(self.state)


def forward(described, theta, x, key=None):
    """The output of a network in training, and the statistics of its batch norms, each (mean, variance)."""
    theta, statistics = iter(theta), []
    for i, (kind, settings, weights) in enumerate(described):
        given = [next(theta) for _ in weights]
        if kind == 'reshape':
            x = x.reshape(-1, *settings['shape'])
        elif kind == 'batch_norm':
            x, found = batch_norm(x, *given, settings['eps'])
            statistics.append(found)
        elif kind == 'dropout':
            rate = settings['rate']
            x = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, i), 1 - rate, x.shape), x / (1 - rate), 0)
        else:
            x = LAYERS[kind](x, *given, **settings)
    return x, statistics


def dense(x, W, b=0):
    return x @ W + b


def convolution(x, W, b=0, *, k, stride, pad):
    return b + jax.lax.conv_general_dilated(x, W.reshape(k, k, x.shape[-1], -1), (stride, stride), [(pad, pad)] * 2,
                                            dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def transposed(x, W, *, k, stride, pad):
    return jax.lax.conv_transpose(x, W.reshape(len(W), k, k, -1).transpose(1, 2, 3, 0), (stride, stride),
                                  [(k - 1 - pad, k - 1 - pad)] * 2, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                                  transpose_kernel=True)


def batch_norm(x, gamma, beta, eps):
    axes = tuple(range(x.ndim - 1))
    mu, var = x.mean(axis=axes), x.var(axis=axes)
    return gamma * (x - mu) * jax.lax.rsqrt(var + eps) + beta, (mu, var)


LAYERS = {'dense': dense, 'convolution': convolution, 'transposed': transposed, 'tanh': jnp.tanh,
          'leaky_relu': lambda x, slope: nn.leaky_relu(x, slope)}


def initial(start):
    def with_moments(described):
        theta = [jnp.asarray(w) for one in described for w in one.weights]
        return theta, ([jnp.zeros_like(w) for w in theta], [jnp.zeros_like(w) for w in theta])
    moving = [(jnp.zeros_like(gamma), jnp.ones_like(gamma))
              for gamma in (one.weights[0] for one in start.G if one.kind == 'batch_norm')]
    return with_moments(start.G), with_moments(start.D), moving
