"""Collision events pp → tt̄ → e⁻ν̄ b b̄ u d̄: their layout, their files, their observables.

z are the four-momenta of the six partons, x what a detector makes of them. Numpy alone; the
networks see tables of numbers as any other (Turbo-Sim: arXiv:2112.10629; OTUS: arXiv:2101.08944).
"""

from imgturbo.events.files import Events, read_events, write_events
from imgturbo.events.layout import OBJECTS, PARTONS, columns, momenta
from imgturbo.events.masses import (
    MASSES,
    TABLE,
    invariant_mass,
    neutrino_pz,
    observables,
    reconstructed_masses,
)
from imgturbo.events.thresholds import OTUS_THRESHOLDS, SELECTION, Thresholds

__all__ = [
    "MASSES",
    "OBJECTS",
    "OTUS_THRESHOLDS",
    "PARTONS",
    "SELECTION",
    "TABLE",
    "Events",
    "Thresholds",
    "columns",
    "invariant_mass",
    "momenta",
    "neutrino_pz",
    "observables",
    "read_events",
    "reconstructed_masses",
    "write_events",
]
