"""Play a new run, or one from its checkpoint, up to a given step."""

from minigan import data
from minigan.evaluation.progress import Progress
from minigan.storage import archive
from minigan.training.config import Config, flag, require_known
from minigan.training.on_gpu import choose_device
from minigan.training.state import Run, T, config_of

MOVABLE = ('data', 'cycle', 'device')  # of a run that is there: where its images are, what computes


def played(path=None, step=None, *, quiet=False, **choices):
    """A Run of which `step` steps are done; it writes nothing.

    path: of a run's folder or a checkpoint. None: a new run, and choices are those of minigan.train; those about files
    have no effect. step: None: 0 of a new run, and all that a checkpoint has. A step before the checkpoint's is reached
    from the start.
    It computes with NumPy, layer by layer, unless a device is chosen; the numbers are those of the CPU.
    Raises ValueError for a step that the run does not have, and what training raises.
    """
    require_known(choices)
    progress = Progress(quiet)
    device = choose_device(choices.get('device', 'numpy'), progress.say)
    if path is None:
        config, arrays = Config(**choices), None
        dataset = data.load(config.data, config.cycle)
    else:
        if fixed := [flag(name) for name in choices if name not in MOVABLE]:
            raise ValueError(f'{", ".join(fixed)}: expected none with a run, which has made its choices')
        arrays, about = archive.load(path)
        with archive.errors_name(path):
            config = config_of(about)
        dataset = data.of_run(about, choices.get('data'), choices.get('cycle'))
    run = Run(config, dataset, device)
    if path is not None and (step is None or int(arrays.get(T, 0)) <= step < run.last):
        with archive.errors_name(path):
            run.restore(arrays)
    step = run.t if step is None else step
    if not 0 <= step < max(run.last, run.t + 1):
        raise ValueError(f'step: expected 0 to {run.last - 1}, the last one of this run, got {step}')
    if run.t < step:
        with progress.bar(step, run.t) as bar:
            while run.t < step:
                run.step()
                bar.update()
    return run


def one_thread():
    """A context in which BLAS has one thread: for small products it is as fast, and steps round alike on all machines
    with the same BLAS, however many cores they have."""
    from threadpoolctl import threadpool_limits
    return threadpool_limits(1)
