r"""What shape has a galaxy? Of a stamp with the source in its middle.

The *outline* is the connected group of pixels above the noise that holds the middle (photutils); it
is drawn once, in the truth, so that truth and prediction are measured in the same pixels. With
its second moments, a and b their axes,

    ε = 1 − b/a.

By statmorph (Rodriguez-Gomez et al. 2019, arXiv 1809.08239; extra ``morphology``): the Sérsic index
n of the profile I(r) ∝ exp(−b_n (r/r_e)^{1/n}) as it is seen, through the telescope; Gini, how
unequally the light is spread over pixels (0 evenly, 1 all in one); M20, the logarithm of the second
moment of the brightest fifth of the light; and the asymmetry A under half a turn.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from photutils.segmentation import SegmentationImage, SourceCatalog, detect_sources
from scipy.ndimage import gaussian_filter

__all__ = ["NAMES", "NOTHING", "Shape", "can_measure", "ellipticity", "outline", "shape_of"]

Array = NDArray[np.float64]

NAMES = ("sersic_n", "gini", "m20", "asymmetry")
"""What statmorph measures, in the order of :class:`Shape`."""

_SMOOTH = 1.0  # pixels, σ of the filter before the outline is drawn
_ABOVE = 1.0  # σ of an unfiltered pixel: some 3.5 of the filtered noise
_LEAST = 5  # pixels of an outline
_INDICES = (0.1, 8.0)  # of n that a fit may give
_GOOD = 1  # statmorph's flag: 0 good, 1 to be looked at, 2 bad, 4 failed


class Shape(NamedTuple):
    """NaN where it could not be measured."""

    sersic_n: float
    gini: float
    m20: float
    asymmetry: float


NOTHING = Shape(*[float("nan")] * 4)
"""Of what could not be measured."""


def can_measure() -> bool:
    """Whether statmorph is installed."""
    return importlib.util.find_spec("statmorph") is not None


def outline(stamp: Array, sigma: float) -> SegmentationImage | None:
    """The source in the middle, label 1, and its neighbours; None where the middle is dark.

    Args:
        stamp: (H, W), finite, less the sky.
        sigma: noise of a pixel.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a stamp without sources
        found = detect_sources(gaussian_filter(stamp, _SMOOTH), _ABOVE * sigma, _LEAST)
    row, col = (side // 2 for side in stamp.shape)
    if found is None or not (label := int(found.data[row, col])):
        return None
    if label != 1:
        found.reassign_labels([1, label], [found.max_label + 1, 1])
    return found


def ellipticity(stamp: Array, source: SegmentationImage) -> float:
    """ε of the source's pixels (label 1); NaN where their moments have no axes."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return float(np.atleast_1d(SourceCatalog(stamp, source).get_label(1).ellipticity)[0])


def shape_of(stamp: Array, source: SegmentationImage, sigma: float) -> Shape:
    """Sérsic index, Gini, M20 and asymmetry of the source (label 1); needs statmorph.

    Args:
        stamp: (H, W), finite, less the sky.
        source: its :func:`outline`.
        sigma: noise of a pixel.
    """
    from statmorph import SourceMorphology

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # it says in flags what matters
        try:
            found = SourceMorphology(stamp, source, 1, weightmap=np.full(stamp.shape, sigma))
        except Exception:  # a fit of a shape that is none may end anyhow
            return NOTHING
    if found.flag > _GOOD:
        return NOTHING
    index = float(found.sersic_n)
    known = found.flag_sersic == 0 and _INDICES[0] < index < _INDICES[1]
    return Shape(
        index if known else float("nan"),
        float(found.gini),
        float(found.m20),
        float(found.asymmetry),
    )
