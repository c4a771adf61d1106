"""What can be had without any network: partons smeared, and jets taken for partons.

These are the rows that a trained map has to beat: the detector as a formula, and what an analysis
does by hand (the least χ² of the twelve assignments, the mass of the W for the neutrino's p_z).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.events.layout import momenta, transverse
from imgturbo.events.masses import assigned_jets, neutrino_of

__all__ = ["JET_RESOLUTION", "reconstructed", "smeared"]

Floats = NDArray[np.float64]

JET_RESOLUTION = (0.5, 0.03)
"""σ/E = 50 %/√E ⊕ 3 %, E in GeV: that of the detector of :mod:`data_prep.events`."""


def smeared(z: NDArray[Any], generator: np.random.Generator) -> Floats:
    """Observed events (N, 24) of partons (N, 24), as if every quark were one jet.

    Jets are the quarks in the order of p_T with the jets' resolution, p^miss is the neutrino moved
    by what that changed; the electron is as it is.
    """
    p = momenta(np.asarray(z, np.float64))
    quarks = p[:, 2:]
    sigma = np.hypot(JET_RESOLUTION[0] / np.sqrt(quarks[..., 3]), JET_RESOLUTION[1])
    factor = np.maximum(1 + sigma * generator.standard_normal(sigma.shape), 0.01)
    jets = quarks * factor[..., None]
    order = np.argsort(-transverse(jets)[0], axis=1, kind="stable")
    missing = p[:, 1, :2] - (jets - quarks).sum(1)[:, :2]
    met = np.column_stack([missing, np.zeros(len(p)), np.hypot(*missing.T)])
    sorted_jets = np.take_along_axis(jets, order[..., None], 1)
    return np.concatenate([p[:, :1], met[:, None], sorted_jets], 1).reshape(len(p), -1)


def reconstructed(x: NDArray[Any], generator: np.random.Generator) -> Floats:
    """Partons (N, 24) of observed events (N, 24): each jet is the quark that it is assigned to.

    Which of the two jets of the W is u and which d̄ is drawn.
    """
    p = momenta(np.asarray(x, np.float64))
    leptonic, hadronic, first, second = np.moveaxis(assigned_jets(x), 1, 0)
    swap = (generator.random(len(p)) < 0.5)[:, None]
    up, down = np.where(swap, second, first), np.where(swap, first, second)
    rows = [p[:, 0], neutrino_of(p), hadronic, leptonic, up, down]
    return np.stack(rows, 1).reshape(len(p), -1)
