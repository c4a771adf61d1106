"""Small files that appear whole or not at all (law 6)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from imgturbo.errors import ImgturboError

__all__ = ["write_json", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside, then rename it; folders are made where there are none.

    Raises:
        ImgturboError: ``path`` cannot be written; what was there before is still there.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(content)
            os.replace(aside, path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ImgturboError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or choose "
            "another place"
        ) from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole.

    Raises:
        ImgturboError: as of ``write_whole``.
        ValueError: a number that JSON has no word for (NaN, infinity).
    """
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
