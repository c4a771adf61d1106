"""Bundles that travel with the package: which there are, and where they lie.

They are known without torch, so that a name that means nothing is answered at once.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["PRETRAINED", "by_name", "shipped", "travels"]

PRETRAINED = Path(__file__).parent / "bundle" / "pretrained"
"""The folder that holds them."""


def shipped() -> list[str]:
    """Their names."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/bundle.json"))


def by_name(path: Path) -> Path:
    """The folder of the one of this name, where nothing else has it; else the path itself."""
    return PRETRAINED / path if not path.exists() and str(path) in shipped() else path


def travels(path: Path) -> bool:
    """Whether it lies among them, by whatever path it is named."""
    return path.resolve().is_relative_to(PRETRAINED.resolve())
