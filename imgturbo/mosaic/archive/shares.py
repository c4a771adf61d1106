"""Which fields a process begins with, of several that were started with the same words.

Share k of n holds fields k, k + n, k + 2n, … of the manifest. When they are done, a process goes on
with what the others have not begun, from their ends, so that it meets them last; leases
(:mod:`imgturbo.leases`) keep two from one field. So a share says where a process begins, not what
will be done: that is the whole manifest, whoever comes late or dies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imgturbo.errors import ImgturboError

__all__ = ["Share"]

T = TypeVar("T")
_ARRAY = "SLURM_ARRAY_TASK_ID"


@dataclass(frozen=True)
class Share:
    """The share `number` of `count`, counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Share:
        """What ``--share`` says: ``3/40``, or ``auto`` for the place in a Slurm array or step.

        Raises:
            ImgturboError: anything else; ``auto`` where there is no Slurm.
        """
        if text == "auto":
            found = cls.of_array(environment) or cls.of_step(environment)
            if found is None:
                raise ImgturboError(
                    "--share auto: this process is in no array or step of Slurm; write --share 3/40"
                )
            return found
        match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ImgturboError(
                f"--share {text}: is no share; write 3/40 for the third of forty, or auto"
            )
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of_array(cls, environment: Mapping[str, str] = os.environ) -> Share | None:
        """The place in a Slurm job array; None outside of one.

        Raises:
            ImgturboError: the array's numbers do not tell it.
        """
        if _ARRAY not in environment:
            return None
        names = (_ARRAY, "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP")
        try:
            task, first, count, step = (
                int(environment.get(name, default))
                for name, default in zip(names, ("", "0", "", "1"), strict=True)
            )
            number = (task - first) // max(step, 1) + 1
        except ValueError:
            number = count = 0
        if not 1 <= number <= count:
            raise ImgturboError(
                "--share auto: the numbers of this Slurm array do not say which of its tasks this "
                "is; use --array=1-N, or write --share K/N"
            )
        return cls(number, count)

    @classmethod
    def of_step(cls, environment: Mapping[str, str] = os.environ) -> Share | None:
        """The place among the processes that one ``srun`` has started; None outside of one."""
        rank, count = (environment.get(f"SLURM_{name}", "") for name in ("PROCID", "NTASKS"))
        if not (rank.isdigit() and count.isdigit() and int(rank) < int(count)):
            return None
        return cls(int(rank) + 1, int(count))

    def within(self, rank: int, size: int) -> Share:
        """The part of it of one of the processes that a launcher has started for it."""
        return Share((self.number - 1) * size + rank + 1, self.count * size)

    def divide(self, items: Sequence[T]) -> tuple[Sequence[T], list[T]]:
        """Its own items, and those of all others in the order in which it helps with them."""
        own = items[self.number - 1 :: self.count]
        others: list[T] = []
        for k in range(self.number, self.number + self.count - 1):
            others += reversed(items[k % self.count :: self.count])
        return own, others
