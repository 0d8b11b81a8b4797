"""Gaussians in the plane: does G find every mode? The ring of 8 and the grid of 25.

Lin et al. 2018, PacGAN, section 4.1; the measures are those of Srivastava et al. 2017 (VEEGAN).
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances_argmin_min

MEASURED = 2500  # samples, as published


@dataclass(frozen=True)
class Mixture:
    """Gaussians in the plane, all equally likely. centres: (k, 2); sigma: of each coordinate."""

    centres: np.ndarray
    sigma: float

    def __call__(self, x):
        """p(x), for x (N, 2)."""
        squares = cdist(x, self.centres, 'sqeuclidean')
        return np.exp(-squares / (2 * self.sigma**2)).mean(axis=1) / (2 * np.pi * self.sigma**2)

    def sample(self, rng, m):
        """x (m, 2) float32; rng: Rng."""
        component = (rng.uniform(m) * len(self.centres)).astype(int)
        return (self.centres[component] + self.sigma * rng.normal((m, 2))).astype(np.float32)

    def measure(self, samples):
        """How much of the mixture samples (N, 2) cover: a dict.

            high_quality    fraction of the samples within 3 sigma of a centre; perfect samples have 1 - exp(-9/2)
            modes           centres with at least one such sample
            reverse_kl      sum over centres of p log(k p), p the centre's fraction of these samples: 0 when all are
                            equally frequent, log k when one has all of them (or there are none)

        Samples that lie closer to the centres than those of the mixture have a high_quality of 1.
        """
        nearest, distance = pairwise_distances_argmin_min(samples, self.centres)
        high = distance <= 3 * self.sigma
        counts, k = np.bincount(nearest[high]), len(self.centres)
        p = counts[counts > 0] / max(1, counts.sum())
        return {'modes': len(p), 'high_quality': float(high.mean()),
                'reverse_kl': float((p * np.log(k * p)).sum()) if len(p) else float(np.log(k))}


RING_OF_8 = Mixture(np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(8) * np.pi / 4]), 0.01)
GRID_OF_25 = Mixture(np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]), 0.05)
MIXTURES = {'ring of 8': RING_OF_8, 'grid of 25': GRID_OF_25}
