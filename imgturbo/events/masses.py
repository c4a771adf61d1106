r"""Masses of what decayed, from four-momenta of what is left, vectorised over events.

    m² = (ΣE)² − |Σp|²,   signed root  m = sign(m²) √|m²|

The neutrino's p_z is not observed. It follows from the mass of the W, m_W² = (p_e + p_ν)²:

    a p_z² + b p_z + c = 0,   k = (m_W² − m_e²)/2 + p_T·p_T^miss,
    a = E_e² − p_z,e²,   b = −2 k p_z,e,   c = E_e² |p_T^miss|² − k²

of two roots the smaller in absolute value; the real part where they are complex. Which jet is which
is told by the least χ² of the twelve assignments of four jets to (b of the leptonic top, b of the
hadronic top, W):

    χ² = ((m_t^lep − m_t)/5)² + ((m_W^had − m_W)/10)² + ((m_t^had − m_t)/15)²

with m_W = 80.379 and m_t = 172.76 GeV (Quétant et al. 2021, arXiv:2112.10629, section 3, and its
code; OTUS, arXiv:2101.08944, has 80.4 and 172.5 and sets m² < 0 to 0). m_tt is the mass of all six.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.events.layout import OBJECTS, PARTONS, columns, momenta

__all__ = [
    "ASSIGNMENTS",
    "MASSES",
    "M_TOP",
    "M_W",
    "TABLE",
    "WIDTHS",
    "assigned_jets",
    "invariant_mass",
    "neutrino_of",
    "neutrino_pz",
    "observables",
    "reconstructed_masses",
    "resonances",
]

Floats = NDArray[np.float64]

M_W, M_TOP = 80.379, 172.76
WIDTHS = {"m_t_lep": 5.0, "m_W_had": 10.0, "m_t_had": 15.0}
MASSES = ("m_tt", "m_W_had", "m_t_lep", "m_t_had")
TABLE: Mapping[str, str] = {
    **{f"b_{component}": "z" for component in ("py", "pz", "E")},
    **{f"jet1_{component}": "x" for component in ("py", "pz", "E")},
    **dict.fromkeys(MASSES, "x"),
}
"""The ten observables of the paper's table, each with the space that it is taken in."""

_ROWS = 1 << 16  # events at a time: twelve assignments of each in memory


def _assignments() -> NDArray[np.int64]:
    """(12, 4): leptonic b, hadronic b, and the two jets of the W, whose order is no matter."""
    found = []
    for first, second in combinations(range(4), 2):
        left = [jet for jet in range(4) if jet not in (first, second)]
        found += [[left[0], left[1], first, second], [left[1], left[0], first, second]]
    return np.array(found)


ASSIGNMENTS = _assignments()


def invariant_mass(p: NDArray[Any]) -> Floats:
    """The mass of four-momenta (…, 4), GeV; negative where m² is.

    >>> invariant_mass(np.array([[3.0, 0.0, 0.0, 5.0], [5.0, 0.0, 0.0, 3.0]])).tolist()
    [4.0, -4.0]
    """
    p = np.asarray(p, np.float64)
    squared = p[..., 3] ** 2 - (p[..., :3] ** 2).sum(-1)
    return np.asarray(np.sign(squared) * np.sqrt(np.abs(squared)), np.float64)


def neutrino_pz(electron: NDArray[Any], missing: NDArray[Any]) -> Floats:
    """p_z of the neutrino, GeV, by the mass of the W; see the module's page.

    Args:
        electron: (N, 4).
        missing: (N, 2 or more), of which p_x and p_y are read.

    Returns:
        (N,); 0 where the electron has neither p_T nor mass, so that any p_z would do.
    """
    electron, missing = np.asarray(electron, np.float64), np.asarray(missing, np.float64)
    energy, pz = electron[:, 3], electron[:, 2]
    own = energy**2 - (electron[:, :3] ** 2).sum(1)
    k = (M_W**2 - own) / 2 + (electron[:, :2] * missing[:, :2]).sum(1)
    a, b = energy**2 - pz**2, -2 * k * pz
    c = energy**2 * (missing[:, :2] ** 2).sum(1) - k**2
    root = np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        both = np.stack([(-b - root) / (2 * a), (-b + root) / (2 * a)])
        linear = np.where(b == 0, 0.0, -c / b)
    smaller = np.where(np.abs(both[0]) <= np.abs(both[1]), both[0], both[1])
    return np.where(a == 0, linear, smaller)


def neutrino_of(p: NDArray[Any]) -> Floats:
    """The neutrino (N, 4), massless, of observed events (N, 6, 4)."""
    pz = neutrino_pz(p[:, 0], p[:, 1])
    transverse = np.asarray(p[:, 1, :2], np.float64)
    return np.column_stack([transverse, pz, np.sqrt((transverse**2).sum(1) + pz**2)])


def reconstructed_masses(x: NDArray[Any]) -> dict[str, Floats]:
    """m_tt, m_W^had, m_t^lep and m_t^had of observed events (N, 24), GeV, each (N,)."""
    parts = [_masses(p)[1] for p in _portions(x)]
    return {
        name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0)
        for name in MASSES
    }


def assigned_jets(x: NDArray[Any]) -> Floats:
    """The jets (N, 4, 4) of observed events (N, 24): leptonic b, hadronic b, the two of the W."""
    parts = [
        np.take_along_axis(p[:, 2:], ASSIGNMENTS[_masses(p)[0]][..., None], 1) for p in _portions(x)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 4, 4))


def _portions(x: NDArray[Any]) -> Iterator[Floats]:
    """Four-momenta (n, 6, 4) of so many events at a time as fit in memory twelve times."""
    for first in range(0, len(x), _ROWS):
        yield momenta(np.asarray(x[first : first + _ROWS], np.float64))


def _masses(p: Floats) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """Of four-momenta (n, 6, 4), the best assignment (n,) and the masses by it, (n,) each."""
    electron, jets = p[:, 0], p[:, 2:]
    lepton = electron + neutrino_of(p)
    leptonic, hadronic, first, second = (jets[:, ASSIGNMENTS[:, n]] for n in range(4))
    w = first + second
    found = {
        "m_t_lep": invariant_mass(lepton[:, None] + leptonic),
        "m_W_had": invariant_mass(w),
        "m_t_had": invariant_mass(w + hadronic),
    }
    wanted = {"m_t_lep": M_TOP, "m_W_had": M_W, "m_t_had": M_TOP}
    chi2 = sum(((found[name] - wanted[name]) / width) ** 2 for name, width in WIDTHS.items())
    best = np.argmin(np.asarray(chi2), axis=1)
    chosen = {name: np.take_along_axis(m, best[:, None], 1)[:, 0] for name, m in found.items()}
    return best, {"m_tt": invariant_mass(lepton + jets.sum(1)), **chosen}


def observables(z: NDArray[Any], x: NDArray[Any]) -> dict[str, Floats]:
    """The ten observables of the paper's table, in its order.

    Args:
        z: partons (N, 24), or what an encoder makes of observed events.
        x: observed events (M, 24), or what a decoder makes of partons.

    Returns:
        By the names of ``TABLE``: (N,) of those of z, (M,) of those of x.
    """
    rows = {
        "z": dict(zip(columns(PARTONS), np.asarray(z, np.float64).T, strict=True)),
        "x": dict(zip(columns(OBJECTS), np.asarray(x, np.float64).T, strict=True))
        | reconstructed_masses(x),
    }
    return {name: rows[space][name] for name, space in TABLE.items()}


def resonances(z: NDArray[Any]) -> dict[str, Floats]:
    """Masses of what the partons (N, 24) came from, GeV: both W and both tops.

    e⁻ν̄ and u d̄ are all that is left of a W. A top may have lost a gluon before its W decayed, of
    which the partons know nothing.
    """
    p = momenta(np.asarray(z, np.float64))
    electron, neutrino, b, bbar, up, down = (p[:, n] for n in range(6))
    return {
        "m_W_lep": invariant_mass(electron + neutrino),
        "m_W_had": invariant_mass(up + down),
        "m_t_lep": invariant_mass(electron + neutrino + bbar),
        "m_t_had": invariant_mass(up + down + b),
    }
