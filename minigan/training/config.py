"""What a run is: every choice that shapes its result."""

import math
from dataclasses import dataclass, fields, replace

SCHEDULES = ('constant', 'linear')


@dataclass(frozen=True)
class Config:
    """The choices of a run. None stands for the network's own setting.

    schedule: of both learning rates, 'constant' or 'linear': they rise in the first 4 % of the run, and fall in a
    straight line to 0 at its end.
    average: samples are drawn with an average of theta_G over about the last 1 / (1 + average) of the run so far; 0:
    with theta_G itself. label_smoothing: D's target for data is 1 - this. input_noise: standard deviation of noise on
    D's inputs at first; it falls to 0 like a linear schedule. clip_norm: the largest norm of a gradient, 0 for any.

    epochs None: enough for about 3,000 steps of D, and at least 25. out None: a new folder runs/DATA-NETWORK.
    samples_every None: a tenth of the epochs. The first and the last epoch always have a picture.
    save_every: seconds between two checkpoints. tensorboard: whether to log for TensorBoard too.
    Raises ValueError for a value of another type.
    """

    network: str = 'default'
    data: str = 'digits'
    epochs: int = None
    batch: int = None
    n_z: int = None
    k: int = 1
    learning_rate_G: float = None
    learning_rate_D: float = None
    beta1: float = None
    objective: str = None
    update: str = None
    schedule: str = None
    average: float = None
    label_smoothing: float = None
    input_noise: float = None
    clip_norm: float = None
    seed: int = 0
    device: str = 'cpu'
    samples_every: int = None
    save_every: float = 30.0
    tensorboard: bool = False
    out: str = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            right = type(value) is field.type or field.type is float and type(value) is int
            if not (right or value is None and field.default is None):
                raise ValueError(f'{field.name}: expected {field.type.__name__}, got {value!r}')

    def resolve(self, recipe, dataset):
        """The same with every None but out replaced. Raises ValueError for a number out of range."""
        chosen = {field.name: getattr(recipe, field.name) for field in fields(recipe) if hasattr(self, field.name)}
        chosen['batch'] = min(recipe.batch, len(dataset.train))
        batch = self.batch if self.batch is not None else chosen['batch']
        chosen['epochs'] = max(25, math.ceil(3000 / max(1, len(dataset.train) // max(1, batch))))
        config = replace(self, **{name: value for name, value in chosen.items() if getattr(self, name) is None})
        if config.samples_every is None:
            config = replace(config, samples_every=max(1, config.epochs // 10))
        for name in ('epochs', 'n_z', 'samples_every'):
            if not 1 <= getattr(config, name) <= 10**9:
                raise ValueError(f'{name}: expected between 1 and 10**9, got {getattr(config, name)}')
        for name in ('learning_rate_G', 'learning_rate_D'):  # an optimiser would not know whose it is
            if not 0 < getattr(config, name) < 1e38:  # the largest float32 is 3.4e38
                raise ValueError(f'{name}: expected a number > 0 and below 1e38, got {getattr(config, name)}')
        for name, end in (('average', 1e38), ('label_smoothing', 1), ('input_noise', 1e38), ('clip_norm', 1e38)):
            if not 0 <= getattr(config, name) < end:
                raise ValueError(f'{name}: expected a number from 0 to below {end:g}, got {getattr(config, name)}')
        if config.schedule not in SCHEDULES:
            raise ValueError(f'schedule: expected one of {", ".join(SCHEDULES)}, got {config.schedule!r}')
        if self.beta1 is not None and not recipe.takes_beta1:
            raise ValueError(f'beta1: expected none, as {self.network} is not trained with Adam, got {self.beta1}')
        if not 0 <= config.save_every < math.inf:
            raise ValueError(f'save_every: expected seconds >= 0, got {config.save_every}')
        return config
