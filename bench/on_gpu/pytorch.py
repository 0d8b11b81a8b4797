"""PyTorch's functions, timed in this process as CuPy's are; both share the GPU."""

from on_gpu import clock
from on_gpu.clock import Replayed, repeat


def missing():
    """Why PyTorch cannot be compared, or None. Turns TF32 off."""
    try:
        import torch
    except ImportError as error:
        return f'PyTorch is missing: {error}'
    if not torch.cuda.is_available():
        return f'PyTorch {torch.__version__} finds no GPU'
    torch.set_float32_matmul_precision('highest')
    return None


def operations(arguments):
    """name -> PyTorch's function for the arguments of that kernel; none without PyTorch."""
    if missing():
        return {}
    from references import pytorch_cuda
    return pytorch_cuda.operations(arguments, 'cuda')


class ReplayedByPyTorch(Replayed):
    """A PyTorch function in a CUDA graph."""

    how = 'PyTorch graph'

    def __init__(self, function):
        from references.pytorch_graph import captured
        self.calls, self.graph = clock.CALLS, captured(function, clock.CALLS)

    def replay(self, replays):
        """The seconds of some replays."""
        import torch
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        repeat(self.graph.replay, replays)
        end.record()
        end.synchronize()
        return max(1e-3 * start.elapsed_time(end), 1e-9)
