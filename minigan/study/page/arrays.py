"""Arrays as short texts that page.js decodes: base64 of unsigned integers between the least and the largest number."""

from base64 import b64encode

import numpy as np


def packed(array, *, bits=8, low=None, high=None):
    """The array as a dict for JSON.   x = low + (high - low) q / (2^bits - 1),   q = 0, 1, ..., 2^bits - 1

    bits: 8 for what is only seen as a shade, or 16. low, high: x below and above become these; None: the least and the
    largest x. Raises ValueError for an x that is not finite.
    """
    array = np.asarray(array, float)
    if not np.isfinite(array).all():
        raise ValueError(f'packed: expected finite numbers, got {array[~np.isfinite(array)][0]}')
    low, high = (float(f(array) if given is None else given) for f, given in ((np.min, low), (np.max, high)))
    q = np.rint(np.clip((array - low) / ((high - low) or 1), 0, 1) * (2**bits - 1)).astype(f'<u{bits // 8}')
    return {'shape': array.shape, 'bits': bits, 'low': low, 'high': high, 'bytes': b64encode(q.tobytes()).decode()}
