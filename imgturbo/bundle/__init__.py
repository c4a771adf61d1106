"""The bundle: one folder that holds a trained model and loads anywhere."""

from __future__ import annotations

from imgturbo.bundle.blend import blend
from imgturbo.bundle.export import Exported, export
from imgturbo.bundle.folder import (
    FORMAT,
    Bundle,
    Direction,
    annotate,
    load_bundle,
    save_bundle,
)
from imgturbo.bundle.intervals import Correction, Intervals
from imgturbo.bundle.push import Pushed, push
from imgturbo.bundle.settings import Settings
from imgturbo.bundle.translation import Translation

__all__ = [
    "FORMAT",
    "Bundle",
    "Correction",
    "Direction",
    "Exported",
    "Intervals",
    "Pushed",
    "Settings",
    "Translation",
    "annotate",
    "blend",
    "export",
    "load_bundle",
    "push",
    "save_bundle",
]
