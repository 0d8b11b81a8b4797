"""A whole step in PyTorch as one CUDA graph, which is its fastest form when launches take longer than kernels."""

from functools import cached_property

import torch
from references.pytorch import PyTorch


def captured(function, times=1):
    """The function, called a number of times, as a torch.cuda.CUDAGraph; replay() does all of it anew.

    First it is called on a stream of its own, three times, as PyTorch's notes on CUDA semantics ask for.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            function()
    return graph


class Graphed(PyTorch):
    """mode: as PyTorch's, but not 'reduce-overhead' and not 'eager'. The graph draws the noise and the dropout too."""

    capturable = True

    @cached_property
    def graph(self):
        """The step on the rows in self.chosen."""
        self.chosen = torch.zeros(self.m, dtype=torch.long, device=self.device)
        return captured(lambda: self.draw_and_step(self.chosen))

    def run(self, rows):
        graph = self.graph
        for chosen in torch.tensor(rows, device=self.device):
            self.chosen.copy_(chosen)
            graph.replay()
        torch.cuda.synchronize()

    def gradients(self, x, z_D, z_G):
        given = [torch.tensor(array, device=self.device) for array in (x, z_D, z_G)]
        weights = [w.data for net in (self.G, self.D) for w in net.parameters()]
        at_start = [w.clone() for w in weights]

        def step():
            self.zero_grad()
            self.step(*given)

        graph = captured(step)  # takes some steps
        for w, start in zip(weights, at_start):
            w.copy_(start)
        for adam in (self.adam_G, self.adam_D):
            for moments in adam.state.values():
                for moment in moments.values():
                    moment.zero_()
        graph.replay()
        return self.found()
