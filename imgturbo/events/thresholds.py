"""What an event must have to be accepted: p_T and |η| of the electron and of every jet.

An event that a network generates need not pass what every event of the data has passed. OTUS drops
those that fail from its figures (arXiv:2101.08944), Turbo-Sim does not (arXiv:2112.10629): both
ways of counting are given side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.events.layout import momenta, transverse

__all__ = ["OTUS_THRESHOLDS", "SELECTION", "Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """Least p_T in GeV and largest size of η, of the electron and of each of the four jets."""

    electron_pt: float
    electron_eta: float
    jet_pt: float
    jet_eta: float

    def passes(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        """Which observed events (N, 24) are accepted, (N,); one with a NaN is not."""
        pt, eta = transverse(momenta(x))
        electron = (pt[:, 0] > self.electron_pt) & (np.abs(eta[:, 0]) < self.electron_eta)
        jets = (pt[:, 2:] > self.jet_pt) & (np.abs(eta[:, 2:]) < self.jet_eta)
        return electron & jets.all(1)


SELECTION = Thresholds(electron_pt=20.0, electron_eta=2.5, jet_pt=20.0, jet_eta=2.5)
"""Of the events that :mod:`data_prep.events` generates."""

OTUS_THRESHOLDS = Thresholds(electron_pt=10.0, electron_eta=2.5, jet_pt=20.0, jet_eta=4.5)
"""Of the public events of OTUS, as its code masks them."""
