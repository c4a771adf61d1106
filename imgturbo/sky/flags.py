"""What is doubtful in a prediction, a bit a reason, pixel by pixel: the extension FLAGS.

A pixel that was not measured is NaN in the prediction. One that was measured may still have been
predicted from less, or other, than the network was trained on. Bits add up: 5 is 1 and 4. They do
not mean "no data": the cards ``MP_NEAR``, ``MP_SKY`` and ``MP_RANGE`` number them in the manner of
``afw.image.Mask``, by which readers (:mod:`imgturbo.sky.masks` too) tell them from a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAGS", "Flag", "count_flags", "flag_cards", "flag_line"]

FLAGS = "FLAGS"
"""Name of the extension: one plane for all bands, 8 bits a pixel."""


class Flag(IntFlag):
    """The bits, each with its card."""

    NEAR = 1
    """So near to a pixel that was not measured that the prediction depends on what hid there."""
    SKY = 2
    """Where the sky's level or its noise is not the training's."""
    RANGE = 4
    """Brighter than 99.9 % of the training's pixels, or far below its sky, in some band."""


_WORDS = {
    Flag.NEAR: "near a pixel not measured",
    Flag.SKY: "sky level or depth unlike training's",
    Flag.RANGE: "beyond the training's flux range",
}


def flag_cards() -> list[tuple[str, int, str]]:
    """Cards that number the bits, from 0."""
    return [
        (f"MP_{flag.name}", flag.value.bit_length() - 1, f"bit {flag.value}: {words}")
        for flag, words in _WORDS.items()
    ]


def count_flags(flags: NDArray[np.uint8]) -> dict[Flag, int]:
    """How many pixels have each bit."""
    return {flag: int(np.count_nonzero(flags & flag.value)) for flag in Flag}


def flag_line(counts: Mapping[Flag, int], pixels: int) -> str | None:
    """The counts in words; None where nothing is flagged.

    >>> flag_line({Flag.NEAR: 12, Flag.SKY: 0}, 1000)
    'flagged: 12 pixels (1.20%) near a pixel not measured (1)'
    """
    found = [(flag, count) for flag, count in counts.items() if count]
    if not found:
        return None
    parts = [
        f"{count} {'pixels ' if not k else ''}({count / pixels:.2%}) {_WORDS[flag]} ({flag.value})"
        for k, (flag, count) in enumerate(found)
    ]
    return f"flagged: {', '.join(parts)}"
