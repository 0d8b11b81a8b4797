"""How near samples are to data, cheap enough for every epoch: in the pixels, along the data's principal components."""

import numpy as np
from sklearn.decomposition import PCA

COMPONENTS = 64


class PixelStatistics:
    """The mean and the spread of images, for others to be held to.

    images: (N, n) float, N >= 2. Principal components by scikit-learn, 64 at most.
    """

    def __init__(self, images):
        self.variance = max(float(images.var(axis=0).sum()), 1e-9)  # images may all be the same
        n = min(COMPONENTS, len(images) - 1, images.shape[1])
        with np.errstate(invalid='ignore'):
            self.components = PCA(n, svd_solver='randomized', random_state=0).fit(images)

    def distance(self, samples):
        """Frechet distance between the Gaussians with the mean and covariance of images and samples (N, n).

            |mu - mu_s|^2 + tr(C + C_s - 2 (C^1/2 C_s C^1/2)^1/2)

        in the coordinates of the components, where C is diagonal. It sees what is blurred, missing or too frequent
        only as far as mean and covariance do: good enough to choose an epoch, not to compare models.
        Dowson & Landau 1982, The Frechet distance between multivariate normal distributions.
        """
        y = self.components.transform(samples).astype(float)
        variance = self.components.explained_variance_.astype(float)
        covariance, root = np.atleast_2d(np.cov(y, rowvar=False)), np.sqrt(variance)
        eigenvalues = np.linalg.eigvalsh(root[:, None] * covariance * root)
        cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
        return float((y.mean(axis=0) ** 2).sum() + variance.sum() + np.trace(covariance) - 2 * cross)

    def spread(self, samples):
        """Total variance of the samples over that of the images: 1 when as different from each other, 0 when alike."""
        return float(samples.var(axis=0).sum() / self.variance)
