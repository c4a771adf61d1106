"""The bundle: one folder that holds a trained model and loads anywhere."""

from __future__ import annotations

from imgturbo.bundle.blend import blend
from imgturbo.bundle.folder import FORMAT, Bundle, Direction, load_bundle, save_bundle
from imgturbo.bundle.translation import Translation

__all__ = [
    "FORMAT",
    "Bundle",
    "Direction",
    "Translation",
    "blend",
    "load_bundle",
    "save_bundle",
]
