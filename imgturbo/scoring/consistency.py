"""Whether a restored image explains the observation that it was made of.

    ratio = ‖A x̃ − y‖² / (σ² m),      y the m measurements in z, σ their noise

is about 1 for the truth. Far above it x̃ contradicts what was measured; far below it x̃ has taken the
noise for sky. It is judged on the scale of stretched values, on which A acts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imgturbo.bundle import Bundle
from imgturbo.errors import ImgturboError
from imgturbo.nets.operators import observer
from imgturbo.scoring.together import Image, as_sky, in_unit_of
from imgturbo.side import Side
from imgturbo.sky import SkyImage

__all__ = ["consistency"]


@torch.inference_mode()
def consistency(bundle: Bundle, observed: Image, restored: Image) -> dict[str, Any]:
    """Hold a restored image against the observation, by the operator in the bundle.

    Args:
        bundle: of a decoder that was trained behind an operator with noise.
        observed: z, an image or its file, in the unit of the bundle's source and on pixels of its
            size; measured everywhere.
        restored: x̃, on the same grid.

    Returns:
        ``ratio``, ``measurements`` m and ``noise`` σ. Where the operator sees beyond the edge of
        the image, what does is left out.

    Raises:
        ImgturboError: a bundle without such an operator, images that cannot be compared, are not
            measured everywhere, or do not fit the operator.
    """
    instrument = observer(bundle.encoder)
    if instrument is None or not instrument.stochastic:
        raise ImgturboError(
            f"{bundle.path}: holds no operator with noise, so that nothing is known of how well "
            "data should be met; train one with model.encoder: {kind: operator, noise: …}"
        )
    seen = as_sky(observed, "observed")
    made = in_unit_of(seen, as_sky(restored, "restored"))
    z, x = _stretched(seen, bundle.source), _stretched(made, bundle.target)
    if z.shape != x.shape:
        raise ImgturboError(
            f"the observed image has {tuple(z.shape[1:])} bands and pixels and the restored one "
            f"{tuple(x.shape[1:])}; give images of one grid"
        )
    if z.shape[-2] != z.shape[-1] and instrument.size is not None:
        raise ImgturboError(
            f"{bundle.path}: its operator reads squares of {instrument.size} pixels, not "
            f"{z.shape[-2]} × {z.shape[-1]}; cut one out"
        )
    instrument.check(z.shape[-1], z.shape[-1])
    squares, measurements = instrument.residual(x, z, inner=True)
    sigma = float(instrument.sigma)
    ratio = float(squares) / (sigma**2 * measurements)
    return {"ratio": ratio, "measurements": measurements, "noise": sigma}


def _stretched(image: SkyImage, side: Side) -> Tensor:
    """(1, C, H, W) as the networks see it; the side's bands, by name where they have names.

    Raises:
        ImgturboError: something is not measured.
    """
    nameless = len(image.bands) == len(side) and not set(image.bands) & set(side.names)
    chosen = image if nameless else image.select(side.names)
    if not chosen.valid.all():
        raise ImgturboError(
            f"{image.path or 'the image'}: {int((~chosen.valid).sum())} pixels are not measured, "
            "of which nothing can be said; cut out a window that is measured everywhere"
        )
    return torch.from_numpy(side.stretch(chosen.data)).float()[None]
