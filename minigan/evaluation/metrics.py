"""How near samples are to data: definitions, as functions of arrays. Only D's opinion is missing here.

samples, reference: (N, n), one row an image in [0, 1], or one row of features. What each measures, and misses, is in
its docstring; minigan evaluate prints them all, beside those of real images.
"""

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

SIGMAS = np.logspace(-1, 0, 10)
ROWS = 250  # of a matrix of distances at a time


def parzen(samples, validation, test):
    """(mean, standard error, sigma): log-likelihood of test images under Gaussians of width sigma around the samples.

        log p(x) = log mean over i of exp(-|x - s_i|^2 / (2 sigma^2)) - n log(sigma sqrt(2 pi))

    sigma is the best of ten between 0.1 and 1 for the validation images. Natural logarithm; the standard error is over
    test images. A number of 2014: with a kernel in so many dimensions, cluster centres score higher than real images.
    Breuleux et al. 2009; the protocol of Goodfellow et al. 2014; Theis et al. 2016, section 3.
    """
    best = np.argmax([values.mean() for values in _log_density(validation, samples, SIGMAS)])
    values, = _log_density(test, samples, SIGMAS[best:best + 1])
    return float(values.mean()), float(values.std() / len(values) ** 0.5), float(SIGMAS[best])


def _log_density(x, samples, sigmas):
    """For each sigma, the log-density of each row of x."""
    values = np.empty((len(sigmas), len(x)))
    for start in range(0, len(x), ROWS):
        distances = euclidean_distances(x[start:start + ROWS], samples, squared=True)
        for sigma, row in zip(sigmas, values):
            row[start:start + ROWS] = logsumexp(distances / (-2 * sigma**2), axis=1)
    scale = np.log(len(samples)) + samples.shape[1] * np.log(sigmas * (2 * np.pi) ** 0.5)
    return values - scale[:, None]


def cluster_centres(images, n):
    """n k-means centres, at most one for five images: as samples they score better in parzen than real images do."""
    n = min(n, len(images) // 5)
    means = MiniBatchKMeans(n, init='random', n_init=1, max_iter=2, batch_size=n, random_state=0, reassignment_ratio=0)
    return means.fit(images).cluster_centers_


def frechet(samples, reference):
    """Frechet distance between the Gaussians with the mean and covariance of samples and of reference.

        |mu_s - mu|^2 + tr(C_s + C - 2 (C^1/2 C_s C^1/2)^1/2)

    Grows with fewer samples: compare only at the same N. In the features of Inception-v3 it would be called FID.
    Dowson & Landau 1982; Heusel et al. 2017.
    """
    return frechet_of_moments(*moments(samples), *moments(reference))


def moments(x):
    """Mean (n,) and covariance (n, n) of the rows, in float64."""
    x = np.asarray(x, float)
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def frechet_of_moments(mu_s, C_s, mu, C):
    """frechet, from means and covariances."""
    variances, axes = np.linalg.eigh(C)
    root = (axes * np.sqrt(np.maximum(variances, 0))) @ axes.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ C_s @ root), 0)).sum()
    return float(((mu_s - mu) ** 2).sum() + np.trace(C_s) + np.trace(C) - 2 * cross)


def classifier_score(p):
    """exp of the mean KL from each sample's classes to the classes of all, for p (N, classes).

        exp(mean over samples of sum_c p_c log(p_c / q_c)),   q = mean of p

    1 when all samples look alike or like nothing; the number of classes when all are clear and equally frequent. Blind
    to variety within a class. In the classes of ImageNet it would be called the Inception score.
    Salimans et al. 2016, section 4.
    """
    p = np.asarray(p, float)
    return float(np.exp(_divergence(p, p.mean(axis=0)).sum(axis=1).mean()))


def class_divergence(p, shares):
    """(KL, histogram): how the classes of the samples, p (N, classes), are spread, against their shares in the data.

        KL = sum_c h_c log(h_c / share_c),   h_c = share of the samples whose largest p is p_c
    """
    histogram = np.bincount(np.argmax(p, axis=1), minlength=len(shares)) / len(p)
    return float(_divergence(histogram, shares).sum()), histogram


def _divergence(p, q):
    return p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300))


def precision_recall_density_coverage(samples, reference, *, k=5):
    """Four numbers, from balls around each point that reach to its k-th nearest neighbour of its own kind.

        precision   samples in the ball of at least one reference point
        recall      reference points in the ball of at least one sample
        density     reference balls that a sample lies in, on average, over k: may exceed 1
        coverage    reference points whose ball holds at least one sample

    For two sets of the same distribution and k = 5, density is about 1 and coverage about 1 - 1 / 2^k, but precision
    and recall depend on it: about .5 for a Gaussian in 1,000 dimensions, .95 in 8. Compare with real images.
    Kynkaanniemi et al. 2019; Naeem et al. 2020.
    """
    radii_s, radii_r = (_radii(x, k) for x in (samples, reference))
    inside, recalled = np.zeros(len(samples), int), np.zeros(len(reference), bool)
    nearest = np.full(len(reference), np.inf)
    start = 0
    for distances in pairwise_distances_chunked(samples, reference, working_memory=64):
        rows = slice(start, start + len(distances))
        inside[rows] = (distances <= radii_r).sum(axis=1)
        recalled |= (distances <= radii_s[rows, None]).any(axis=0)
        nearest = np.minimum(nearest, distances.min(axis=0))
        start = rows.stop
    return {'precision': float((inside > 0).mean()), 'recall': float(recalled.mean()),
            'density': float(inside.mean() / k), 'coverage': float((nearest <= radii_r).mean())}


def _radii(x, k):
    """Distance of each row to its k-th nearest other row."""
    return NearestNeighbors(n_neighbors=k, algorithm='brute').fit(x).kneighbors()[0][:, -1]


def median_distance(x, train):
    """Median distance from a row of x to the nearest training image.

    Of samples, over that of test images: about 1 for new images from the data's distribution, 0 for copies of training
    images, above 1 for what is unlike any. Copies are looked for pixel by pixel, so a shifted one is not found.
    """
    return float(np.median(pairwise_distances_argmin_min(x, train)[1]))
