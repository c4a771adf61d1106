"""The history of fakes (Shrivastava et al. 2017, arXiv:1612.07828; CycleGAN, arXiv:1703.10593).

A critic that sees only the latest fakes forgets the earlier ones, and the pair may oscillate. A
pool of N past fakes answers each new fake, once it is full, with probability ½ by a random old
one, whose place the new one takes; otherwise by the new one itself.

A fake travels with what the critic needs beside it (its mask, its condition). The decisions come
from torch's CPU generator, and the whole state is a dictionary of tensors, so that a run that is
seeded step by step and resumed repeats exactly (law 5). Each process has its own pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["ImagePool"]


class ImagePool:
    """Up to ``size`` past samples, each a tuple of tensors.

    Args:
        size: how many are kept; 0 keeps none, and ``exchange`` returns what it is given.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.slots: list[Tensor] = []  # one (size, …) tensor a member of the tuple

    def exchange(self, sample: Sequence[Tensor], keep: Tensor) -> tuple[Tensor, ...]:
        """Put a batch in and take one of the same size out.

        Args:
            sample: tensors (B, …), such as fake, mask, condition; none is changed.
            keep: (B,) bool; samples with False (nothing valid in them) pass by the pool.

        Returns:
            New tensors like ``sample``, without gradient.
        """
        members = [member.detach() for member in sample]
        if self.size == 0:
            return tuple(members)
        if not self.slots:
            self.slots = [one.new_zeros((self.size, *one.shape[1:])) for one in members]
        members = [member.clone() for member in members]
        swap = torch.rand(len(keep)) < 0.5
        places = torch.randint(self.size, (len(keep),))
        for row in [row for row, kept in enumerate(keep.tolist()) if kept]:
            if self.count < self.size:
                for slot, member in zip(self.slots, members, strict=True):
                    slot[self.count] = member[row]
                self.count += 1
            elif swap[row]:
                place = int(places[row])
                for slot, member in zip(self.slots, members, strict=True):
                    old = slot[place].clone()
                    slot[place] = member[row]
                    member[row] = old
        return tuple(members)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors that restore the pool: ``count`` and the filled part of each slot."""
        state = {f"slot{i}": slot[: self.count].clone() for i, slot in enumerate(self.slots)}
        return {"count": torch.tensor(self.count), **state}

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up what ``state_dict`` gave, on ``device``."""
        self.count = int(state["count"])
        self.slots = []
        for index in range(len(state) - 1):
            filled = state[f"slot{index}"].to(device)
            slot = filled.new_zeros((self.size, *filled.shape[1:]))
            slot[: self.count] = filled
            self.slots.append(slot)
