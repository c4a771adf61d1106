"""What decides an output beside the pixels of its input, in twelve hexadecimal digits.

    RECIPE = SHA-256(model, direction, options, names of the input files, bands and grid)

stands in the header of every translated file, so that an archive that is translated a second time
can tell, from the first bytes of an output, whether this is the one that it would make. Settings of
time and memory (window, batch, device) are not part of it: they change a result by rounding alone,
and whoever runs out of memory may go on with smaller windows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath

from astropy.io import fits

from imgturbo.bundle.settings import Settings
from imgturbo.files import sha256
from imgturbo.sky.blocks import BLOCK

__all__ = ["KEY", "TRANSLATED", "Recipe"]

KEY = "RECIPE"
TRANSLATED = (b"CREATOR = 'imgturbo ", b"MODEL")
"""How a translated file is known (:mod:`imgturbo.places`)."""

_HEAD = 4 * BLOCK
_CARD = 80
_OF_COMPUTING = {"window", "batch", "device"}
_OF_DRAWS = {"seed", "temperature"}


@dataclass(frozen=True)
class Recipe:
    """How one output is made.

    Attributes:
        model: hash of the bundle.
        way: the direction.
        digest: of all of it.
    """

    model: str
    way: str
    digest: str

    @classmethod
    def of(
        cls,
        model: str,
        way: str,
        settings: Settings,
        files: Sequence[Path | str],
        bands: Sequence[str] | None,
        grid: Path | str | None,
        calibration: str | None = None,
    ) -> Recipe:
        """
        Args:
            model: hash of the bundle.
            way: the direction.
            settings: how to compute.
            files, bands, grid: as of `imgturbo.mosaic.translate_file`.
            calibration: name of the intervals by which quantiles are put right, if any are.
        """
        left = _OF_COMPUTING if settings.samples is not None else _OF_COMPUTING | _OF_DRAWS
        chosen = {
            option.name: value
            for option in fields(settings)
            if (value := getattr(settings, option.name)) != option.default
            and option.name not in left
        }  # only what was chosen, so that an option that is new changes no recipe
        content = {
            "model": [model, way],
            "options": chosen,
            "inputs": [_name(file) for file in files],
            "bands": None if bands is None else list(bands),
            "grid": None if grid is None else _name(grid),
        }
        if calibration is not None:
            content["calibration"] = calibration
        return cls(model, way, sha256(json.dumps(content).encode())[:12])

    @property
    def card(self) -> tuple[str, str, str]:
        """Of the output's header."""
        return KEY, self.digest, "of model, options and names of inputs"

    def differs(self, out: Path) -> str | None:
        """Why a file that is there is not what this recipe makes; None if it is.

        Raises:
            OSError: it cannot be read.
        """
        with out.open("rb") as file:
            head = file.read(_HEAD)
        if not all(mark in head for mark in TRANSLATED):
            return "a file that is no translation has its name"
        cards = (head[k : k + _CARD].decode("latin-1") for k in range(0, len(head), _CARD))
        found = {
            card[:8].strip(): str(fits.Card.fromstring(card).value)
            for card in cards
            if card.startswith(("MODEL ", "DIRECTN ", KEY))
        }
        model, way = found.get("MODEL"), found.get("DIRECTN")
        if (model, way) != (self.model, self.way):
            return f"there is an output of another model ({model}, {way})"
        if found.get(KEY, self.digest) != self.digest:  # 0.1.0 wrote none
            return "there is an output of other options or input files"
        return None


def _name(path: Path | str) -> str:
    return PurePath(path).name if isinstance(path, str) else path.name
