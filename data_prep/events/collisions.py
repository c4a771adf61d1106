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
_IDS = (11, -12, 5, -5, 2, -1)
"""The six partons, in the order of z, by the numbers of the Particle Data Group."""
_HARD = 12  # entries of the record among which those of the hard process are


class Collision(NamedTuple):
    """One collision.

    Attributes:
        partons: (6, 4), z; see :mod:`imgturbo.events.layout`.
        electron: (4,), what the electron is once it has radiated.
        record: Pythia's, until the next collision.
        place: of that electron in it.
    """

    partons: Floats
    electron: Floats
    record: Any
    place: int

    def others(self) -> tuple[Floats, NDArray[np.int64]]:
        """All other stable particles: four-momenta (N, 4), and what they are (N,)."""
        rows = [
            (*_momentum(p), p.id())
            for n, p in enumerate(self.record)
            if p.isFinal() and n != self.place
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
    found: dict[int, Any] = {}
    for top in (record[n] for n in range(3, min(_HARD, record.size()))):
        if abs(top.id()) == 6 and top.status() == -22:
            for product in _products(record, top):
                w = abs(product.id()) == 24
                for p in _products(record, product) if w else (product,):
                    found[p.id()] = p
    if set(found) != set(_IDS):  # t → b W alone is asked for; nothing else should come
        return None
    partons = np.array([_momentum(found[name]) for name in _IDS])
    last = found[11].iBotCopyId()
    return Collision(partons, np.array(_momentum(record[last])), record, last)


def _products(record: Any, particle: Any) -> Iterator[Any]:
    """What a particle decays into, once it has recoiled from all radiation."""
    last = record[particle.iBotCopyId()]
    return (record[n] for n in range(last.daughter1(), last.daughter2() + 1))


def _momentum(p: Any) -> tuple[float, float, float, float]:
    return p.px(), p.py(), p.pz(), p.e()


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
