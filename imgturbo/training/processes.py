"""The signal to stop, and the line that names an unwritable folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from imgturbo.errors import ImgturboError

__all__ = ["StopSignal", "naming"]


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
