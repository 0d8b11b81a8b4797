"""Packing: D reads `pac` images of one kind as one, so it sees a lack of variety that no single sample betrays.

Lin et al. 2018, PacGAN: the power of two samples in generative adversarial networks, section 2. As in the paper, only
the first layer of D grows, and G is as before. Differences: a minibatch of m images makes m / pac packs of neighbours
in it; the networks are those of any recipe. A convolutional D reads a pack as one tall image, so its first dense layer
grows; the paper's reads the images as channels of one.
"""

from dataclasses import replace

from minigan.layers import Layer


class Pack(Layer):
    """`pac` rows side by side as one, so that D judges several images at once.   (m, n) -> (m / pac, pac n)"""

    def __init__(self, pac):
        if pac < 1:
            raise ValueError(f'Pack: expected at least 1 row, got {pac}')
        self.block = pac

    def forward(self, x, *, training, rng):
        if len(x) % self.block:
            raise ValueError(f'{self}: expected a number of rows that {self.block} divides, got x of shape {x.shape}')
        return x.reshape(len(x) // self.block, -1)

    def backward(self, dy, *, param_grads, input_grad):
        return dy.reshape(len(dy) * self.block, -1) if input_grad else None

    def tangent(self, v):
        """J v, the rows of v side by side."""
        return v.reshape(len(v) // self.block, -1)

    def tangent_backward(self, dt, v):
        """(dx, dv) for <dt, J v>."""
        return 0 * v, dt.reshape(v.shape)

    def __repr__(self):
        return f'Pack({self.block})'


def packed(recipe, pac):
    """The Recipe whose D reads `pac` images of one kind as one. Raises ValueError, in D, if D already reads blocks."""
    def D(shape):
        layers = recipe.D((pac * shape[0], *shape[1:]))
        for layer in layers:
            if layer.block > 1:
                raise ValueError(f'packed: expected a D that reads single rows, got one with {layer}')
        return [Pack(pac), *layers]
    return replace(recipe, D=D)
