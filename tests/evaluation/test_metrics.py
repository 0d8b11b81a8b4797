"""Each measure is its definition, and has the value that is known where one is known."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import norm
from sklearn.neighbors import KernelDensity

from minigan.evaluation import metrics

RNG = np.random.default_rng(0)


def gaussian(n, mean, mix):
    return (RNG.standard_normal((n, len(mix))) @ mix + mean).astype(np.float32)


A = gaussian(500, 0.0, RNG.standard_normal((5, 5)))
B = gaussian(400, 0.3, RNG.standard_normal((5, 5)))


def by_the_formula(a, b):
    """The formula as it is written, with a general square root of a matrix."""
    S, T = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(S + T - 2 * sqrtm(S @ T).real)


def test_frechet_is_the_formulas_and_symmetric():
    assert metrics.frechet(A, B) == pytest.approx(by_the_formula(A.astype(float), B.astype(float)), rel=1e-6)
    assert metrics.frechet(A, B) == pytest.approx(metrics.frechet(B, A), rel=1e-6)
    assert metrics.frechet(A, A) == pytest.approx(0, abs=1e-9)


def test_frechet_of_one_dimension_is_known():
    """(mu - nu)^2 + (s - t)^2."""
    assert metrics.frechet_of_moments(3.0, np.array([[4.0]]), np.array([1.0]), np.array([[9.0]])) == pytest.approx(5)


def test_frechet_accepts_features_that_never_vary():
    x = np.hstack([A, np.ones((len(A), 3))])
    assert metrics.frechet(x, np.hstack([B, np.ones((len(B), 3))])) == pytest.approx(metrics.frechet(A, B))


@pytest.mark.parametrize('spread, inside', [(0.1, False), (1, True)])
def test_parzen_is_the_kernel_density_at_the_best_width(spread, inside):
    samples, validation, test = (spread * RNG.standard_normal((n, 4)) for n in (300, 200, 500))
    values = {sigma: KernelDensity(bandwidth=sigma).fit(samples) for sigma in np.logspace(-1, 0, 10)}
    best = max(values, key=lambda sigma: values[sigma].score_samples(validation).mean())
    expected = values[best].score_samples(test)
    assert metrics.parzen(samples, validation, test) == pytest.approx(
        (expected.mean(), expected.std() / 500**0.5, best), rel=1e-6)
    assert (0.1 < best < 1) == inside


def test_parzen_of_a_gaussian_is_known():
    """Of N(0, 1) with kernels N(0, sigma^2), the density is that of N(0, 1 + sigma^2)."""
    samples, validation, test = (RNG.standard_normal((n, 1)) for n in (5000, 500, 2000))
    mean, error, sigma = metrics.parzen(samples, validation, test)
    assert sigma < 0.5
    assert mean == pytest.approx(norm.logpdf(test, scale=(1 + sigma**2) ** 0.5).mean(), abs=0.02)
    assert error == pytest.approx(norm.logpdf(test, scale=(1 + sigma**2) ** 0.5).std() / 2000**0.5, rel=0.05)


def test_cluster_centres_beat_the_images_themselves_under_parzen():
    """The flaw that Theis et al. 2016 show."""
    centres = RNG.random((50, 20))
    images, validation, test = (centres[RNG.integers(0, 50, n)] + 0.1 * RNG.standard_normal((n, 20))
                                for n in (1000, 300, 1000))
    found = metrics.cluster_centres(images, 100)
    assert found.shape == (100, 20)
    assert metrics.parzen(found, validation, test)[0] > metrics.parzen(images[:100], validation, test)[0] + 1


def test_a_score_is_1_for_samples_alike_and_the_number_of_classes_for_clear_and_even_ones():
    assert metrics.classifier_score(np.eye(7)) == pytest.approx(7)
    assert metrics.classifier_score(np.eye(7)[[3, 3, 3]]) == pytest.approx(1)
    assert metrics.classifier_score(np.full((4, 7), 1 / 7)) == pytest.approx(1)
    p = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]])  # q = (1/4, 1/2, 1/4): each KL is log(2) / 2
    assert metrics.classifier_score(p) == pytest.approx(2**0.5)


def test_the_divergence_of_the_classes_is_that_of_their_histogram():
    fractions = np.array([0.5, 0.25, 0.25])
    p = np.array([[0.9, 0.1, 0], [0.6, 0.2, 0.2], [0, 1, 0], [0.1, 0, 0.9]])
    kl, histogram = metrics.class_divergence(p, fractions)
    assert kl == pytest.approx(0)
    np.testing.assert_allclose(histogram, fractions)
    kl, histogram = metrics.class_divergence(np.array([[0, 1, 0], [0, 1, 0]]), fractions)  # class 2 adds 0
    assert kl == pytest.approx(np.log(4))
    np.testing.assert_allclose(histogram, [0, 1, 0])


def test_two_identical_gaussians_have_the_published_values():
    """1,000 dimensions, N = 10,000, k = 5: what the README of the reference implementation of Naeem et al. prints, from
    one draw. The bounds are three standard deviations of six draws."""
    found = metrics.precision_recall_density_coverage(*identical_gaussians(1000))
    published = {'precision': (0.477, 0.025), 'recall': (0.471, 0.04), 'density': (1.056, 0.16),
                 'coverage': (0.974, 0.015)}
    for measure, (value, bound) in published.items():
        assert found[measure] == pytest.approx(value, abs=bound), measure


def test_two_identical_gaussians_have_the_expected_density_and_coverage():
    """1, and 1 - (N - 1) ... (N - k) / (2N - 1) ... (2N - k), in any number of dimensions (Naeem et al. 2020)."""
    found = metrics.precision_recall_density_coverage(*identical_gaussians(8))
    assert found['density'] == pytest.approx(1, abs=0.03)
    assert found['coverage'] == pytest.approx(1 - 2**-5, abs=0.006)


def identical_gaussians(n):
    return np.random.default_rng(0).standard_normal((2, 10_000, n)).astype(np.float32)


def plain_precision_recall_density_coverage(samples, reference, k):
    """By the definitions, one point at a time."""
    def distance(a, b):
        return np.sqrt(((a - b) ** 2).sum())

    def radius(i, x):
        return sorted(distance(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    ball_r = [radius(i, reference) for i in range(len(reference))]
    ball_s = [radius(i, samples) for i in range(len(samples))]
    within = np.array([[distance(s, r) <= ball for r, ball in zip(reference, ball_r)] for s in samples])
    within_s = np.array([[distance(s, r) <= ball for s, ball in zip(samples, ball_s)] for r in reference])
    return {'precision': within.any(axis=1).mean(), 'recall': within_s.any(axis=1).mean(),
            'density': within.sum() / (k * len(samples)), 'coverage': within.any(axis=0).mean()}


@pytest.mark.parametrize('k, shift', [(1, 0), (3, 0), (3, 1), (2, 9)])
def test_precision_recall_density_and_coverage_are_their_definitions(k, shift):
    samples, reference = RNG.standard_normal((40, 3)) + shift, RNG.standard_normal((30, 3))
    assert metrics.precision_recall_density_coverage(samples, reference, k=k) == pytest.approx(
        plain_precision_recall_density_coverage(samples, reference, k))


@pytest.mark.parametrize('dtype', [np.float32, float])
@pytest.mark.parametrize('distinct', [1, 20])
@pytest.mark.parametrize('scale', [1, 100])
def test_points_that_are_all_copies_of_a_few_are_in_each_others_balls(distinct, scale, dtype):
    """Their distances are rounding errors, and so are their radii."""
    points = (scale * np.random.default_rng(0).random((distinct, 256))).astype(dtype)
    rows = np.random.default_rng(1).integers(0, distinct, 500)
    found = metrics.precision_recall_density_coverage(points[rows[:300]], points[rows[300:]])
    assert found['precision'] == found['recall'] == found['coverage'] == 1


def test_copies_of_training_images_are_at_distance_0():
    train = RNG.standard_normal((50, 3))
    assert metrics.median_distance(train[:9], train) == 0
    assert metrics.median_distance(np.array([[0.0, 0], [3, 4], [9, 9]]), np.array([[0.0, 0], [9, 8]])) == 1


def classes(n, seed, spread=1.0):
    """(features, labels) of three classes far apart: n points each."""
    labels = np.repeat([0, 1, 2], n)
    points = spread * np.random.default_rng(seed).standard_normal((3 * n, 4))
    return points + 100 * labels[:, None], labels


def test_class_accuracy_and_recall_of_samples_like_the_data():
    (samples, wanted), (reference, labels) = classes(300, 1), classes(200, 2)
    found = metrics.class_accuracy_and_recall(samples, np.eye(3)[wanted], wanted, reference, labels)
    recalls = [metrics.precision_recall_density_coverage(samples[wanted == c], reference[labels == c])['recall']
               for c in range(3)]
    assert found == {'class_accuracy': 1, 'class_recall': np.mean(recalls), 'least_class_recall': min(recalls)}
    assert found['least_class_recall'] > 0.9


def test_one_image_per_class_has_the_wanted_class_and_no_recall():
    (samples, wanted), (reference, labels) = classes(300, 1, spread=0), classes(200, 2)
    found = metrics.class_accuracy_and_recall(samples, np.eye(3)[wanted], wanted, reference, labels)
    assert found == {'class_accuracy': 1, 'class_recall': 0, 'least_class_recall': 0}


def test_recall_within_a_class_does_not_count_samples_of_other_classes():
    """Samples of one class that were drawn for another do not help it."""
    (samples, shown), (reference, labels) = classes(300, 1), classes(200, 2)
    wanted = np.where(shown == 2, 1, shown)
    wanted[shown == 1] = 2
    found = metrics.class_accuracy_and_recall(samples, np.eye(3)[shown], wanted, reference, labels)
    assert found['class_accuracy'] == pytest.approx(1 / 3) and found['least_class_recall'] == 0
    assert found['class_recall'] == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize('few', [0, 1, 5])
def test_a_class_with_too_few_points_has_no_recall(few):
    (samples, wanted), (reference, labels) = classes(300, 1), classes(200, 2)
    whole = metrics.class_accuracy_and_recall(samples, np.eye(3)[wanted], wanted, reference, labels)
    kept = np.flatnonzero((labels > 0) | (np.arange(len(labels)) < few))
    found = metrics.class_accuracy_and_recall(samples, np.eye(3)[wanted], wanted, reference[kept], labels[kept])
    recalls = [metrics.precision_recall_density_coverage(samples[wanted == c], reference[labels == c])['recall']
               for c in (1, 2)]
    assert found == {**whole, 'class_recall': np.mean(recalls), 'least_class_recall': min(recalls)}
    few_of_all = np.r_[:5, 200:205, 400:405]
    found = metrics.class_accuracy_and_recall(samples, np.eye(3)[wanted], wanted, reference[few_of_all],
                                              labels[few_of_all])
    assert found == {'class_accuracy': 1}
