"""Small text files that appear whole or not at all (law 6)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from imgturbo.errors import ImgturboError

__all__ = ["write_json"]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON aside, then rename. Raises ImgturboError where ``path`` cannot be written."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(aside, path)
    except OSError as error:
        raise ImgturboError(f"{path}: cannot be written: {error.strerror or error}") from None
