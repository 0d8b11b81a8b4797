"""The exercises, ordered by difficulty."""

from minigan.study.exercises import algorithm, elementwise, kernel, logits, maps, moves, normalisation

EXERCISES = {exercise.name: exercise for exercise in (
    elementwise.LEAKY_RELU_BACKWARD, elementwise.TANH_BACKWARD, maps.DENSE,
    maps.DENSE_BACKWARD_INPUT, maps.DENSE_BACKWARD_PARAMS, elementwise.DROPOUT,
    logits.CROSS_ENTROPY, logits.CROSS_ENTROPY_BACKWARD,
    logits.L_D_BACKWARD, logits.L_G_NONSATURATING_BACKWARD, normalisation.BATCH_NORM,
    normalisation.BATCH_NORM_BACKWARD, moves.ADAM, moves.UPDATE_D, moves.UPDATE_G,
    algorithm.ALTERNATING, kernel.KERNEL)}


def find(name):
    """The exercise of a name. Raises ValueError for an unknown one."""
    if name not in EXERCISES:
        raise ValueError(f'exercise: expected one of {", ".join(EXERCISES)}, got {name}')
    return EXERCISES[name]
