"""Collision events made here: Pythia's collisions, jets, a parametrised detector, in blocks."""

from data_prep.events.detector import Detector
from data_prep.events.generate import BLOCK, generate_block, simulate_events

__all__ = ["BLOCK", "Detector", "generate_block", "simulate_events"]
