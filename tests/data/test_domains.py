"""Domains with a known map between them: halves of the same images, none in both."""

import numpy as np
import pytest

from minigan import data
from minigan.data.dataset import DataError
from minigan.data.domains import MAPS, pair

DIGITS = data.load('digits')


def test_the_halves_share_no_training_image_and_together_are_all():
    plain, inverted = (data.load(f'digits/{name}') for name in ('plain', 'inverted'))
    together = np.concatenate([plain.train, 255 - inverted.train])
    assert sorted(map(bytes, together)) == sorted(map(bytes, DIGITS.train))
    assert abs(len(plain.train) * 2 - len(DIGITS.train)) < 2
    rows = {bytes(image): label for image, label in zip(DIGITS.train, DIGITS.labels[0])}
    for images, labels in ((plain.train, plain.labels[0]), (255 - inverted.train, inverted.labels[0])):
        assert [rows[bytes(image)] for image in images] == labels.tolist()


@pytest.mark.parametrize('name', MAPS)
def test_test_and_validation_images_correspond(name):
    domain = data.load(f'digits/{name}')
    for split in ('validation', 'test'):
        images = getattr(DIGITS, split).reshape(-1, 8, 8)
        np.testing.assert_array_equal(getattr(domain, split), MAPS[name](images).reshape(len(images), -1))
    assert domain.name == f'digits-{name}' and np.array_equal(domain.labels[2], DIGITS.labels[2])


def test_the_maps_are_what_their_names_say():
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, 0, 1], image[0, 2, 3] = 200, 90
    assert np.rot90(MAPS['rotated'](image)[0], -1).tolist() == image[0].tolist()
    assert MAPS['inverted'](image)[0].tolist() == (255 - image[0]).tolist()
    assert MAPS['thick'](image)[0].tolist() == [[200, 200, 200, 0], [0, 200, 0, 90], [0, 0, 90, 90]]
    assert MAPS['plain'](image) is image


def test_a_pair_is_Y_with_X_and_its_digest_depends_on_both():
    X, Y, other = (data.load(f'digits/{name}') for name in ('plain', 'inverted', 'thick'))
    both = data.load('digits/inverted', 'digits/plain')
    assert both.name == 'digits-plain-to-digits-inverted' and both.train.tobytes() == Y.train.tobytes()
    assert both.X.train.tobytes() == X.train.tobytes()
    digests = {data.digest(dataset) for dataset in (Y, both, pair(other, Y), pair(X, other), pair(Y, X))}
    assert len(digests) == 5


def test_domains_of_different_shapes_are_refused(tmp_path):
    np.save(tmp_path / 'wide.npy', np.zeros((20, 8, 12), np.uint8))
    with pytest.raises(DataError, match=r'cycle: expected two data sets of one shape, got wide of \(8, 12\) and digi'):
        data.load('digits', str(tmp_path / 'wide.npy'))
