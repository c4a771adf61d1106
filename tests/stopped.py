"""Trainings that a signal stops."""

from __future__ import annotations

import os
import signal

from imgturbo.training import loop


def stop_at(monkeypatch, step: int) -> None:
    """A SIGTERM from outside arrives while this update is being made."""
    real = loop._update

    def update(state, batches, stop):
        if state.progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(state, batches, stop)

    monkeypatch.setattr(loop, "_update", update)
