"""What every distance and every divergence gives back, and what several of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from imgturbo.turbo.spaces import Contest
    from imgturbo.turbo.terms import Terms

__all__ = [
    "Distance",
    "Divergence",
    "Entry",
    "Total",
    "box",
    "count",
    "difference",
    "require_images",
]


class Total(NamedTuple):
    """What one distance found in each sample: a sum (B,) and the number of entries in it (B,)."""

    total: Tensor
    entries: Tensor


Distance = Callable[[Tensor, Tensor, Tensor], Total]
"""``(prediction (B, C, …), target (B, C, …), valid (B, 1, …) bool) -> Total``."""


def difference(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """u − û where valid and 0 elsewhere; ``where`` also keeps a NaN out of the gradient."""
    return torch.where(valid, prediction - target, 0.0)


def count(like: Tensor, valid: Tensor) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    return valid.expand_as(like).flatten(1).sum(1, dtype=dtype)


def box(image: Tensor, side: int) -> Tensor:
    """Mean over side × side pixels, those beyond the border being zeros."""
    return F.avg_pool2d(image, side, stride=1, padding=side // 2)


def require_images(name: str, prediction: Tensor, smallest: int) -> None:
    if prediction.ndim != 4 or min(prediction.shape[-2:]) < smallest:
        raise ImgturboError(
            f"objective.distance: {name!r} needs images of at least {smallest} pixels a side, "
            f"these are of shape {tuple(prediction.shape[1:])}; use l1, l2 or charbonnier"
        )


class Entry(NamedTuple):
    """One sum that a divergence enters into a loss: its term is Σ share · Σ total / Σ entries.

    Attributes:
        total, entries: sums of any shape, and the numbers of entries in them, of this process.
        share: of this entry in its term: 1/K for K scales, −2 for the product of a binomial.
        term: what the log calls it.
        weight: of the term in the loss of the critics. The generators' is the user's.
    """

    total: Tensor
    entries: Tensor
    share: float = 1.0
    term: str = "D"
    weight: float = 1.0


class Divergence(ABC):
    """How far one output's distribution is from that of data; one instance an output.

    Args:
        terms: the settings.
        output: which of the four outputs it judges.
        network: the critic of that output, if there is one.
    """

    conditional = False
    """Whether it judges pairs, (output, input), rather than outputs alone."""
    needs: ClassVar[Literal["", "posterior", "log_det"]] = ""
    """What the map must tell of its output (see ``nets.Generator.tells``); empty: nothing."""
    of_normal: ClassVar[bool] = False
    """Whether it knows of no data but N(0, 1), so that its space must be drawn from that."""

    def __init__(self, terms: Terms, output: str, network: nn.Module | None = None) -> None:
        self.terms = terms

    @abstractmethod
    def generator(self, contest: Contest) -> Iterable[Entry]:
        """Entries of the generators' loss, whose gradient reaches ``contest.fake`` only."""

    def opponent(self, contest: Contest) -> Iterable[Entry]:
        """Entries of the critics' loss, where it is a contest; their gradient reaches critics."""
        return ()

    def state(self) -> dict[str, Tensor]:
        """What this process must remember beside weights, by name."""
        return {}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up what ``state`` gave."""
        assert not state, "a divergence that has a state takes it up itself"
