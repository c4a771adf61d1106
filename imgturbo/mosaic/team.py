"""Processes that share one job, started by ``accelerate launch``; a lone process is a team of one.

Everything that may fail happens inside ``with team.together():`` — when one process fails, all of
them learn it at the end of the block and stop with its message, instead of waiting for it forever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from imgturbo.errors import ImgturboError

__all__ = ["Team"]

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # a process may wait this long for the slowest share of a mosaic


@dataclass(frozen=True)
class Team:
    """This process's place among `world` of them, and the device that is its own."""

    rank: int = 0
    world: int = 1
    device: torch.device | None = None

    @classmethod
    def current(cls) -> Team:
        """The team that the launcher made; Accelerate is loaded only where there is one."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world < 2:
            return cls()
        from accelerate import PartialState

        on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        state = PartialState(cpu=on_cpu or not torch.cuda.is_available(), timeout=PATIENCE)
        if state.num_processes != world:  # each would take itself for the only one
            raise ImgturboError(
                f"launched as {world} processes that do not find each other; "
                "start them with: accelerate launch scripts/translate.py …"
            )
        return cls(state.process_index, state.num_processes, state.device)

    @property
    def leads(self) -> bool:
        """True in exactly one process."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every process's value, in order of rank; all must call it."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in every process; an exception in any of them ends it in all.

        Raises:
            ImgturboError: in the processes that did not fail themselves.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        said = self.gather(None if error is None else f"{error}")
        if error is not None:
            raise error
        for rank, message in enumerate(said):
            if message is not None:
                raise ImgturboError(f"process {rank} of {self.world}: {message}")

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's contiguous part of the items; parts differ by one item at most."""
        first = len(items) * self.rank // self.world
        return items[first : len(items) * (self.rank + 1) // self.world]
