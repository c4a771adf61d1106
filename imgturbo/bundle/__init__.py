"""The bundle: one folder that holds a trained model and loads anywhere."""

from __future__ import annotations

from imgturbo.bundle.blend import blend
from imgturbo.bundle.folder import FORMAT, Bundle, Direction, load_bundle, save_bundle

__all__ = ["FORMAT", "Bundle", "Direction", "blend", "load_bundle", "save_bundle"]
