"""What came after 2014: each file is a small difference from Algorithm 1, and stands on the core alone."""

from minigan import losses, networks
from minigan.variants import (cycle, dcgan, matching, minibatch, objectives, packing, progressive, semisupervised,
                              spectral, wasserstein)
from minigan.variants.conditional import conditioned

RECIPES = dict(networks.RECIPES)

for variant in (cycle, dcgan, progressive, wasserstein, minibatch, spectral, matching, semisupervised):
    RECIPES.update(variant.RECIPES)
losses.OBJECTIVES.update(objectives.OBJECTIVES)


def choose(network, *, fractions=(), pack=1):
    """The Recipe of a network, packed, and conditional on classes with these fractions.

    fractions: of each class in the data; (): no labels. pack: how many images D reads as one.
    """
    recipe = RECIPES[network] if pack == 1 else packing.packed(RECIPES[network], pack)
    return conditioned(recipe, fractions) if fractions else recipe
