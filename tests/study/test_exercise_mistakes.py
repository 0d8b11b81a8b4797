"""For every exercise: the package's own body passes, the empty one and each typical mistake get words of their own."""

import ast
import inspect
import re
from textwrap import dedent, indent

import pytest

from minigan.cli import main
from minigan.gpu.emulator import COMPILER
from minigan.study.evidence import EVIDENCE
from minigan.study.exercises.catalogue import EXERCISES
from minigan.study.exercises.check import check
from minigan.study.exercises.template import source

GAP = r' +(#|//) Write the body here\.'
MISTAKES = {  # exercise -> bodies as a student writes them, each followed by words that must be in the answer
    'leaky_relu_backward': '''
        return np.where(x >= 0, dy, slope * dy)
        -> At the kink, x = 0, dx has the slope of the right side
        return dy * (x > 0)
        -> the left side is missing: the term slope * dy where x < 0 has the coefficient 0
        dx = np.full_like(x, slope)
        dx[x > 0] = 1
        return dx
        -> dx lacks the factor dy
        return np.maximum(dy, slope * dy)
        -> the sign of dy; the slope depends on x
        dx = np.where(x > 0, dy, -slope * dy)
        return dx
        -> the left side has the wrong sign
        dy[x <= 0] *= slope
        return dy
        -> The argument dy is changed in place
        return dy * np.where(x > 0, 1.0, slope).astype(float)
        -> np.where with Python numbers, np.zeros and np.ones give float64: multiply, or use .astype(dy.dtype).
        return np.where(x > 0, dy, slope)
        -> dx lacks the factor dy on the left side
        return slope * dy
        -> the right side is slope times what it should be
    ''',
    'tanh_backward': '''
        return dy / np.cosh(y)**2
        -> the tanh has been taken of it once more
        return (1 - y) * (1 + y)
        -> dx lacks the factor dy
        return dy * (1 + y * y)
        -> the square of the output has the wrong sign
        return dy - dy * y
        -> y is not squared
        return dy * (y - y * y)
        -> the derivative of the sigmoid
        y *= y
        return dy * (1 - y)
        -> The argument y is changed in place: y[0, 0] was
        return (dy * (1 - y**2)).mean(axis=0)
        -> expected the shape (7, 5), got (5,): it is averaged
    ''',
    'dense': '''
        return np.dot(x, W)
        -> the bias is missing: the term b has the coefficient 0
        return x @ W + b
        -> TypeError: unsupported operand type(s) for +: 'float' and 'NoneType'. It was called with x
        y = np.einsum("mi,ji->mj", x, W)
        return y if b is None else y + b
        -> W is transposed
        return x @ W - (0 if b is None else b)
        -> the bias has the wrong sign
        return (x if b is None else x + b) @ W
        -> The bias is multiplied by W too
        y = x @ W
        if b:
            y += b
        return y
        -> The truth value of an array
    ''',
    'dense_backward_input': '''
        return np.matmul(dy, W)
        -> W is not transposed
        return W @ dy.T
        -> got (4, 7): it is the transpose of what is expected
        return dy @ W.T / len(dy)
        -> dx is 1/m of what it should be: divided by m once too often
        return -dy @ W.T
        -> dx has the wrong sign
        return (dy @ W.T).sum(axis=0)
        -> got (4,): it is summed over the minibatch
    ''',
    'dense_backward_params_': '''
        dW = x.T @ dy
        db = dy.sum(axis=0)
        -> would only give the name a new value; write into the array, as in dW[...] =.
        dW += x.T @ dy
        if db is not None:
            db += dy.sum(axis=0)
        -> dW is added to what lay there
        dW[...] = x.T @ dy / len(x)
        if db is not None:
            db[...] = dy.mean(axis=0)
        -> db is 1/m of what it should be: divided by m once too often
        dW[...] = dy.T @ x if dW.shape[0] == dW.shape[1] else x.T @ dy
        if db is not None:
            db[...] = sum(dy)
        -> dW is transposed
        dW[...] = x.T @ dy
        db[...] = dy.sum(axis=0)
        -> TypeError: 'NoneType' object does not support item assignment
        dW[...] = x.T @ dy
        -> db is not touched
        dW[...] = np.outer(x[0], dy[0])
        if db is not None:
            db[...] = dy.sum(0)
        -> Only the first row
    ''',
    'dropout': '''
        mask = (bits / 2**16 >= rate).astype(x.dtype)
        return x * mask, mask
        -> are not scaled up
        mask = (bits < rate * 2**16).astype(x.dtype) / (1 - rate)
        return x * mask, mask
        -> The mask is inverted
        on = np.random.random(x.shape) >= rate
        mask = on / (1 - rate)
        return x * mask, mask
        -> Two calls with the same arguments give different results
        mask = (bits >= rate * 2**16) / (1 - rate)
        return x * mask
        -> returns one value, expected 2: y, mask
        mask = bits > int(rate * 2**16)
        mask = mask.astype(x.dtype) / (1 - rate)
        return mask * x, mask
        -> exactly rate * 2**16 is dropped
        mask = bits >= rate * 2**16
        return x * mask / (1 - rate), mask
        -> mask: expected the dtype float64
    ''',
    'dropout, dropout_backward': '''
        return np.where(mask != 0, dy, 0)
        -> dropout_backward: The derivative of y = x * mask is the mask with its scale
        return dy
        -> nothing flows back through a unit that is off
        return mask
        -> dx lacks the factor dy
        return dy / mask
        -> is not finite
    ''',
    'cross_entropy': '''
        p = 1 / (1 + np.exp(-logit))
        return np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p))
        -> The log is taken of a sigmoid that has rounded to 0 or 1
        p = np.clip(1 / (1 + np.exp(-logit)), 1e-7, 1 - 1e-7)
        return -np.mean(target * np.log(p) + (1 - target) * np.log1p(-p))
        -> The sigmoid is clipped before the log
        return (target * softplus(-logit) + (1 - target) * softplus(logit)).sum()
        -> loss is m times as large
        return (target * softplus(logit) + (1 - target) * softplus(-logit)).mean()
        -> are exchanged
        return target * softplus(-logit).mean()
        -> the part of 1 - t is missing
        return -(target * softplus(-logit) + (1 - target) * softplus(logit)).mean()
        -> loss has the wrong sign
        return target * softplus(-logit) + (1 - target) * softplus(logit)
        -> loss: expected the shape (), got (7, 1)
    ''',
    'cross_entropy_backward': '''
        return (sigmoid(logit) - target) / logit.shape[0]
        -> D - t cancels
        return (1 - target) * sigmoid(logit) - target * sigmoid(-logit)
        -> dlogit is m times as large
        return (target * sigmoid(-logit) - (1 - target) * sigmoid(logit)) / len(logit)
        -> dlogit has the wrong sign
        return (1 - target) * sigmoid(logit) / len(logit)
        -> the part of the target t is missing
        p = sigmoid(logit)
        return p * (1 - p) * (p - target) / len(logit)
        -> is an extra factor
        p = sigmoid(logit)
        return ((1 - target) / (1 - p) - target / p) / len(logit)
        -> The derivative is taken with respect to D; the argument is the logit
        e = np.exp(logit)
        return (e / (1 + e) - target) / len(logit)
        -> The exponential overflows
    ''',
    'L_D_backward': '''
        dreal = cross_entropy_backward(real, target=1 - smoothing)
        return -dreal, -cross_entropy_backward(fake, target=0)
        -> dreal has the wrong sign
        return cross_entropy_backward(real, target=0), cross_entropy_backward(fake, target=1 - smoothing)
        -> The targets are exchanged
        return cross_entropy_backward(real, target=1 - smoothing), cross_entropy_backward(fake, target=1)
        -> The samples have the target 1, which is what G wants
        return cross_entropy_backward(real, target=1), cross_entropy_backward(fake, target=0)
        -> With smoothing = 0.1: Smoothing is left out
        return (cross_entropy_backward(real, target=1 - smoothing),
                cross_entropy_backward(fake, target=smoothing))
        -> smoothing is one-sided
        m = len(real) + len(fake)
        p, q = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
        return (p - 1 + smoothing) / m, q / m
        -> divided by 2m, the rows of both
        m = len(real)
        return (real - 1 + smoothing) / m, fake / m
        -> real and fake are logits, not probabilities: D = sigmoid(logit).
        m = len(real)
        return -(1 - smoothing) / (m * real) + smoothing / (m - m * real), 1 / (m * (1 - fake))
        -> real and fake are logits, not probabilities: D = sigmoid(logit).
        p, q = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
        return -((1 - smoothing) / p - smoothing / (1 - p)) / len(p), 1 / (1 - q) / len(q)
        -> the slope of the sigmoid, D (1 - D), is missing
        return np.concatenate([cross_entropy_backward(real, target=1), cross_entropy_backward(fake, target=0)])
        -> returns one value, expected 2: dreal, dfake
    ''',
    'L_G_nonsaturating_backward': '''
        return -1 / (1 + np.exp(-fake)) / len(fake)
        -> the derivative of the minimax loss
        return (fake - 1) / fake.shape[0]
        -> fake is a logit, not a probability: D(G(z)) = sigmoid(fake).
        return 1 / (1 + np.exp(-fake)) / len(fake)
        -> dfake is the derivative that D descends
        return (1 - 1 / (1 + np.exp(-fake))) / len(fake)
        -> dfake has the wrong sign
        D = 1 / (1 + np.exp(-fake))
        return D - 1
        -> dfake is m times as large as it should be: a sum
        D = 1 / (1 + np.exp(-fake))
        return -1 / (len(fake) * D)
        -> with respect to D(G(z))
    ''',
    'batch_norm': '''
        mu, var = x.mean(0), x.var(0, ddof=1)
        rstd = (var + eps)**-0.5
        xhat = rstd * (x - mu)
        return gamma * xhat + beta, (xhat, rstd), (mu, var)
        -> the unbiased variance
        mu, std = x.mean(0), x.std(0)
        xhat = (x - mu) / (std + eps)
        return gamma * xhat + beta, (xhat, 1 / (std + eps)), (mu, std**2)
        -> eps is added outside the root
        mu, var = x.mean(), x.var()
        rstd = 1 / np.sqrt(var + eps)
        xhat = (x - mu) * rstd
        return gamma * xhat + beta, (xhat, rstd), (mu, var)
        -> rstd: expected the shape (5,), got ()
        mu, var = x.mean(0), x.var(0)
        rstd = 1 / np.sqrt(var + eps)
        xhat = (x - mu) * rstd
        return gamma * xhat, (xhat, rstd), (mu, var)
        -> the shift is missing: the term beta has the coefficient 0
        mu, var = x.mean(0), x.var(0)
        rstd = 1 / np.sqrt(var + eps)
        x -= mu
        x *= rstd
        return gamma * x + beta, (x, rstd), (mu, var)
        -> The argument x is changed in place
        mu, var = x.mean(0), x.var(0)
        xhat = (x - mu) / np.sqrt(var + eps)
        return gamma * xhat + beta, (xhat, var), (mu, var)
        -> The cache holds the variance
        mu, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
        rstd = 1 / np.sqrt(var + eps)
        xhat = (x - mu) * rstd
        return gamma * xhat + beta, (xhat, rstd), (mu, var)
        -> rstd: expected the shape (5,), got (7, 1)
    ''',
    'batch_norm_backward': '''
        return gamma * cache[1] * (dy - dy.mean(axis=0)), dy.sum(axis=0)
        -> It returns 2 values, expected 3: dx, dgamma, dbeta
        xhat, rstd = cache
        dx = dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> dx lacks the factor gamma * rstd
        xhat, rstd = cache
        d = gamma * dy
        dx = rstd * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))
        return dx, (d * xhat).sum(axis=0), dy.sum(axis=0)
        -> dgamma has an extra factor gamma
        xhat, rstd = cache
        d = gamma * dy
        dx = rstd * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))
        return dx, dy.sum(axis=0), (dy * xhat).sum(axis=0)
        -> The results dgamma and dbeta are exchanged.
        xhat, rstd = cache
        d = gamma * dy
        return rstd * (d - d.mean(axis=0)), dy.sum(axis=0), (dy * xhat).sum(axis=0)
        -> The results dgamma and dbeta are exchanged. dx: the path through the variance is missing
        xhat, rstd = cache
        dgamma, dbeta, m = dy.sum(0), (dy * xhat).sum(0), len(dy)
        return gamma * rstd * (dy - dbeta / m - xhat * dgamma / m), dgamma, dbeta
        -> The results dgamma and dbeta are exchanged. In dx, dgamma and dbeta are exchanged
        xhat, rstd = cache
        return dy**3, dy.sum(axis=0), (dy * xhat).sum(axis=0)
        -> The results dgamma and dbeta are exchanged. dx differs in 35 of 35 entries
        xhat, rstd = cache
        m, dgamma, dbeta = dy.shape[1], (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return gamma * rstd * (dy - dbeta / m - xhat * dgamma / m), dgamma, dbeta
        -> the path through the mean is divided by n = 5, the number of columns, not by m = 7, the rows
        xhat, rstd = cache
        m, dxhat, centred = len(dy), gamma * dy, xhat / rstd
        dvar = (dxhat * centred).sum(axis=0) * -0.5 * rstd**2
        dmu = -(dxhat * rstd).sum(axis=0)
        dx = dxhat * rstd + dvar * 2 * centred / m + dmu / m
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> the path through the variance is off. Its coefficient differs from column to column: a power of rstd is wrong
        xhat, rstd = cache
        m, dxhat, centred = len(dy), gamma * dy, xhat / rstd
        dvar = (dxhat * centred).sum(axis=0) * -0.5 * rstd**3
        dx = dxhat * rstd + dvar * 2 * centred / m - (dxhat * rstd**2).sum(axis=0) / m
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> a power of rstd is wrong, and the term -dbeta / m has an extra factor rstd
        xhat, rstd = cache
        dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return gamma * rstd * (dy - rstd**2 * xhat * dgamma / len(dy)), dgamma, dbeta
        -> dx: the path through the mean is missing. dx: the path through the variance is off.
        xhat, rstd = cache
        d = gamma * dy
        dx = rstd * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0) / rstd)
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> a power of rstd is wrong, and the term -xhat * dgamma / m lacks the factor rstd
        xhat, rstd = cache
        d = gamma * dy
        dx = rstd * (d - d.mean(axis=0) - xhat * (d * xhat).sum(axis=0) / (len(d) - 1))
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> the path through the variance is divided by m - 1 instead of m
        xhat, rstd = cache
        d = gamma * dy
        return rstd * (d - d.mean(axis=0)), (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> the path through the variance is missing: the term -xhat * dgamma / m has the coefficient 0
        xhat, rstd = cache
        d = gamma * dy
        return rstd * d, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        -> the path through the mean is missing: the term -dbeta / m has the coefficient 0
        xhat, rstd = cache
        dgamma, dbeta = (dy * xhat).sum(0), dy.sum(0)
        return gamma * rstd * (dy - dbeta - xhat * dgamma), dgamma, dbeta
        -> the path through the variance is m times as large as it should be: a sum over the minibatch
        xhat, rstd = cache
        n = len(dy)
        dgamma, dbeta = (dy * xhat).sum(0), dy.sum(0)
        return rstd / n * (n * dy - dbeta - xhat * dgamma), dgamma, dbeta
        -> dx lacks the factor gamma
        xhat, rstd = cache
        d = gamma * dy
        return (rstd * (d - d.mean(0) - xhat * (d * xhat).mean(0)),
                (dy * xhat).mean(0), dy.mean(0))
        -> dgamma is 1/m of what it should be
        xhat, rstd = cache
        dgamma, dbeta, n = (dy * xhat).sum(0), dy.sum(0), len(dy)
        return gamma * rstd * (dy - dbeta / n + xhat * dgamma / n), dgamma, dbeta
        -> the path through the variance has the wrong sign
        xhat, std = cache
        dgamma, dbeta, n = (dy * xhat).sum(0), dy.sum(0), len(dy)
        return gamma / std * (dy - dbeta / n - xhat * dgamma / n), dgamma, dbeta
        -> rstd divides dx
    ''',
}

EDITS = {  # exercise -> a correct body, then a line for each mistake: what is replaced => by what -> words
    'adam_': '''
        if m is None:
            m = dtheta
        else:
            m *= beta1
            m += dtheta
        v *= beta2
        v += dtheta * dtheta
        n1, n2 = (1 - beta1**t) / (1 - beta1), (1 - beta2**t) / (1 - beta2)
        theta -= learning_rate * m / n1 / (np.sqrt(v / n2) + eps)

        m / n1 / (np.sqrt(v / n2) + eps) => m / (np.sqrt(v) + eps) -> The bias is not corrected
        (np.sqrt(v / n2) + eps) => np.sqrt(v / n2 + eps) -> eps lies under the root
        + eps => -> eps is missing
        learning_rate * m / n1 => m / n1 -> theta lacks the factor learning_rate
        v *= beta2 => v *= beta1 -> m and v fade with the wrong beta
        theta -= => theta += -> theta has the wrong sign
        theta -= => theta = theta - -> write into the array, as in theta[...] = or with +=.
        m += dtheta => m += (1 - beta1) * dtheta -> m or v is the paper's
        v += dtheta * dtheta => v += dtheta -> v is the sum of the gradients
        **t => **(t + 1) -> t is one step ahead
        if m is None: => if False: -> TypeError: unsupported operand type(s) for *=: 'NoneType'
        dtheta * dtheta => np.square(dtheta, out=dtheta) -> The argument dtheta is changed in place
    ''',
    'Game.update_D': '''
        samples = self.G.forward(z, rng=rng, keep_cache=False)
        real, fake = self.logits(x, samples, rng)
        dlogits = self.L_D_backward(real, fake)
        self.D.backward(dlogits)
        self.optimizer_D.step()
        return real, fake

        self.optimizer_D.step() => pass -> theta_D does not move
        dlogits = => dlogits = - -> The move of theta_D has the wrong sign: D descends L_D
        , keep_cache=False => -> After update_D a cache waits in G: pass keep_cache=False to G.forward.
        D.backward(dlogits) => D.backward(dlogits, keep_cache=True) -> After update_D a cache waits in D
        D.backward(dlogits) => D.backward(dlogits, param_grads=False) -> No derivatives of parameters were computed
        return real, fake => return self.D(x), self.D(samples) -> These are the logits after the update
        return real, fake => return self.logits(x, samples, rng) -> These are the logits after the update
        z, rng=rng => z -> Its layers draw random numbers in training: pass rng=rng.
        D.backward(dlogits) => D.backward(dlogits[len(x):]) -> Each backward belongs to one forward
        self.logits(x, samples, rng) => np.split(self.D(np.concatenate([x, samples])), 2) -> G(z) and D(x) are for
        self.logits(x, samples, rng) => np.split(self.D.forward(np.r_[x, samples], training=False), 2) -> in evaluation
        self.logits(x, samples, rng) => [self.D.forward(q, rng=rng) for q in (x, samples)] -> A net has one cache
        optimizer_D.step() => optimizer_D.step(); self.optimizer_G.step() -> theta_G moves, and it must stay
        L_D_backward(real, fake) => L_D_backward(fake, real) -> real and fake are exchanged
        return real, fake => return fake, real -> The results real and fake are exchanged.
        logits(x, samples, rng) => logits(samples, x, rng) -> The samples stand first
        self.G.forward(z, rng=rng, keep_cache=False) => self.G(z) -> G draws in evaluation mode
        D.backward(dlogits) => D.backward(dlogits * (dlogits > 0)) -> the gradient of the data is missing
        return real, fake => return -> It returns None, expected real, fake
    ''',
    'Game.update_G': '''
        samples = self.G.forward(z, rng=rng)
        fake = self.D.forward(samples, rng=rng)
        dlogits = self.L_G_backward(fake)
        self.G.backward(self.D.backward(dlogits, param_grads=False))
        self.optimizer_G.step()
        return fake

        dlogits = => dlogits = - -> The move of theta_G has the wrong sign: G descends L_G.
        self.L_G_backward(fake) => self.L_D_backward(fake, fake)[len(z):] -> G descends D's loss
        self.L_G_backward(fake) => -self.L_D_backward(fake, fake)[len(z):] -> G descends the minimax loss
        optimizer_G.step() => optimizer_G.step(); self.optimizer_D.step() -> theta_D moves, and it must stay
        optimizer_G => optimizer_D -> theta_G does not move
        , param_grads=False => -> dtheta_D is written, though D does not move: pass param_grads=False
        param_grads=False) => param_grads=False, keep_cache=True) -> After update_G a cache waits in D
        (samples, rng=rng) => (samples, training=False) -> D reads the samples in evaluation mode
        param_grads=False)) => param_grads=False), param_grads=False) -> No derivatives of parameters were computed
        return fake => return self.D(self.G(z)) -> These are the logits after the update
        return fake => return 1 / (1 + np.exp(-fake)) -> These are probabilities
        self.G.forward(z, rng=rng) => self.G(z) -> G(z) and D(x) are for evaluation: use forward
        self.D.backward(dlogits, param_grads=False) => dlogits -> G: expected dy as y, (6, 2) float64, got (6, 1)
        return fake => return -> It returns None, expected fake
    ''',
    'Game.alternating': '''
        for i in range(self.k):
            z = self.noise(t, i)
            x = self.minibatch(t * self.k + i)
            real, fake = self.update_D(x, z, self.layer_rng(t, i))
        z = self.noise(t, self.k)
        return real, fake, self.update_G(z, rng=self.layer_rng(t, self.k))

        t * self.k + i => t -> Each step of D takes the next minibatch, number t * k + i
        z = self.noise(t, self.k) => pass -> G's step draws new noise, number k
        range(self.k) => range(1) -> With k = 3 and t = 2: expected 3 steps of D, got 1
        z = self.noise(t, self.k) => self.update_G(z, 0) -> expected 1 step of G, got 2
        return real, fake, => return -> It returns fake logits of update 2, update_G, expected
        (x, z, self => (z, x, self -> x is noise; data come from minibatch, and x stands before z
        layer_rng(t, i) => layer_rng(t, 0) -> The numbers that layers draw belong to the same (t, i)
        noise(t, i) => noise(t, 0) -> Each step of D draws new noise, number i
        self.noise(t, i) => self.draw_z(t, i) -> AttributeError: draw_z: expected one of k, noise
        (x, z, self.layer_rng(t, i)) => (x, z) -> TypeError: update_D: expected x, z, rng, got 2 arguments
    ''',
    'tanh_backward_kernel': '''
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < size) dx[i] = dy[i] * (1 - y[i] * y[i]);

        if (i < size) => -> A thread whose i is not below size has no element
        blockIdx.x * blockDim.x + => -> Two blocks write the same element
        + threadIdx.x => -> Two threads write the same element
        blockDim.x => 256 -> a block has a fixed number of threads in the index
        y[i] * y[i] => y[i] -> y is not squared
        1 - y => 1 + y -> the square of the output has the wrong sign
    ''',
}
G_FIRST = '''
    moved = self.update_G(self.noise(t, self.k), self.layer_rng(t, self.k))
    for i in range(self.k):
        real, fake = self.update_D(self.minibatch(t * self.k + i), self.noise(t, i), self.layer_rng(t, i))
    return real, fake, moved
'''
TWO_PASSES = '''
    samples = self.G.forward(z, rng=rng, keep_cache=False)
    real = self.D.forward(x, rng=rng)
    self.D.backward((1 / (1 + np.exp(-real)) - 1) / len(x))
    fake = self.D.forward(samples, rng=rng)
    self.D.backward(1 / (1 + np.exp(-fake)) / len(x))
    self.optimizer_D.step()
    return real, fake
'''


def split(text):
    """(body, words) of each mistake of a text."""
    bodies = re.split(r'^-> (.*)$', dedent(text), flags=re.MULTILINE)
    return [(body.strip('\n'), says) for body, says in zip(bodies[::2], bodies[1::2])]


def edited(text):
    """(body, words) of each mistake of a text of edits."""
    body, lines = dedent(text).strip('\n').split('\n\n')
    for line in lines.splitlines():
        old, new, says = re.fullmatch(r'(.*?) =>(.*?) -> (.*)', line).groups()
        assert old in body, old
        yield body.replace(old, new.strip()), says


def cases():
    """(exercise, function, body, words) of every mistake."""
    for name, text in MISTAKES.items():
        name, _, function = name.partition(', ')
        for body, says in split(text):
            yield EXERCISES[name], function or EXERCISES[name].functions[0].name, body, says
    for name, text in EDITS.items():
        for body, says in edited(text):
            yield EXERCISES[name], EXERCISES[name].functions[0].name, body, says


CASES = list(cases())


def answer(exercise, bodies, folder):
    """The outcome of a check of a file with such bodies; bodies: name of a function -> its body."""
    path = folder / f'{exercise.name}{exercise.suffix}'
    text = exercise.template(path)
    for function in exercise.functions:
        body = indent(dedent(bodies[function.name]).strip('\n'), '    ')
        text, found = re.subn(GAP, lambda _: body, text, count=1)
        assert found
    path.write_text(text)
    return check(exercise, path)


def own(exercise):
    """name of a function -> the package's body."""
    if exercise.suffix == '.cu':
        return {function.name: EDITS[exercise.name].strip('\n').split('\n\n')[0] for function in exercise.functions}
    return {function.name: body_of(source(function.own)) for function in exercise.functions}


def body_of(text):
    """The lines below the docstring."""
    first = ast.parse(text).body[0].body[1]
    return '\n'.join(text.splitlines()[first.lineno - 1:])


@pytest.fixture(autouse=True)
def _compiler(request):
    """Skip what compiles a kernel where no compiler is."""
    exercise = getattr(request.node, 'callspec', None) and request.node.callspec.params.get('exercise')
    if exercise and exercise.suffix == '.cu' and not COMPILER:
        pytest.skip('no C++ compiler')


@pytest.mark.parametrize('exercise, function, body, says', CASES, ids=[f'{case[0].name}: {case[3]}' for case in CASES])
def test_a_mistake_gets_words_of_its_own(exercise, function, body, says, tmp_path):
    outcome = answer(exercise, own(exercise) | {function: body}, tmp_path)
    assert says in ' '.join(outcome.words), outcome.words
    assert not outcome.passed and not all(line.ok for line in outcome.lines)


def test_every_exercise_has_three_mistakes_with_different_words():
    for exercise in EXERCISES.values():
        assert len({says for other, _, _, says in CASES if other is exercise}) >= 3, exercise.name


@pytest.mark.parametrize('exercise', EXERCISES.values(), ids=EXERCISES)
def test_the_packages_own_body_passes(exercise, tmp_path):
    outcome = answer(exercise, own(exercise), tmp_path)
    assert outcome.passed and all(line.ok for line in outcome.lines), [*map(str, outcome.lines), *outcome.words]


EMPTY = {'dense_backward_params_': 'The body is empty', 'adam_': 'The body is empty',
         'Game.alternating': 'neither update_D nor update_G is called', 'tanh_backward_kernel': 'is the body empty?'}


@pytest.mark.parametrize('exercise', EXERCISES.values(), ids=EXERCISES)
def test_the_empty_body_that_start_writes_fails(exercise, tmp_path):
    path = tmp_path / 'mine'
    path.with_suffix(exercise.suffix).write_text(exercise.template(path))
    outcome = check(exercise, path.with_suffix(exercise.suffix))
    returns = exercise.functions[0].returns
    first = returns if isinstance(returns, str) else returns and returns[0]
    assert EMPTY.get(exercise.name, f'returns None, expected {first}') in ' '.join(outcome.words)


@pytest.mark.parametrize('name, body, says, not_said', [
    ('adam_', next(body for body, says in edited(EDITS['adam_']) if 'fade with' in says), 'm and v fade', 'theta'),
    ('cross_entropy', 't = round(target)\nreturn (t * softplus(-logit) + (1 - t) * softplus(logit)).mean()',
     'loss differs.', 'coefficient')])
def test_what_does_not_follow_is_not_said(name, body, says, not_said, tmp_path):
    """A result that is wrong because a different one is; coefficients that fit because there are as many of them."""
    words = ' '.join(answer(EXERCISES[name], {EXERCISES[name].functions[0].name: body}, tmp_path).words)
    assert says in words and not_said not in words


@pytest.mark.parametrize('name, body, says', [
    ('Game.alternating', G_FIRST, 'G moves before D is done'),
    ('Game.update_D', TWO_PASSES, 'D reads data and samples in two passes')])
def test_a_different_order_gets_words_of_its_own(name, body, says, tmp_path):
    exercise = EXERCISES[name]
    assert says in ' '.join(answer(exercise, {exercise.functions[0].name: body}, tmp_path).words)


@pytest.mark.parametrize('name, old, q', [('Game.update_D', 'self.D.backward(dlogits)', 'a dx'),
                                          ('Game.update_G', 'param_grads=False))', 'a dz')])
def test_a_derivative_that_nobody_reads_is_remarked_on(name, old, q, tmp_path, capsys):
    body = dedent(EDITS[name]).strip('\n').split('\n\n')[0]
    assert old in body
    outcome = answer(EXERCISES[name], {name.partition('.')[2]: body}, tmp_path)
    assert outcome.passed and outcome.remarks == [
        f'it computes {q} that nobody reads: pass input_grad=False to {name[-1]}.backward.']
    assert main(['exercise', 'check', name, str(tmp_path / f'{name}.py')]) == 0
    assert f'Correct, but it computes {q} that nobody reads' in capsys.readouterr().out
    assert answer(EXERCISES[name], own(EXERCISES[name]), tmp_path).remarks == []


def file_of(function):
    """The file of a function, within minigan."""
    return f"{inspect.unwrap(function).__module__.partition('.')[2]}.py"


UNSEEN = {'return (W @ dy.T).T'}  # numbers are correct; only the order in memory differs
BUGS = [(exercise, function.name, evidence.code, bug) for exercise in EXERCISES.values() if exercise.suffix == '.py'
        for function in exercise.functions for evidence in EVIDENCE
        if (evidence.file, evidence.function) == (file_of(function.own), function.name)
        for bug in evidence.bugs if bug.wrong not in UNSEEN]


@pytest.mark.parametrize('exercise, function, code, bug', BUGS, ids=[f'{case[1]}: {case[3].words}' for case in BUGS])
def test_every_bug_that_the_evidence_plants_is_found_or_remarked_on(exercise, function, code, bug, tmp_path):
    body = own(exercise)[function]
    assert code in body
    body = 'from minigan.backend import array_module\n' + dedent(body).replace(code, bug.wrong)
    outcome = answer(exercise, own(exercise) | {function: body}, tmp_path)
    assert outcome.words or outcome.remarks
    assert 'NameError' not in ' '.join(outcome.words)
