"""Signs that a run goes wrong though its numbers stay finite, such as a D that has won, and remedies."""

from typing import Callable, NamedTuple


class Symptom(NamedTuple):
    """What to look for in the log, and what to do about it.

    shows(row, largest norm of G's gradient so far): whether a row has it. text: for the user. lasts: (fewest, most):
    it must last for half of the run, but for at least `fewest` and at most `most` steps. probability: whether D must be
    one whose answers are probabilities (True), or must not be one (False); None: either.
    """

    shows: Callable
    text: str
    lasts: tuple = (100, 1000)
    probability: bool | None = None


SYMPTOMS = {
    'D has won': Symptom(
        lambda row, largest_norm: row['train_D_x'] > 0.85 and row['train_D_G_z'] < 0.05,
        'D(x) > 0.85 and D(G(z)) < 0.05 (at step {step}: {train_D_x:.4f} and {train_D_G_z:.4f}), and G does not catch '
        'up. First look for what holds G back: layers between its last Dense and tanh (--network default has none) or '
        'a large --learning-rate-G. Then slow D down with a smaller --learning-rate-D.', probability=True),
    'D prefers samples to data': Symptom(
        lambda row, largest_norm: row['train_D_x'] < row['train_D_G_z'],
        'its mean output is larger for samples than for the images it learns from (at step {step}: {train_D_G_z:.3g} '
        'and {train_D_x:.3g}), so G follows a wrong gradient. Take more steps of D (-k) or a larger '
        '--learning-rate-D.', probability=False),
    "G's gradient has vanished": Symptom(
        lambda row, largest_norm: row['gradient_norm_G'] < 1e-3 * largest_norm,
        'its norm was below a thousandth of its largest (at step {step}: {gradient_norm_G:.1e}), and G hardly moves. '
        '--objective nonsaturating keeps a gradient where D is sure of a fake. If G already has that objective, its '
        'own units are saturated: take a smaller --learning-rate-G.', probability=True),
    "G's gradient has nearly vanished": Symptom(
        lambda row, largest_norm: row['gradient_norm_G'] < 1e-3 * largest_norm,
        'its norm was below a thousandth of its largest (at step {step}: {gradient_norm_G:.1e}), and G hardly moves. '
        'Take a larger --clip-weights if there is one, or a smaller --learning-rate-G.', probability=False),
    'the samples have collapsed': Symptom(
        lambda row, largest_norm: row['spread'] < 0.4,
        'their total variance was less than 0.4 of that of the data (at step {step}: {spread:.2g}): many z give nearly '
        'the same image. Take a smaller --learning-rate-G, or a --learning-rate-D that is closer to it. best.npz may '
        'be from before the collapse.', lasts=(1000, 1000)),  # an untrained G draws much the same for every z, too
    'the losses have exploded': Symptom(
        lambda row, largest_norm: max(abs(row['train_L_D']), abs(row['train_L_G'])) > 100,
        'L_D is {train_L_D:.1e} and L_G is {train_L_G:.1e} at step {step}: a loss of 100 stands for a probability '
        'of e^-100. Take a smaller --learning-rate-D and a smaller --learning-rate-G.', lasts=(0, 0),
        probability=True),
    "D's output has exploded": Symptom(
        lambda row, largest_norm: max(abs(row['train_L_D']), abs(row['train_L_G'])) > 1e4,
        'L_D is {train_L_D:.1e} and L_G is {train_L_G:.1e} at step {step}: nothing bounds how steep D is. Take a '
        'smaller --learning-rate-D, a larger --gradient-penalty or a smaller --clip-weights.', lasts=(0, 0),
        probability=False),
}


class Watch:
    """Reads the log of a run, row by row, and warns once of each symptom that lasts.

    steps: of the whole run. rows: of its log so far. probability: whether D's answers are probabilities.
    """

    def __init__(self, steps, rows=(), *, probability=True):
        self.half, self.largest_norm, self.since, self.warned = steps // 2, 0.0, {}, set()
        self.symptoms = {name: symptom for name, symptom in SYMPTOMS.items()
                         if symptom.probability in (None, probability)}
        for row in rows:
            self.read(row)

    def read(self, row):
        """The new warnings after a row, a dict with the columns of log.csv."""
        self.largest_norm = max(self.largest_norm, row['gradient_norm_G'])
        return [warning for name, symptom in self.symptoms.items() if (warning := self._warning(name, symptom, row))]

    def _warning(self, name, symptom, row):
        if not symptom.shows(row, self.largest_norm):
            self.since.pop(name, None)
            return None
        lasted = row['step'] - self.since.setdefault(name, row['step'])
        fewest, most = symptom.lasts
        if name in self.warned or lasted < min(most, max(fewest, self.half)):
            return None
        self.warned.add(name)
        return f'{name}: {f"for {lasted} steps " if most else ""}{symptom.text.format(**row)}'


def warnings(rows, steps, *, probability=True):
    """All warnings for the log of a run. rows: dicts with the columns of log.csv; steps: of the whole run."""
    watch = Watch(steps, probability=probability)
    return [warning for row in rows for warning in watch.read(row)]
