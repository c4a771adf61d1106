r"""A parametrised detector: from all stable particles of a collision to the 24 numbers of x.

    electron      E → E (1 + σ_e ε),  σ_e = 10 %/√E ⊕ 0.7 %;          p_T > 20 GeV, |η| < 2.5
    jets          anti-k_T, R = 0.5, of all visible particles with |η| < 4.9 but the electron;
                  p → p (1 + σ_j ε),  σ_j = 50 %/√E ⊕ 3 %;             p_T > 20 GeV, |η| < 2.5
    p^miss        −Σ p_T of all that is visible with |η| < 4.9, moved by what the smearing changed

Selection: the electron, and exactly four jets (as OTUS has it, arXiv:2101.08944). There is neither
a magnetic field nor pile-up, and an electron need not be isolated. E in GeV; ⊕ adds in quadrature.
Jets: Cacciari, Salam & Soyez 2012, arXiv:1111.6097 (fastjet), and 2008, arXiv:0802.1189.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.events.layout import transverse
from imgturbo.events.thresholds import SELECTION, Thresholds

__all__ = ["Detector"]

Floats = NDArray[np.float64]

_SOFTEST = 10.0  # GeV; no smearing makes a jet of 20 out of a softer one (> 8 σ)
_NEUTRINOS = (12, 14, 16)


@dataclass(frozen=True)
class Detector:
    """What is measured, and how well.

    Attributes:
        radius: R of the jets.
        reach: largest |η| at which anything is seen.
        electron, jet: (stochastic, constant): σ/E = stochastic/√E ⊕ constant.
        jets: how many there must be.
        thresholds: what counts as an electron and as a jet.
    """

    radius: float = 0.5
    reach: float = 4.9
    electron: tuple[float, float] = (0.10, 0.007)
    jet: tuple[float, float] = (0.50, 0.03)
    jets: int = 4
    thresholds: Thresholds = SELECTION

    def see_electron(self, electron: Floats, generator: np.random.Generator) -> Floats | None:
        """The electron (4,) as it is measured; None where it is lost."""
        seen = electron * self._response(electron[3:], self.electron, generator)
        pt, eta = transverse(seen)
        cuts = self.thresholds
        return seen if pt > cuts.electron_pt and abs(eta) < cuts.electron_eta else None

    def visible(self, particles: Floats, identities: NDArray[np.integer[Any]]) -> Floats:
        """Of stable particles (N, 4), what they are (N,), those that leave a trace, (n, 4)."""
        _, eta = transverse(particles)
        return particles[(np.abs(eta) < self.reach) & ~np.isin(np.abs(identities), _NEUTRINOS)]

    def cluster(self, events: Sequence[Floats]) -> list[Floats]:
        """The jets (n, 4) of events' visible particles (N, 4) but the electron, by falling p_T.

        Many events are clustered at the cost of few: fastjet's own objects are slow to make.
        """
        import awkward as ak
        import fastjet
        import vector

        vector.register_awkward()  # type: ignore[no-untyped-call]
        rows, counts = np.concatenate(events), [len(event) for event in events]
        columns = {name: rows[:, n] for n, name in enumerate(("px", "py", "pz", "E"))}
        particles = ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)
        definition = fastjet.JetDefinition(fastjet.antikt_algorithm, self.radius)
        found = fastjet.ClusterSequence(particles, definition).inclusive_jets(_SOFTEST)
        flat = ak.flatten(found)
        jets = np.stack([np.asarray(flat[name]) for name in columns], 1)
        each = np.split(jets, np.cumsum(np.asarray(ak.num(found)))[:-1])
        return [one[np.argsort(-(one[:, :2] ** 2).sum(1), kind="stable")] for one in each]

    def see(
        self,
        electron: Floats,
        measured: Floats,
        visible: Floats,
        found: Floats,
        generator: np.random.Generator,
    ) -> Floats | None:
        """The 24 numbers of an event; None where it has not as many jets as wanted.

        Args:
            electron: (4,), as it is.
            measured: (4,), as :meth:`see_electron` has it.
            visible: (N, 4), all else that is seen, as :meth:`visible` has it.
            found: (n, 4), the jets of those, as :meth:`cluster` has them.
            generator: of the smearing.
        """
        seen = found * self._response(found[:, 3], self.jet, generator)[:, None]
        pt, eta = transverse(seen)
        cuts = self.thresholds
        kept = (pt > cuts.jet_pt) & (np.abs(eta) < cuts.jet_eta)
        if kept.sum() != self.jets:
            return None
        jets = seen[kept][np.argsort(-pt[kept], kind="stable")]
        moved = (seen - found)[:, :2].sum(0) + (measured - electron)[:2]
        missing = -(visible[:, :2].sum(0) + electron[:2] + moved)
        met = np.array([*missing, 0.0, np.hypot(*missing)])
        return np.concatenate([measured, met, jets.ravel()])

    @staticmethod
    def _response(energy: Any, width: tuple[float, float], generator: np.random.Generator) -> Any:
        """Factors on momenta of these energies (n,); never below 0."""
        stochastic, constant = width
        sigma = np.hypot(stochastic / np.sqrt(energy), constant)
        return np.maximum(1 + sigma * generator.standard_normal(np.shape(energy)), 0.0)
