"""The sky: images with coordinates, read and written, resampled, stretched invertibly.

Names load on first use, so that ``imgturbo.sky.stretch`` and ``imgturbo --help`` need no astropy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgturbo.sky.image import SkyImage
    from imgturbo.sky.photometry import is_surface_brightness
    from imgturbo.sky.read import SkyReader, open_sky, read_sky
    from imgturbo.sky.resampling import resample
    from imgturbo.sky.spec import SkySpec
    from imgturbo.sky.stretch import Stretch
    from imgturbo.sky.write import SkyWriter, write_sky

__all__ = [
    "SkyImage",
    "SkyReader",
    "SkySpec",
    "SkyWriter",
    "Stretch",
    "is_surface_brightness",
    "open_sky",
    "read_sky",
    "resample",
    "write_sky",
]

_HOME = {
    "SkyImage": "image",
    "SkyReader": "read",
    "SkySpec": "spec",
    "SkyWriter": "write",
    "Stretch": "stretch",
    "is_surface_brightness": "photometry",
    "open_sky": "read",
    "read_sky": "read",
    "resample": "resampling",
    "write_sky": "write",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
