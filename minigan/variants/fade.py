"""Fade: a layer of two branches, of which the second fades in while a net trains. Karras et al. 2018, figure 2."""

from minigan.backend import number
from minigan.layers import Layer, Sequential
from minigan.net import parts


class Fade(Layer):
    """Two branches, of which the second fades in; one whose weight is 0 is not computed.

        y = (1 - alpha) low(x) + alpha high(x),   dx = (1 - alpha) low'(x)^T dy + alpha high'(x)^T dy

    alpha is schedule(t) in training, t the step, if there is a schedule. The state keeps it, for evaluation.
    level: which doubling of the size this is, 0, 1, ...; low, high: lists of layers.
    """

    state_shapes = {'alpha': (1,)}
    schedule = None

    def __init__(self, low, high, *, level):
        self.layers, self.level = (Sequential(*low), Sequential(*high)), level

    def init(self, rng):
        self.alpha[...] = 0

    def forward(self, x, *, training, rng):
        if training and self.schedule:
            self.check_rng(rng)
            alpha = number(self.alpha.dtype.type(self.schedule(rng.step)))  # rounded as the state rounds it
            self.alpha[...] = alpha
        else:
            alpha = float(self.alpha[0])
        self.cache = 1 - alpha, alpha
        return sum(weight * branch.forward(x, training=training, rng=rng)
                   for weight, branch in zip(self.cache, self.layers) if weight)

    def backward(self, dy, *, param_grads, input_grad):
        dx = 0
        for weight, branch in zip(self.cache, self.layers):
            if weight:
                dxi = branch.backward(weight * dy, param_grads=param_grads, input_grad=input_grad)
                dx = dx + dxi if input_grad else None
            elif param_grads:
                for _, part in parts((branch,)):
                    for name in part.shapes:
                        getattr(part, f'd{name}')[...] = 0
        return dx

    def __repr__(self):
        return f'Fade(level={self.level})'
