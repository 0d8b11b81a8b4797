"""The average of a generator's parameters over its training."""

from minigan import ops
from minigan.backend import number
from minigan.net import Net

SETTINGS = ('alpha',)  # the states that are no statistics but say how a layer works (progressive.py): they are copied


class Average:
    """A moving average of a net's parameters and state, in a second net of the same layers, which draws the samples.

        theta_bar_n = (1 - w) theta_bar_(n-1) + w theta,   w = (eta + 1) / (n + eta),   n = 1, 2, ...

    n grows by 1 every EVERY steps; until then, theta_bar is theta itself. With eta = 0 all n weigh alike; with a larger
    eta, mostly the last 1 / (eta + 1) of the run so far counts, however long it is. The average smooths out the
    back-and-forth of single minibatches. Make it before the first step, or before a checkpoint is restored.
    Shamir & Zhang 2013, section 4; for GANs Yazici et al. 2019.
    """

    EVERY = 8

    def __init__(self, net: Net, averaged: Net, *, eta: float):
        if not eta >= 0:
            raise ValueError(f'eta: expected a number >= 0, got {eta}')
        self.net, self.averaged, self.eta = net, averaged, number(eta)
        self._settings = [(slot.of(averaged.state), slot.of(net.state)) for slot in net.state_slots
                          if slot.name.endswith(SETTINGS)]
        self._start = net.theta.copy(), net.state.copy()
        self._assign(self._start)

    def update(self, t):
        """Update the average after step t = 0, 1, ..."""
        n, rest = divmod(t + 1, self.EVERY)
        if n == 0:
            self._assign((self.net.theta, self.net.state))
        elif rest == 0:
            if n == 1:
                self._assign(self._start)  # its weight is 0, but it changes the rounding of theta_bar_1
            momentum = 1 - (self.eta + 1) / (n + self.eta)
            ops.moving_average_(self.averaged.theta, self.net.theta, momentum=momentum)
            ops.moving_average_(self.averaged.state, self.net.state, momentum=momentum)
        for copy, setting in self._settings:
            copy[...] = setting

    def _assign(self, arrays):
        self.averaged.theta[...], self.averaged.state[...] = arrays

    def __repr__(self):
        return f'Average(of {self.net.name}, every {self.EVERY} steps, eta={self.eta})'
