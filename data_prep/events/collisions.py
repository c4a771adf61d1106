"""Collisions pp → tt̄ → (b̄ e⁻ν̄)(b u d̄) at 13 TeV, by Pythia 8: partons and all that becomes of them.

Hard process (gg, qq̄ → tt̄), showers, many parton interactions and hadronisation are Pythia's with
its own settings (Monash tune; Bierlich et al. 2022, arXiv:2203.11601). The partons z are those of
the event as the decays leave them: tops and W bosons have recoiled from radiation off the beams,
and what the six radiate themselves is not yet lost. So e⁻ν̄ and u d̄ have exactly the mass of a W.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError

__all__ = ["SETTINGS", "Collision", "collisions", "require_generators"]

Floats = NDArray[np.float64]

SETTINGS = (
    "Beams:eCM = 13000.",
    "Top:gg2ttbar = on",
    "Top:qqbar2ttbar = on",
    "6:onMode = off",
    "6:onIfMatch = 5 24",
    "24:onMode = off",
    "24:onPosIfMatch = 1 2",
    "24:onNegIfMatch = 11 12",
)
"""Of Pythia, beside its own defaults: t → b u d̄, t̄ → b̄ e⁻ν̄."""

_QUIET = ("Print:quiet = on", "Print:errors = off", "Random:setSeed = on")
_INSTALL = "pip install 'imgturbo[hep]'"
_IDS = {11: 0, -12: 1, 5: 2, -5: 3, 2: 4, -1: 5}
"""Which of the six partons a particle of a decay is."""


class Collision(NamedTuple):
    """One collision.

    Attributes:
        partons: (6, 4), z; see :mod:`imgturbo.events.layout`.
        electron: (4,), what the electron is once it has radiated.
        record: Pythia's, until the next collision.
        index: of that electron in it.
    """

    partons: Floats
    electron: Floats
    record: Any
    index: int

    def others(self) -> tuple[Floats, NDArray[np.int64]]:
        """All other stable particles: four-momenta (N, 4), and what they are (N,)."""
        rows = [
            (p.px(), p.py(), p.pz(), p.e(), p.id())
            for n, p in enumerate(self.record)
            if p.isFinal() and n != self.index
        ]
        found = np.array(rows)
        return found[:, :4], found[:, 4].astype(np.int64)


def collisions(seed: int) -> Iterator[Collision]:
    """Collisions without end; a pure function of the seed, 1 to 900 000 000.

    Raises:
        ImgturboError: Pythia is not installed, or does not start.
    """
    pythia8 = require_generators()
    pythia = pythia8.Pythia(_data(pythia8), False)
    for line in (*_QUIET, f"Random:seed = {seed}", *SETTINGS):
        if not pythia.readString(line):
            raise ImgturboError(f"Pythia does not know {line!r}; {_INSTALL}, its version 8.317.2")
    if not pythia.init():
        raise ImgturboError(f"Pythia does not start; {_INSTALL} anew")
    while True:
        if not pythia.next():  # rarely an event cannot be finished; the next one is independent
            continue
        found = _collision(pythia.event)
        if found is not None:
            yield found


def _collision(record: Any) -> Collision | None:
    """The six partons in the record, and the electron at the end of its line."""
    partons = np.full((6, 4), np.nan)
    first = -1
    for n, p in enumerate(record):
        # Products of a decay of the hard process; 24 and 6 are W and top.
        if abs(p.status()) != 23 or p.id() not in _IDS:
            continue
        if abs(record[p.mother1()].id()) not in (6, 24):
            continue
        partons[_IDS[p.id()]] = p.px(), p.py(), p.pz(), p.e()
        if p.id() == 11:
            first = n
    if not np.isfinite(partons).all():  # t → b W alone is asked for; nothing else should come
        return None
    last = record[first].iBotCopyId()
    e = record[last]
    return Collision(partons, np.array([e.px(), e.py(), e.pz(), e.e()]), record, last)


def require_generators() -> ModuleType:
    """Pythia's module, if what generates events is installed.

    Raises:
        ImgturboError: what is missing, and how to install it.
    """
    for name in ("pythia8mc", "fastjet"):
        try:
            __import__(name)
        except ImportError as error:
            raise ImgturboError(
                f"events are generated with Pythia and fastjet, of which {name} cannot be loaded "
                f"({error}); {_INSTALL}"
            ) from None
    return sys.modules["pythia8mc"]


def _data(module: ModuleType) -> str:
    """Pythia's folder of particle data, which a wheel puts below the environment's ``share``."""
    places = [Path(str(module.__file__)).parent, Path(sys.prefix)]
    for place in places:
        folder = place / "share" / "Pythia8" / "xmldoc"
        if folder.is_dir():
            os.environ.setdefault("PYTHIA8DATA", str(folder))  # parts of it are read by this alone
            return str(folder)
    return os.environ.get("PYTHIA8DATA", "")
