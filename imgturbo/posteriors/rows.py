r"""What networks of posteriors have in common: rows z ↦ draws x ~ p(x|z), many for each row.

    c = s(z),      x̃ = g(ε; c),      ε ~ N(0, 1)^E

s is a summary (:mod:`imgturbo.posteriors.summaries`), computed once for all draws of a row; g is
the network's own way from noise to numbers, a flow's inverse or a mixture's choice. Without a
source of noise ε = 0, or what the kind has for a centre.

Draws are made some thousand rows at a time, whatever they are of: many draws of few rows, or few
of many. A row of z that is not finite has no posterior: all its draws are NaN.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import full_precision
from imgturbo.nets.generator import TableGenerator
from imgturbo.nets.noise import FreshNoise, Noise

__all__ = ["Conditions", "RowGenerator"]

Conditions = list[Tensor]
"""What a network needs of z, tensors (B, …); computed once for all draws and densities."""

_ROWS = 1 << 12  # drawn at once: what layers of 64 make of them stays in a cache


class RowGenerator(TableGenerator):
    """A generator of rows, (B, C) → (B, C'), with many draws for each.

    Args:
        summary: s, (B, C) → (B, features).
        numbers: E; None: C'.

    Attributes:
        scale: 1; numbers of z and of x do not lie on grids.
        numbers: E, of noise that a draw needs.
    """

    scale = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        summary: nn.Module,
        numbers: int | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, stochastic=True)
        self.summary = summary
        self.numbers = out_channels if numbers is None else numbers

    # ------------------------------------------------------------------- what a kind has to say

    def conditions(self, u: Tensor) -> Conditions:
        """What draws and densities need of z (B, C); here its summary."""
        return [self.summary(self.checked(u))]

    @abstractmethod
    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """g: noise (n·B, E), n of each condition following each other → x (n·B, C')."""

    def centre(self, conditions: Conditions) -> Tensor:
        """The one answer (B, C') where no noise is wanted; here g(0)."""
        first = full_precision(conditions[0])
        return self.push(first.new_zeros(len(first), self.numbers), conditions)

    # --------------------------------------------------------------------------------- the rest

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """One draw of each row, or its centre.

        Raises:
            ImgturboError: ``u`` is no (B, C) table, or has another number of columns.
        """
        return next(self.draws(u, [noise]))

    def draws(self, u: Tensor, noises: Sequence[Noise | None]) -> Iterator[Tensor]:
        """One draw (B, C') for each source of noise; z is summarised once for all of them."""
        like = full_precision(u.new_empty(0))
        if not len(u):
            self.checked(u)
            yield from (like.new_empty(0, self.out_channels) for _ in noises)
            return
        finite, conditions = self._known(u)
        unknown = torch.where(finite, 0.0, torch.nan)
        at_once = max(1, _ROWS // max(1, len(u)))
        for first in range(0, len(noises), at_once):
            sources = noises[first : first + at_once]
            if None in sources:
                centre = self.centre(conditions) + unknown
            loud = [source for source in sources if source is not None]
            drawn: Iterator[Tensor] = iter(())
            if loud:
                shape = (len(u), self.numbers)
                epsilon = torch.stack([source(0, shape, 1, like) for source in loud], dim=1)
                x = self.push(epsilon.flatten(0, 1), conditions)
                drawn = iter((x.unflatten(0, (len(u), -1)) + unknown[:, None]).unbind(1))
            for source in sources:
                yield centre if source is None else next(drawn)

    @torch.no_grad()
    def posterior(self, u: Tensor, n: int, noise: Noise | None = None) -> Tensor:
        """n draws for each row of z (B, C): (B, n, C').

        Args:
            u: stretched observations.
            n: draws of each.
            noise: one source for all draws of a row, of E · n numbers; None: torch's generator.

        Raises:
            ImgturboError: fewer than one draw, or a table that the network does not read.
        """
        if n < 1:
            raise ImgturboError(f"cannot draw {n} samples of a posterior; draw one or more")
        finite, conditions = self._known(u)
        like = full_precision(u.new_empty(0))
        parts = []
        step = max(1, _ROWS // n)
        flat = (noise or FreshNoise())(0, (len(u), n * self.numbers), 1, like)
        for rows in torch.arange(len(u), device=u.device).split(step):
            own = flat[rows].view(-1, self.numbers)
            x = self.push(own, [part[rows] for part in conditions])
            parts.append(x.view(len(rows), n, -1))
        x = torch.cat(parts) if parts else like.new_empty(0, n, self.out_channels)
        return x.masked_fill(~finite[:, :, None], torch.nan)

    def _known(self, u: Tensor) -> tuple[Tensor, Conditions]:
        """Which rows are finite, (B, 1) bool, and the conditions: of zeros where they are not."""
        u = self.checked(u)
        finite = u.isfinite().all(1, keepdim=True)
        return finite, self.conditions(torch.where(finite, u, 0.0))

    def sample(self, conditions: Conditions) -> Tensor:
        """One draw (B, C') for each condition, by torch's own generator."""
        first = full_precision(conditions[0])
        epsilon = torch.randn(len(first), self.numbers, device=first.device, dtype=first.dtype)
        with torch.no_grad():
            return self.push(epsilon, conditions)

    def known(self, z: Tensor | Conditions) -> Conditions:
        """The conditions, of z or as they were made of it."""
        return self.conditions(z) if isinstance(z, Tensor) else z

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile what training runs: the summary, and the networks beside it."""
        for part in self.children():
            part.compile(*args, **kwargs)
