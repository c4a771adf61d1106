"""Random numbers without a past: a counter says which ones, so nothing is replayed on resume.

The Philox generator (Salmon et al. 2011, doi:10.1145/2063384.2063405) is a function

    (key, counter) → random bits,      key = (seed, use),   counter = (…, a, b).

A *stream* is an endless list of samples g = 0, 1, 2, …, drawn in blocks of K: those of block
k = ⌊g/K⌋ come, all K at once, from the generator of (seed, use, k). So a sample is a function of
(seed, g) alone. Whoever asks, for one batch or another, in one process or several, has the same
one, bit for bit, and no process draws much more than its share.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draw", "Use", "philox", "stream"]

_WORD = (1 << 64) - 1

Draw = Callable[[np.random.Generator, int], tuple[NDArray[np.float32], ...]]
"""(generator, n) ↦ arrays of n samples each, such as z and x."""


class Use(IntEnum):
    """What random numbers are for; those of one use are independent of all others'.

    The numbers are part of every run's data: none may change, new ones are added at the end.
    """

    PERMUTE = 0  # rows of a tile store
    PLACE = 1  # crops and symmetries
    DRAW = 2  # training samples of a prior or simulator
    DRAW_OTHER = 3  # and those that stand beside them unpaired
    VALIDATE = 4  # samples that nothing is trained on
    SAMPLE = 5  # codes that a trained model makes pictures of
    HIDE = 6  # which pairs a training is not to know of


def philox(seed: int, use: Use, a: int, b: int = 0) -> np.random.Generator:
    """A generator for (seed, use, a, b); the low words of the counter stay free for its draws."""
    # As arrays: of a list with a word above 2⁶³ numpy would make floats.
    key = np.array([seed & _WORD, use], np.uint64)
    counter = np.array([0, 0, a & _WORD, b & _WORD], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def stream(
    draw: Draw, seed: int, use: Use, numbers: NDArray[np.int64], block: int
) -> tuple[NDArray[np.float32], ...]:
    """Samples of an endless stream by their numbers.

    Args:
        draw: makes a block of samples.
        seed, use: which stream it is.
        numbers: (B,), at least one, 0 or more, in any order.
        block: K, samples that are drawn together; another K is another stream.

    Returns:
        What ``draw`` gives, with B samples.
    """
    blocks, within = np.divmod(numbers, block)
    wanted, which = np.unique(blocks, return_inverse=True)
    drawn = [draw(philox(seed, use, int(number)), block) for number in wanted]
    rows = which * block + within
    return tuple(np.concatenate(parts)[rows] for parts in zip(*drawn, strict=True))
