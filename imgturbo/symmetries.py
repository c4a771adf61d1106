"""The symmetries of the sky: subgroups of the dihedral group D4, by their names.

An element of D4 is t^a r^k: a transposition or none, then k quarter turns. A sky has no preferred
up or handedness, so that all eight are equally likely views of it (``d4``). ``flips`` is the
subgroup {e, r², h, v} for detectors whose x and y differ, and ``mirror``, {e, h}, is that of
photographs, which have an up and no handedness. Training moves tiles by them (``data.augment``),
and a translation may be the mean over them (``imgturbo translate --ensemble``).
"""

from __future__ import annotations

from typing import Literal

__all__ = ["GROUPS", "Element", "Symmetries", "mirrors"]

Symmetries = Literal["none", "mirror", "flips", "d4"]
"""The names of the groups."""

Element = tuple[bool, int]
"""Whether rows and columns are exchanged first, and the quarter turns (anticlockwise) then made."""

GROUPS: dict[Symmetries, tuple[Element, ...]] = {
    "none": ((False, 0),),
    "mirror": ((False, 0), (True, 3)),
    "flips": ((False, 0), (False, 2), (True, 1), (True, 3)),
    "d4": tuple((transposed, turns) for transposed in (False, True) for turns in range(4)),
}
"""The elements of each group, e first."""

_MIRRORS: tuple[tuple[int, ...], ...] = ((), (0,), (0, 1), (1,))  # by quarter turns


def mirrors(element: Element) -> tuple[bool, tuple[int, ...]]:
    """The same element in other words: whether to transpose first, and which axes to mirror then.

    Returns:
        ``(transposed, axes)`` with 0 for rows and 1 for columns. A quarter turn is a transposition
        and a mirroring of the rows.
    """
    transposed, turns = element
    return transposed != bool(turns % 2), _MIRRORS[turns]
