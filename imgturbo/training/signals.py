"""The signal to stop: noted, so that a run ends between two updates with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["StopSignal"]


class StopSignal:
    """Notes SIGTERM and SIGINT for the loop to act on; a second one acts at once.

    Python allows handlers in the main thread only; elsewhere the signals keep their meaning.
    """

    def __init__(self) -> None:
        self.number = signal.SIGTERM  # of a signal that another process of the team received
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
        self.received, self.number = True, signal.Signals(number)
        signal.signal(number, self._before[number])
