"""How close samples are to data: each measure as a function of arrays.

samples, reference: (N, n), each row an image in [0, 1] or its features. The docstrings say what each one measures and
what it misses; `minigan evaluate` prints them all, next to those of real images.
"""

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

SIGMAS = np.logspace(-1, 0, 10)
AT_ONCE = 250  # rows of a matrix of distances
NEIGHBOUR = 5  # k of precision, recall, density and coverage: a ball reaches to the k-th nearest neighbour
ROUNDING = 1e-6  # of a distance, relative to the length of a row


def parzen(samples, validation, test):
    """(mean, standard error, sigma): log-likelihood of test images under Gaussians of width sigma around the samples.

        log p(x) = log mean over i of exp(-|x - s_i|^2 / (2 sigma^2)) - n log(sigma sqrt(2 pi))

    sigma is the best of ten between 0.1 and 1 for the validation images. Natural logarithm; the standard error is over
    test images. Of historical interest: in many dimensions, cluster centres score higher than real images.
    Breuleux et al. 2009; the protocol of Goodfellow et al. 2014; Theis et al. 2016, section 3.
    """
    best = np.argmax([values.mean() for values in _log_density(validation, samples, SIGMAS)])
    values = _log_density(test, samples, SIGMAS[best:best + 1])[0]
    return float(values.mean()), float(values.std() / len(values) ** 0.5), float(SIGMAS[best])


def _log_density(x, samples, sigmas):
    """For each sigma, the log-density of each row of x."""
    values = np.empty((len(sigmas), len(x)))
    for start in range(0, len(x), AT_ONCE):
        distances = euclidean_distances(x[start:start + AT_ONCE], samples, squared=True)
        for sigma, row in zip(sigmas, values):
            row[start:start + AT_ONCE] = logsumexp(distances / (-2 * sigma**2), axis=1)
    scale = np.log(len(samples)) + samples.shape[1] * np.log(sigmas * (2 * np.pi) ** 0.5)
    return values - scale[:, None]


def cluster_centres(images, n):
    """n k-means centres, at most one per five images. As samples they score better in parzen than real images do."""
    n = min(n, len(images) // 5)
    means = MiniBatchKMeans(n, init='random', n_init=1, max_iter=2, batch_size=n, random_state=0, reassignment_ratio=0)
    return means.fit(images).cluster_centers_


def frechet(samples, reference):
    """Frechet distance between two Gaussians, with the mean and covariance of samples and of reference.

        |mu_s - mu|^2 + tr(C_s + C - 2 (C^1/2 C_s C^1/2)^1/2)

    It grows with fewer samples: compare only at the same N. In the features of Inception-v3 it would be called FID.
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
    """exp of the mean KL divergence of each sample's classes from the mean of all samples, for p (N, classes).

        exp(mean over samples of sum_c p_c log(p_c / q_c)),   q = mean of p

    It is 1 when all samples look alike or like no class, and the number of classes when all are clear and equally
    frequent. It does not see variety within a class. In the classes of ImageNet it would be the Inception score.
    Salimans et al. 2016, section 4.
    """
    p = np.asarray(p, float)
    return float(np.exp(_divergence(p, p.mean(axis=0)).sum(axis=1).mean()))


def class_divergence(p, fractions):
    """(KL, histogram): how frequent the classes are among samples, p (N, classes), compared with the data.

        KL = sum_c h_c log(h_c / fraction_c),   h_c = fraction of the samples whose largest p is p_c
    """
    histogram = np.bincount(np.argmax(p, axis=1), minlength=len(fractions)) / len(p)
    return float(_divergence(histogram, fractions).sum()), histogram


def _divergence(p, q):
    return p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300))


def precision_recall_density_coverage(samples, reference, *, k=NEIGHBOUR):
    """Four numbers, from a ball around each point that reaches to its k-th nearest neighbour of its own kind.

        precision   fraction of the samples in the ball of at least one reference point
        recall      fraction of the reference points in the ball of at least one sample
        density     mean number of reference balls that a sample lies in, divided by k: may exceed 1
        coverage    fraction of the reference points whose ball holds at least one sample

    For two sets of the same distribution and k = 5, density is about 1 and coverage about 1 - 1 / 2^k. Precision and
    recall depend on the distribution: about .5 for a Gaussian in 1,000 dimensions, .95 in 8. Compare with real images.
    Needs more than k points of each kind. Kynkaanniemi et al. 2019; Naeem et al. 2020.
    """
    radii_s, radii_r = _radii(samples, k), _radii(reference, k)
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


def class_accuracy_and_recall(samples, p, wanted, reference, labels, *, k=NEIGHBOUR):
    """How conditional samples show the classes that they were drawn for. Three numbers:

        class_accuracy        fraction of the samples whose largest p is that of the wanted class
        class_recall          mean over the classes of the recall of a class: of its samples alone, for its reference
                              points alone
        least_class_recall    the smallest of them

    Accuracy alone is 1 for one image per class, whose recall is about 0. A class with k or fewer samples or reference
    points has no recall; without any that has one, the two recalls are missing. Compare with real images.
    p: (N, classes) of the samples; wanted: (N,) and labels: the classes of samples and of reference points.
    """
    of_class = [(samples[wanted == c], reference[labels == c]) for c in np.unique(labels)]
    recalls = [precision_recall_density_coverage(*pair, k=k)['recall'] for pair in of_class if min(map(len, pair)) > k]
    found = {'class_accuracy': float((np.argmax(p, axis=1) == wanted).mean())}
    return found | ({'class_recall': float(np.mean(recalls)), 'least_class_recall': min(recalls)} if recalls else {})


def _radii(x, k):
    """Distance of each row to its k-th nearest other row, but at least the rounding error of a distance of 0."""
    radii = NearestNeighbors(n_neighbors=k, algorithm='brute').fit(x).kneighbors()[0][:, -1]
    return np.maximum(radii, ROUNDING * np.linalg.norm(x, axis=1).max())


def median_distance(x, train):
    """Median distance from a row of x to the nearest training image.

    The median of samples, divided by that of test images, is about 1 for new images from the data's distribution, 0
    for copies of training images, and above 1 for images that are unlike all of them. Pixels are compared one by one,
    so a shifted copy does not count as a copy.
    """
    return float(np.median(pairwise_distances_argmin_min(x, train)[1]))
