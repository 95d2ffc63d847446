"""Which single weights of a tensor are kept with its statistics.

Source: the released code of arXiv 2601.04537 (weight_linearity.py): max(50, 0.1 %) of a tensor,
without biases. Of large tensors fewer are kept here, and each stands for more.
"""

import zlib

import numpy as np

MOST = 500
_LEAST, _ONE_IN = 50, 1000


def papers_count(d: int) -> int:
    """Return how many of d elements the paper's code samples."""
    return min(d, max(_LEAST, d // _ONE_IN))


def sampled_places(name: str, d: int) -> np.ndarray:
    """Return which of a tensor's d elements are kept, ascending, at most `MOST`; none of a bias.

    They depend on the tensor's name alone, so they are the same in all runs of a model.
    """
    if name.rpartition(".")[2] == "bias":
        return np.empty(0, dtype=np.int64)
    generator = np.random.default_rng([zlib.crc32(name.encode())])
    return np.sort(generator.choice(d, min(papers_count(d), MOST), replace=False))
