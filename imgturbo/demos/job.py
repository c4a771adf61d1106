"""What every demo does alike: its outputs are free before any work, and it trains to the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from imgturbo.config import Config
from imgturbo.places import Mark, free_place
from imgturbo.stopping import Stopped

__all__ = ["free_outputs", "trained"]


def free_outputs(marks: Mapping[Path, Mark]) -> None:
    """Refuse outputs in whose place something stands that no demo has made.

    Args:
        marks: how a file that may be replaced is known, by output.

    Raises:
        ImgturboError: which of them.
    """
    for path, mark in marks.items():
        free_place(path, mark=mark, remedy="move it, or choose another --out")


def trained(config: Config, console: Console) -> Path:
    """Train, and say what came of it; the bundle.

    Raises:
        Stopped: by a signal.
    """
    from imgturbo.training import train  # slow to load, and no worker that simulates sky needs it

    result = train(config)
    if not result.finished:
        raise Stopped(result.stopped_by, result.message)
    assert result.bundle is not None
    console.print(result.message, markup=False)
    return result.bundle
