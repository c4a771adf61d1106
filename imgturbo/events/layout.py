"""The 24 numbers of an event: six four-momenta (p_x, p_y, p_z, E) in GeV, on either side.

    z    e⁻  ν̄  b  b̄  u  d̄          partons of  pp → tt̄ → (b̄ e⁻ν̄)(b u d̄)
    x    e⁻  p^miss  jet₁ … jet₄     what is observed; jets in the order of falling p_T

This is the order of the public files of OTUS (arXiv:2101.08944). p^miss, the missing transverse
momentum, stands for the neutrino: here its p_z is 0, OTUS has there what Delphes gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COMPONENTS", "OBJECTS", "PARTONS", "UNIT", "columns", "momenta", "transverse"]

PARTONS = ("e", "nu", "b", "bbar", "u", "dbar")
OBJECTS = ("electron", "met", "jet1", "jet2", "jet3", "jet4")
COMPONENTS = ("px", "py", "pz", "E")
UNIT = "GeV"


def columns(particles: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the numbers of these particles.

    >>> columns(PARTONS)[8:12]
    ('b_px', 'b_py', 'b_pz', 'b_E')
    """
    return tuple(f"{particle}_{component}" for particle in particles for component in COMPONENTS)


def momenta(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows (…, 24) as four-momenta (…, 6, 4); a view where that may be.

    Raises:
        ValueError: rows of another length.
    """
    rows = np.asarray(rows)
    wanted = len(PARTONS) * len(COMPONENTS)
    if rows.shape[-1:] != (wanted,):
        raise ValueError(f"an event has {wanted} numbers, not {rows.shape[-1:]}")
    return rows.reshape(*rows.shape[:-1], len(PARTONS), len(COMPONENTS))


def transverse(p: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Transverse momentum p_T in GeV and pseudorapidity η of four-momenta (…, 4).

    η = asinh(p_z/p_T); along the beam it is ±∞, and 0 where there is no momentum at all.
    """
    pt = np.hypot(p[..., 0], p[..., 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = p[..., 2] / pt
    return pt, np.arcsinh(np.where((pt == 0) & (p[..., 2] == 0), 0.0, slope))
