"""Batch normalisation with the statistics of the minibatches of all ranks."""

from minigan import ops
from minigan.layers import BatchNorm


class RankBatchNorm(BatchNorm):
    """BatchNorm in training, where mu and var are those of the rows of all R ranks, m on each.

        mu = mean of the ranks' mu_r,   var = mean of (var_r + (mu_r - mu)^2)
        dx = gamma * rstd * (dy - sum of dbeta_r / (R m) - xhat * sum of dgamma_r / (R m))

    The sums are over the ranks r. dgamma_r and dbeta_r are those of the rank's own rows, and they stay so: what
    averages the derivatives of all parameters averages these too. Chan, Golub & LeVeque 1983 for var, which unlike
    mean x^2 - mu^2 loses no digits.
    """

    def forward(self, x, *, training, rng):
        if not training:
            return super().forward(x, training=False, rng=rng)
        self.check_width(x, self.n)
        own = x.mean(axis=0)
        every = self.ranks.gather(ops.stack(own[None], ((x - own)**2).mean(axis=0)[None]))
        mu = every[:, 0].mean(axis=0)
        var = (every[:, 1] + (every[:, 0] - mu)**2).mean(axis=0)
        ops.moving_average_(self.moving_mean, mu, momentum=self.momentum)
        ops.moving_average_(self.moving_var, var, momentum=self.momentum)
        y, cache = ops.batch_norm_evaluation(x, self.gamma, self.beta, mu, var, eps=self.eps)
        self.cache = training, cache
        return y

    def backward(self, dy, *, param_grads, input_grad):
        training, cache = self.cache
        if not training:
            return super().backward(dy, param_grads=param_grads, input_grad=input_grad)
        dx, dgamma, dbeta = ops.batch_norm_evaluation_backward(dy, self.gamma, cache)  # as if mu and var were constants
        if param_grads:
            self.dgamma[...], self.dbeta[...] = dgamma, dbeta
        xhat, rstd = cache
        sums = self.ranks.sum(ops.stack(dgamma[None], dbeta[None])) / (self.ranks.size * len(dy))
        return dx - self.gamma * rstd * (xhat * sums[0] + sums[1]) if input_grad else None
