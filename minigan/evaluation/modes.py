"""How many modes of Stacked MNIST do samples have? The published measure, next to that of a perfect sampler.

A classifier reads the three digits of each sample, and their classes are its mode. The protocol's is convolutional,
and reads 99.25 % of MNIST's test images correctly; so is this one (reader.py), which reads 99.39 %. A classifier also
names a class for a digit that it misreads or that has no shape, so it finds modes that are not there: 115 in real
triples of ten. That is why modes are counted a second time, in clear samples alone: then there are 14.
Srivastava et al. 2017 (VEEGAN); Lin et al. 2018 (PacGAN), section 4.2.
"""

import numpy as np

from minigan import ops
from minigan.data.stacked import digits_of, gather
from minigan.evaluation import reader
from minigan.streams import Streams

SAMPLES = 26_000  # of the protocol; the KL depends on the number
CLEAR = 0.95  # the least probability that the classifier gives to the class of each digit of a clear sample
FEW = 5  # clear samples: a mode with fewer may consist of misread digits
AT_ONCE = 1000  # samples
TITLES = {'modes': 'modes with a sample', 'modes_kl': '   KL of the modes from uniform',
          'clear': 'fraction of clear samples', 'clear_modes': f'   modes with at least {FEW} of them'}
DCGAN = {'modes': 99, 'modes_kl': 3.40}  # of Srivastava et al. 2017, as Lin et al. 2018 quote it in Table 2


class ModeJudge:
    """Measures triples of digits against a Stacked dataset, whose classifier is trained now or was kept.

    accuracy: the fraction of the single test digits that the classifier reads correctly.
    """

    def __init__(self, dataset, *, quiet=False):
        self.dataset, self.digits = dataset, dataset.digits
        self.classifier = reader.load(self.digits, quiet=quiet)
        classes, _ = self._read(_unit(self.digits.test))
        self.accuracy = float((classes == self.digits.labels[2]).mean())

    def __call__(self, triples):
        """The measures of triples (N, n) in [0, 1]; see measures."""
        pieces = (digits_of(triples[start:start + AT_ONCE]) for start in range(0, len(triples), AT_ONCE))
        classes, clear = (np.concatenate(parts).reshape(-1, 3) for parts in zip(*map(self._read, pieces)))
        k = self.classifier.classes
        return measures(classes @ (k * k, k, 1), clear.all(axis=1), k**3)

    def left_out(self, n):
        """measure -> why it cannot be taken of n samples: there is none."""
        return {}

    def comparisons(self, n):
        """Measures to compare those of n samples with, by name.

        real images: test triples, as a perfect sampler would draw them. ten modes: real digits too, but of ten triples
        of classes only; modes above 10 are misread digits. DCGAN: published.
        """
        return {'real images': self(_unit(self.dataset.test[:n])), 'ten modes': self(_unit(self._ten_modes(n))),
                'DCGAN': DCGAN}

    def _ten_modes(self, n):
        """n triples of test digits: the i-th has the classes c, 3c + 1 and 7c + 2 modulo their number, c = i % 10."""
        labels = self.digits.labels[2]
        counts, order = np.bincount(labels, minlength=self.classifier.classes), np.argsort(labels, kind='stable')
        classes = (np.arange(n)[:, None] % 10 * (1, 3, 7) + (0, 1, 2)) % self.classifier.classes
        within = (Streams(0).at('check', 0).uniform((n, 3)) * counts[classes]).astype(int)
        return gather(self.digits.test, order[(counts.cumsum() - counts)[classes] + within])

    def _read(self, images):
        """The classes (m,) of single digits (m, pixels) in [0, 1], and whether each is clear."""
        _, p = self.classifier(ops.from_unit(images))
        return p.argmax(axis=1), p.max(axis=1) >= CLEAR


def _unit(images):
    return images / np.float32(255)


def measures(modes, clear, k):
    """How evenly samples fall into k modes, for the mode 0 ... k-1 of each (N,), and whether it is clear (N,): a dict.

        modes         modes with a sample
        modes_kl      sum over modes of p log(k p),   p = fraction of the samples in the mode
        clear         fraction of the samples that are clear
        clear_modes   modes with at least FEW clear samples

    N samples of a uniform distribution have a KL of about (k - 1) / (2 N), and not 0.
    """
    counts = np.bincount(modes, minlength=k)
    p = counts[counts > 0] / len(modes)
    clear_modes = int((np.bincount(modes[clear], minlength=k) >= FEW).sum())
    return {'modes': int((counts > 0).sum()), 'modes_kl': float((p * np.log(k * p)).sum()),
            'clear': float(np.mean(clear)), 'clear_modes': clear_modes}
