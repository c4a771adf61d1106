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
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError

__all__ = ["SETTINGS", "Collision", "collisions", "require_generators"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

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
_AT_A_TIME = 20  # collisions; of a block's last ones some are made in vain
_HARD = 12  # entries of the record among which those of the hard process are


class Collision(NamedTuple):
    """One collision.

    Attributes:
        partons: (6, 4), z; see :mod:`imgturbo.events.layout`.
        electron: (4,), what the electron is once it has radiated.
        others: (N, 4), the four-momenta of all other stable particles.
        identities: (N,), what those are, by the numbers of the Particle Data Group.
    """

    partons: Floats
    electron: Floats
    others: Floats
    identities: Ints


class _Record(NamedTuple):
    """Pythia's record of an event, an entry a row."""

    identities: Ints
    status: Ints
    daughters: Ints  # (N, 2)
    momenta: Floats  # (N, 4)

    def products(self, entry: int) -> list[int]:
        """Where those stand that an entry has become, by Pythia's two numbers."""
        first, last = self.daughters[entry].tolist()
        if first == 0:
            return []
        if 0 < last < first:  # two that do not stand side by side
            return [last, first]
        return list(range(first, max(first, last) + 1))

    def last(self, entry: int) -> int:
        """The last copy of a particle: once it has recoiled from all radiation."""
        while True:
            own = self.identities[entry]
            copies = [n for n in self.products(entry) if self.identities[n] == own]
            if len(copies) != 1:
                return entry
            entry = copies[0]


def collisions(seed: int) -> Iterator[list[Collision]]:
    """Collisions without end, some at a time; a pure function of the seed, 1 to 900 000 000.

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
        # Rarely an event cannot be finished; it is skipped, and the next one is independent.
        found = (_collision(record) for record in _records(pythia.nextBatch(_AT_A_TIME)))
        yield [collision for collision in found if collision is not None]


def _records(events: Any) -> Iterator[_Record]:
    """Pythia's records as plain arrays: an awkward array is slow an element at a time."""
    import awkward as ak

    entries = ak.flatten(events.prt)
    numbers = {name: np.asarray(entries[name]) for name in ("id", "status")}
    daughters = np.stack([np.asarray(entries[f"daughter{n}"]) for n in (1, 2)], 1)
    momenta = np.stack([np.asarray(entries.p[name]) for name in ("px", "py", "pz", "e")], 1)
    edges = np.concatenate([[0], np.cumsum(np.asarray(ak.num(events.prt)))])
    for start, end in pairwise(edges.tolist()):
        rows = slice(start, end)
        yield _Record(numbers["id"][rows], numbers["status"][rows], daughters[rows], momenta[rows])


def _collision(record: _Record) -> Collision | None:
    """The six partons in the record, and the electron at the end of its line."""
    found: dict[int, int] = {}
    for top in range(3, min(_HARD, len(record.status))):
        if abs(record.identities[top]) == 6 and record.status[top] == -22:
            for product in record.products(record.last(top)):
                w = abs(record.identities[product]) == 24
                for entry in record.products(record.last(product)) if w else [product]:
                    found[int(record.identities[entry])] = entry
    if set(found) != set(_IDS):  # t → b W alone is asked for; nothing else should come
        return None
    electron = record.last(found[11])
    others = record.status > 0
    others[electron] = False
    return Collision(
        record.momenta[[found[name] for name in _IDS]],
        record.momenta[electron],
        record.momenta[others],
        record.identities[others],
    )


def require_generators() -> ModuleType:
    """Pythia's module, if what generates events is installed.

    Raises:
        ImgturboError: what is missing, and how to install it.
    """
    for name in ("pythia8mc", "fastjet", "awkward", "vector"):
        try:
            __import__(name)
        except ImportError as error:
            raise ImgturboError(
                f"events are generated with Pythia and fastjet, for which {name} cannot be loaded "
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
