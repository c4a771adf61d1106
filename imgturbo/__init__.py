"""imgturbo: translate the sky as one telescope saw it into what another would have seen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgturbo.bundle import Bundle, load_bundle
    from imgturbo.scoring.evaluate import evaluate
    from imgturbo.sky import SkyImage, Stretch, read_sky, write_sky

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "SkyImage",
    "Stretch",
    "evaluate",
    "load_bundle",
    "read_sky",
    "write_sky",
]

_HOME = {
    "Bundle": "imgturbo.bundle",
    "SkyImage": "imgturbo.sky",
    "Stretch": "imgturbo.sky",
    "evaluate": "imgturbo.scoring.evaluate",
    "load_bundle": "imgturbo.bundle",
    "read_sky": "imgturbo.sky",
    "write_sky": "imgturbo.sky",
}


def __getattr__(name: str) -> Any:
    """Load public names on first use: importing imgturbo costs nothing, and needs no astropy."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
