"""The exercises, ordered by difficulty."""

from difflib import get_close_matches

from minigan.study.exercises import algorithm, elementwise, kernel, logits, maps, moves, normalisation

EXERCISES = {exercise.name: exercise for exercise in (
    elementwise.LEAKY_RELU_BACKWARD, elementwise.TANH_BACKWARD, maps.DENSE,
    maps.DENSE_BACKWARD_INPUT, maps.DENSE_BACKWARD_PARAMS, elementwise.DROPOUT,
    logits.CROSS_ENTROPY, logits.CROSS_ENTROPY_BACKWARD,
    logits.L_D_BACKWARD, logits.L_G_NONSATURATING_BACKWARD, normalisation.BATCH_NORM,
    normalisation.BATCH_NORM_BACKWARD, moves.ADAM, moves.UPDATE_D, moves.UPDATE_G,
    algorithm.ALTERNATING, kernel.KERNEL)}


def find(name):
    """The exercise of a name, which may lack its class. Raises ValueError for an unknown one."""
    known = {**{full.rpartition('.')[2]: exercise for full, exercise in EXERCISES.items()}, **EXERCISES}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise ValueError(f'exercise: expected a name that `minigan exercise list` shows, got {name}'
                         f'{f"; did you mean {near[0]}?" if near else ""}')
    return known[name]
