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
        samples, statistics = self.G(theta_G, z_D)
        moving = self.follow(moving, statistics)
        loss_D, gradient_D = jax.value_and_grad(self.loss_D)(theta_D, x, samples, key_D)
        theta_D, adam_D = self.adam(theta_D, adam_D, gradient_D, t)
        (loss_G, statistics), gradient_G = jax.value_and_grad(self.loss_G, has_aux=True)(theta_G, theta_D, z_G, key_G)
        theta_G, adam_G = self.adam(theta_G, adam_G, gradient_G, t)
        state = (theta_G, adam_G), (theta_D, adam_D), self.follow(moving, statistics)
        return state, (loss_D, loss_G), (gradient_D, gradient_G)

    def follow(self, moving, statistics):
        return jax.tree.map(lambda a, s: 0.99 * a + 0.01 * s, moving, statistics)

    def loss_D(self, theta_D, x, samples, key):
        logits = self.D(theta_D, jnp.concatenate([x, samples]), key)
        return nn.softplus(-logits[:self.m]).mean() + nn.softplus(logits[self.m:]).mean()

    def loss_G(self, theta_G, theta_D, z, key):
        samples, statistics = self.G(theta_G, z)
        return nn.softplus(-self.D(theta_D, samples, key)).mean(), statistics

    def G(self, theta, z):
        statistics = []
        for W, gamma, beta in (theta[:3], theta[3:6]):
            z = z @ W
            mu, var = z.mean(axis=0), z.var(axis=0)
            statistics.append((mu, var))
            z = nn.leaky_relu(gamma * (z - mu) * jax.lax.rsqrt(var + 1e-3) + beta, self.start.slope)
        return jnp.tanh(z @ theta[6] + theta[7]), statistics

    def D(self, theta, x, key):
        for W, b, key in zip(theta[:4:2], theta[1:4:2], jax.random.split(key)):
            x = nn.leaky_relu(x @ W + b, self.start.slope)
            if self.start.rate:
                x = jnp.where(jax.random.bernoulli(key, 1 - self.start.rate, x.shape), x / (1 - self.start.rate), 0)
        return x @ theta[4] + theta[5]

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


def initial(start):
    def with_moments(theta):
        theta = [jnp.asarray(w) for w in theta]
        return theta, ([jnp.zeros_like(w) for w in theta], [jnp.zeros_like(w) for w in theta])
    moving = [(jnp.zeros_like(gamma), jnp.ones_like(gamma)) for gamma in start.G[1:6:3]]
    return with_moments(start.G), with_moments(start.D), moving
