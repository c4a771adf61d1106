"""The seeds of a step.

Randomness of a step is a function of (seed, step, rank) alone: the generators are seeded anew at
every step, and nothing has to be replayed when a run resumes (law 5).
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["INITIAL", "TRAINING", "seed_step"]

INITIAL, TRAINING = 0, 1
"""Uses of the run's seed whose random numbers must not repeat one another."""


def seed_step(seed: int, use: int, step: int, rank: int) -> None:
    """Seed torch, on all devices, from these four numbers alone."""
    words = np.random.SeedSequence([seed & (2**64 - 1), use, step, rank]).generate_state(2)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
