"""Bands that were measured in the same places: what a network needs, and a score.

A pixel counts where every band was measured. Two bands whose footprints do not meet, or whose masks
leave nothing in common, have no such pixel, and whatever is made of them would be empty. Which of
them that is, the matrix of common pixels tells,

    N_ij = Σ_p m_i(p) m_j(p),        m_i(p) = 1 where band i was measured at p, else 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError

__all__ = ["require_common", "require_common_in"]

_BLOCK = 1 << 20  # pixels looked at in one go


def require_common(
    blocks: Iterable[NDArray[np.bool_]], bands: Sequence[str], where: str, remedy: str = ""
) -> None:
    """Stop at the first pixel that every band has, and name those that have none in common.

    Args:
        blocks: (C, …) each, where the bands were measured; some of the image at a time.
        bands: their names.
        where: the file or files, for the message.
        remedy: what can be done; None given: what can be done with bands in general.

    Raises:
        ImgturboError: no block holds a pixel that was measured in every band.
    """
    together = np.zeros((len(bands), len(bands)))
    for block in blocks:
        measured = block.reshape(len(bands), -1)
        if np.logical_and.reduce(measured, axis=0).any():
            return
        flat = measured.astype(np.float32)
        together += flat @ flat.T
    remedy = remedy or "give bands that cover the same sky, and look at their masks"
    empty = [band for band, count in zip(bands, np.diag(together), strict=True) if not count]
    if empty:
        names = f"band {empty[0]} has" if len(empty) == 1 else f"bands {', '.join(empty)} have"
        raise ImgturboError(f"{where}: {names} no valid pixel there; {remedy}")
    apart = [(i, j) for i, j in combinations(range(len(bands)), 2) if not together[i, j]]
    pair = f" ({bands[apart[0][0]]} and {bands[apart[0][1]]} share none)" if apart[:1] else ""
    raise ImgturboError(
        f"{where}: no pixel was measured in all of {', '.join(bands)}"
        f"{pair if len(bands) > 2 else ''}; {remedy}"
    )


def require_common_in(
    read: Callable[[slice, slice], NDArray[np.floating]],
    size: tuple[int, int],
    bands: Sequence[str],
    where: str,
) -> None:
    """As :func:`require_common`, of an image that is read by windows, from its middle outward.

    Args:
        read: ``(rows, cols) → (C, h, w)``, NaN where a band was not measured.
        size: (H, W).
        bands, where: as of :func:`require_common`.
    """
    height, width = size
    tall = max(1, _BLOCK // width)
    tops = sorted(range(0, height, tall), key=lambda top: abs(2 * top + tall - height))
    across = slice(0, width)
    blocks = (np.isfinite(read(slice(top, min(top + tall, height)), across)) for top in tops)
    require_common(blocks, bands, where)
