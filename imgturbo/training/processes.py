"""The seeds of a step, the signal to stop, and the line that names an unwritable folder.

Randomness of a step is a function of (seed, step, rank) alone: the generators are seeded anew at
every step, and nothing has to be replayed when a run resumes (law 5).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from imgturbo.errors import ImgturboError

__all__ = ["INITIAL", "TRAINING", "StopSignal", "naming", "seed_step"]

INITIAL, TRAINING = 0, 1
"""Uses of the run's seed whose random numbers must not repeat one another."""


def seed_step(seed: int, use: int, step: int, rank: int) -> None:
    """Seed torch, on all devices, from these four numbers alone."""
    words = np.random.SeedSequence([seed & (2**64 - 1), use, step, rank]).generate_state(2)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into the one line that names the run's folder."""
    try:
        yield
    except OSError as error:
        raise ImgturboError(
            f"{path}: the run's folder cannot be written: {error.strerror or error}; make room, or "
            "choose another 'train.out'"
        ) from None


class StopSignal:
    """Notes SIGTERM and SIGINT for the loop to act on; a second one acts at once.

    Python allows handlers in the main thread only; elsewhere the signals keep their meaning.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = True
        signal.signal(number, self._before[number])
