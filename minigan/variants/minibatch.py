"""D compares the images of a minibatch: when G collapses, each sample may look real, but they look too much alike.

MinibatchDiscrimination (Salimans et al. 2016, Improved techniques for training GANs, section 3.2) and MinibatchStddev
(Karras et al. 2018, Progressive growing of GANs, section 3) add columns that compare a row with the others. InBlocks
makes them, and batch norm, possible in D: data are compared with data and samples with samples, as Salimans et al. do.

Differences from the papers. MinibatchDiscrimination takes the mean over j != i, where the paper sums over all j: so the
features do not depend on m, and the constant term of j = i is left out, as it is in the authors' code. That code also
adds a learned bias to the features, which the bias of the next Dense replaces here, and it scales T by learned factors
that start from the data; here T starts from N(0, 1 / n) as it is. Karras et al. take the standard deviation in groups
of 4 in their code, of each pixel of a feature map. The networks of the recipes are the default's.
"""

from dataclasses import replace
from math import prod

from minigan import ops
from minigan.backend import array_module
from minigan.layers import BatchNorm, Dense, Layer, LeakyReLU
from minigan.net import parts
from minigan.networks import RECIPES as KNOWN
from minigan.networks import default_D


class InBlocks(Layer):
    """A layer that mixes rows, applied to every `block` rows apart; the last block may be smaller.

        y = [f(rows 0 ... block - 1), f(rows block ... 2 block - 1), ...]

    D reads data and samples as one minibatch of 2m. With a block that divides m, no block holds both, so D may mix
    rows: what it then sees of one image depends on others of its kind alone. The parameters are shared by all blocks.

    A batch norm in D standardises data and samples apart (Hoffer et al. 2017 call this ghost batch norm), in each step
    with their own statistics. Its moving averages follow all blocks alike: with k = 1, those of data once and those of
    samples twice per iteration, in D's step and in G's. So in evaluation D sees data and samples through the same mixed
    statistics, and its answers there differ from those in training.
    """

    mixes_rows = False  # beyond its block

    def __init__(self, layer, block):
        if block < 1:
            raise ValueError(f'InBlocks: expected a block of at least 1 row, got {block}')
        self.layers, self.block = (layer,), block

    def forward(self, x, *, training, rng):
        (layer,), inner, ys, self.cache = self.layers, self._inner(), [], []
        for start in range(0, len(x), self.block):
            ys.append(layer.forward(x[start:start + self.block], training=training, rng=rng))
            self.cache.append([part.cache for part in inner])
        return array_module(x).concatenate(ys)

    def backward(self, dy, *, param_grads, input_grad):
        (layer,), inner, dxs = self.layers, self._inner(), []
        derivatives = [getattr(part, f'd{name}') for part in inner for name in part.shapes] if param_grads else []
        sums = [0] * len(derivatives)
        for i, caches in enumerate(self.cache):
            for part, cache in zip(inner, caches):
                part.cache = cache
            block = dy[i * self.block:(i + 1) * self.block]
            dxs.append(layer.backward(block, param_grads=param_grads, input_grad=input_grad))
            sums = [total + derivative for total, derivative in zip(sums, derivatives)]
        for derivative, total in zip(derivatives, sums):
            derivative[...] = total
        return array_module(dy).concatenate(dxs) if input_grad else None

    def _inner(self):
        """The layer and those that it is made of."""
        return [part for _, part in parts(self.layers)]

    def __repr__(self):
        return f'InBlocks({self.layers[0]}, {self.block})'


class MinibatchStddev(Layer):
    """One more column: how much the rows differ, the same number in each row.

        y = [x, s],   s = mean over columns k of std_k,   std_k = sqrt(var_k + 1e-8),   var_k over the minibatch
        dx_ik = dy_ik + (sum of ds) (x_ik - mu_k) / (n m std_k)
    """

    mixes_rows = True

    def forward(self, x, *, training, rng):
        xp = array_module(x)
        centred = x - x.mean(axis=0)
        std = xp.sqrt((centred**2).mean(axis=0) + 1e-8)
        self.cache = centred, std
        return xp.concatenate([x, xp.broadcast_to(std.mean(), (len(x), 1))], axis=1)

    def backward(self, dy, *, param_grads, input_grad):
        centred, std = self.cache
        return dy[:, :-1] + dy[:, -1].sum() / centred.size * centred / std if input_grad else None


class MinibatchDiscrimination(Layer):
    """B more columns: how near the other rows are, in each of B learned projections to C numbers.

        y = [x, o],   M_i = x_i T,   K_bij = exp(-sum over c of |M_ibc - M_jbc|),   o_ib = mean over j != i of K_bij

        dM_ibc = -sum over j of (do_ib + do_jb) K_bij sign(M_ibc - M_jbc) / (m - 1)

    x: (m, n), T: (n, B, C), M: (m, B, C), K: (m, m, B). Identical rows give o = 1, distant rows 0. m = 1 gives 0.
    """

    mixes_rows = True

    def __init__(self, n, B, C):
        if min(n, B, C) < 1:
            raise ValueError(f'MinibatchDiscrimination: expected n, B and C of at least 1, got {n}, {B} and {C}')
        self.n, self.B, self.C = n, B, C
        self.shapes = {'T': (n, B, C)}

    def init(self, rng):
        self.T[...] = rng.normal(self.T.shape, self.T.dtype) / self.n ** 0.5

    def forward(self, x, *, training, rng):
        self.check_width(x, self.n)
        xp = array_module(x)
        M = ops.dense(x, self.T.reshape(self.n, -1)).reshape(-1, self.B, self.C)
        M = xp.ascontiguousarray(xp.moveaxis(M, 2, 0))
        K = xp.exp(-sum(abs(differences(Mc)) for Mc in M))
        K *= (1 - xp.eye(len(x), dtype=x.dtype))[:, :, None] / max(1, len(x) - 1)
        self.cache = x, M, K
        return xp.concatenate([x, K.sum(axis=1)], axis=1)

    def backward(self, dy, *, param_grads, input_grad):
        x, M, K = self.cache
        xp, T, do = array_module(x), self.T.reshape(self.n, -1), dy[:, self.n:]
        P = K * (do[:, None] + do)
        dM = xp.stack([-(P * xp.sign(differences(Mc))).sum(axis=1) for Mc in M], axis=2).reshape(len(x), -1)
        if param_grads:
            ops.dense_backward_params_(dM, x, self.dT.reshape(T.shape))
        return dy[:, :self.n] + ops.dense_backward_input(dM, T) if input_grad else None

    def __repr__(self):
        return f'MinibatchDiscrimination({self.n}, {self.B}, {self.C})'


def differences(Mc):
    """M_ibc - M_jbc of all rows i and j, for one c: from (m, B) to (m, m, B)."""
    return Mc[:, None] - Mc


DEFAULT = KNOWN['default']


def stddev_D(shape):
    """The default discriminator, whose last layer also reads the standard deviation of a block."""
    return [*default_D(shape)[:-1], InBlocks(MinibatchStddev(), DEFAULT.batch), Dense(256 + 1, 1)]


def discrimination_D(shape):
    """The default discriminator, whose last layer also reads how near the rows of a block are, in 100 projections."""
    return [*default_D(shape)[:-1], InBlocks(MinibatchDiscrimination(256, 100, 5), DEFAULT.batch), Dense(256 + 100, 1)]


def batchnorm_D(shape):
    """The default discriminator with a batch norm in place of dropout; none is near the input, whose scale tells."""
    return [Dense(prod(shape), 512), LeakyReLU(0.2),
            Dense(512, 256, bias=False), InBlocks(BatchNorm(256), DEFAULT.batch), LeakyReLU(0.2),
            Dense(256, 1)]


RECIPES = {'minibatch-stddev': replace(DEFAULT, D=stddev_D),
           'minibatch-discrimination': replace(DEFAULT, D=discrimination_D),
           'batchnorm-D': replace(DEFAULT, D=batchnorm_D)}
