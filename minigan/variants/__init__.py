"""What came after 2014: each file is a small difference from Algorithm 1, and stands on the core alone."""

from minigan.losses import OBJECTIVES
from minigan.networks import RECIPES
from minigan.variants import matching, semisupervised
from minigan.variants.conditional import conditioned

VARIANTS = (matching, semisupervised)  # the modules with recipes or objectives of their own

for variant in VARIANTS:
    RECIPES.update(getattr(variant, 'RECIPES', {}))
    OBJECTIVES.update(getattr(variant, 'OBJECTIVES', {}))


def choose(network, *, fractions=(), pack=1):
    """The Recipe of a network, made conditional on classes with these fractions, and packed.

    fractions: of each class in the data; (): no labels. pack: how many images D reads as one.
    """
    recipe = RECIPES[network]
    if fractions:
        recipe = conditioned(recipe, fractions)
    return recipe
