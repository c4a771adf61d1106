"""Scores of translated images; see :func:`evaluate`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imgturbo.metrics.image import ms_ssim, mse, psnr, ssim
from imgturbo.metrics.spectrum import log_spectrum_error, power_spectrum

if TYPE_CHECKING:
    from imgturbo.metrics.scoring import evaluate

__all__ = [
    "evaluate",
    "log_spectrum_error",
    "ms_ssim",
    "mse",
    "power_spectrum",
    "psnr",
    "ssim",
]


def __getattr__(name: str) -> Any:
    """`evaluate` reads FITS and so needs astropy; the tensor metrics do not.

    Its module is called otherwise: one of the same name would hide the function once imported.
    """
    if name == "evaluate":
        return import_module("imgturbo.metrics.scoring").evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
