"""Processes that share one job, started by ``accelerate launch`` or ``torchrun``.

A lone process is a team of one, for which every call here is a no-op. What may fail is done inside
``with team.together():``; when one process fails, all of them learn it at the end of the block and
stop with its message, instead of waiting for it forever.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from imgturbo.errors import ImgturboError
from imgturbo.stopping import end_with_launcher

__all__ = ["Team"]

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # a process may wait this long for the slowest share of a mosaic


@dataclass(frozen=True)
class Team:
    """This process's place among ``size`` of them, and the device that the launcher gave it."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def current(cls) -> Team:
        """The team that the launcher made; Accelerate is loaded only where there is one.

        Raises:
            ImgturboError: several processes were launched that do not find one another.
        """
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        if launched < 2:
            return cls()
        end_with_launcher()
        from accelerate import PartialState

        # Without `cpu` processes that torchrun started on CPUs would not find one another.
        on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        cpu = on_cpu or not torch.accelerator.is_available()
        state = PartialState(cpu=cpu, timeout=PATIENCE)
        # Its threads would otherwise still run when the interpreter goes, which may abort it.
        atexit.unregister(_part)
        atexit.register(_part)
        cls.check(state.num_processes)
        return cls(state.process_index, state.num_processes, state.device)

    @staticmethod
    def check(found: int) -> None:
        """Raise ImgturboError if fewer processes found one another than were launched."""
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        if launched != found:
            raise ImgturboError(
                f"{launched} processes were launched but they do not find one another; on GPUs use "
                "'accelerate launch', on CPUs 'torchrun --nproc-per-node N', with the script"
            )

    @property
    def first(self) -> bool:
        """True in exactly one process: the one that writes files and prints."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every process's value, in order of rank; all must call it."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def share(self, value: T) -> T:
        """The first process's value, in all of them."""
        return self.gather(value)[0]

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, element by element."""
        if self.size > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values

    def portion(self, items: Sequence[T]) -> Sequence[T]:
        """This process's contiguous part of the items; parts differ by one item at most."""
        first = len(items) * self.rank // self.size
        return items[first : len(items) * (self.rank + 1) // self.size]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Leave the block together: if one process raised, all raise its error.

        Also a barrier: nobody goes on before everybody is through.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        # Only errors that are made of strings travel as they are.
        sent = error if isinstance(error, OSError | ImgturboError | None) else repr(error)
        errors = self.gather(sent)
        if error is not None:
            raise error
        for other in errors:
            if other is not None:
                raise other if isinstance(other, Exception) else RuntimeError(other)


def _part() -> None:
    """End the connection between the processes, if there still is one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
