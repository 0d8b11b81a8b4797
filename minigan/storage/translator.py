"""A trained pair of translators as a function: load(RUN)(images)."""

import numpy as np

from minigan import ops
from minigan.storage import archive, checkpoint
from minigan.variants.cycle import there_and_back

AT_ONCE = 1000  # images that are computed together


def load(path):
    """The Translator in the last checkpoint of a run's folder, or in a checkpoint file such as RUN/best.npz.

    Raises ValueError for anything but a whole checkpoint of a run with --cycle, OSError when there is none.
    """
    arrays, about = archive.load(path)
    with archive.errors_name(path):
        return Translator(arrays, about)


class Translator:
    """The nets G: X -> Y and F: Y -> X of a checkpoint. shape: of an image, (height, width) or (height, width, 3)."""

    def __init__(self, arrays, about):
        if not checkpoint.translates(about):
            raise ValueError('expected a run of minigan train --cycle, got one that draws images from noise: use '
                             'minigan sample')
        self.G, self.F = (checkpoint.net(arrays, about, name) for name in 'GF')
        _, _, self.shape = checkpoint.recipe_of(about)

    def __call__(self, images, *, back=False):
        """images, G(images) and F(G(images)); with back, images, F(images) and G(F(images)).

        images: (N, *shape) uint8. Returns three arrays (N, *shape) float32 in [0, 1]. Raises ValueError for images of
        a different shape, none, or numbers that overflow.
        """
        if images.shape[1:] != self.shape or not len(images):
            raise ValueError(f'expected images of shape (N, {", ".join(map(str, self.shape))}), got {images.shape}')
        rows, nets = images.reshape(len(images), -1), (self.F, self.G) if back else (self.G, self.F)
        parts = []
        with np.errstate(over='ignore', invalid='ignore'):
            for i in range(0, len(rows), AT_ONCE):
                x = ops.gather_images(rows, np.arange(i, min(i + AT_ONCE, len(rows))), np.float32)
                parts.append(there_and_back(*nets, x))
        found = [ops.to_unit(np.concatenate(part)).reshape(-1, *self.shape) for part in zip(*parts)]
        if not np.isfinite(found).all():
            raise ValueError('expected finite images, got numbers that overflow')
        return found
