r"""The baseline of super-resolution: a coarse image by cubic convolution, on the target's pixels.

    ŷ = bicubic_r(stretch(f·10^{0.4 ΔZP})),     r pixels of the target across one of the source

with the kernel of Keys 1981 (:func:`imgturbo.nets.super_resolution.bicubic`), on the scale that the
scores are of, which treats it better than interpolated fluxes would: a bright star rings less.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.metrics.baselines import identity
from imgturbo.nets.super_resolution import bicubic
from imgturbo.scoring.together import flux_factors
from imgturbo.sky import SkyImage, Stretch
from imgturbo.sky.frames import same_grid
from imgturbo.sky.grids import zoomed_grid

__all__ = ["bicubic_of", "pixels_across"]

_SAME = 1e-3
_MOST = 16


def pixels_across(source: SkyImage, target: SkyImage) -> int | None:
    """How many pixels of the target lie across one of the source, both beginning at one place.

    None where that is no whole number above 1, or the grids are not nested.
    """
    if source.wcs is None or target.wcs is None:
        return None
    wide, fine = source.pixel_scale, target.pixel_scale
    assert wide is not None
    assert fine is not None
    factor = round(wide / fine)
    if not 2 <= factor <= _MOST or abs(wide / fine / factor - 1) > _SAME:
        return None
    height, width = target.shape[1:]
    wcs, shape = zoomed_grid(source.wcs, source.valid.shape, Fraction(factor))
    if shape[0] < height or shape[1] < width:
        return None
    return factor if same_grid(wcs, target.wcs, (height, width)) else None


def bicubic_of(
    source: SkyImage, prediction: SkyImage, stretch: Stretch
) -> NDArray[np.float32] | None:
    """The source on the pixels of the prediction, stretched (C, H, W); None: see the module.

    Args:
        source: on its own pixels; what was not measured is taken for sky.
        prediction: whose bands, unit and grid are wanted.
        stretch: of its bands.
    """
    factor = pixels_across(source, prediction)
    if factor is None:
        return None
    taken = identity(np.arange(len(source.bands)), len(prediction.bands))
    factors = flux_factors([source.scales[k] for k in taken], prediction)
    if factors is None:
        return None
    y = np.nan_to_num(stretch(source.data[taken] * factors), nan=0.0)
    height, width = prediction.shape[1:]
    fine: NDArray[np.float32] = bicubic(torch.from_numpy(y[None]), factor)[0].numpy()
    return fine[:, :height, :width]
