r"""Leave part of the channels behind as latents, and go on with the rest.

    Split     x = (kept, rest),   w = g(rest; θ(kept, c))    or w = rest without a prior
    Pyramid   x → stage 1 → split → stage 2 → split → … → stage n,   latents (w₁, …, w_n)

Latents are standard normal in every case. A prior p(rest | kept, c) is written as its
standardisation: with the affine law, w = rest·e^s + t says that rest | kept, c is normal with mean
−t·e^{−s} and standard deviation e^{−s}; its log-determinant Σ s takes the place of the prior's
normalisation. With θ zero at the start it starts as the plain split.

Multi-scale flows: Dinh et al. 2017 (arXiv:1605.08803), section 3.6; learned priors: Kingma &
Dhariwal 2018 (arXiv:1807.03039), in their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.flows.coupling import Affine, Law, MakePredictor
from imgturbo.flows.transform import Condition, Transform, full_precision, require_channels

__all__ = ["Pyramid", "Split"]


class Split(nn.Module):
    """(B, C, …) ↔ kept (B, keep, …) and latent (B, C − keep, …).

    Args:
        channels: C.
        keep: how many of the first channels go on.
        make_predictor: None for no prior; else called as ``make_predictor(in, out)`` for θ.
        law: g of the prior.

    Raises:
        ImgturboError: nothing would be kept, or nothing left behind.
    """

    def __init__(
        self,
        channels: int,
        keep: int,
        make_predictor: MakePredictor | None = None,
        law: Law | None = None,
    ) -> None:
        super().__init__()
        if not 0 < keep < channels:
            raise ImgturboError(
                f"a split of {channels} channels cannot keep {keep}; keep 1 to {channels - 1}"
            )
        self.channels = channels
        self.sizes = (keep, channels - keep)
        self.law: Law = Affine() if law is None else law
        self.predict = (
            None
            if make_predictor is None
            else make_predictor(keep, self.law.numbers * (channels - keep))
        )

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor, Tensor]:
        """kept, latent and log|det| (B,)."""
        require_channels(x, self.channels, "this split")
        kept, rest = full_precision(x).split(self.sizes, dim=1)
        if self.predict is None:
            return kept, rest, kept.new_zeros(len(kept))
        theta = self.predict(kept, condition).to(kept.dtype)
        return kept, *self.law.forward(rest, theta)

    def inverse(self, kept: Tensor, latent: Tensor, condition: Condition = None) -> Tensor:
        expected = (len(kept), self.sizes[1], *kept.shape[2:])
        if tuple(latent.shape) != expected:
            raise ImgturboError(f"a latent of shape {tuple(latent.shape)} where {expected} belongs")
        kept, rest = full_precision(kept), full_precision(latent)
        if self.predict is not None:
            theta = self.predict(kept, condition).to(kept.dtype)
            rest = self.law.inverse(rest, theta)
        return torch.cat([kept, rest], dim=1)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, sizes={self.sizes}"


class Pyramid(nn.Module):
    """Stages with a split (or None) after each; what the last stage yields is the last latent.

    Args:
        stages: transforms, coarser and coarser.
        splits: one for each stage but the last; None where everything goes on.

    Raises:
        ImgturboError: the numbers of stages and splits do not agree, or (calls) latents or
            conditions are too few or too many.
    """

    def __init__(self, stages: Sequence[Transform], splits: Sequence[Split | None]) -> None:
        super().__init__()
        if len(splits) != len(stages) - 1:
            raise ImgturboError(
                f"{len(stages)} stages need {len(stages) - 1} splits between them, not "
                f"{len(splits)}"
            )
        self.stages = nn.ModuleList(stages)
        self.splits = nn.ModuleList(
            _Whole() if split is None else split for split in [*splits, None]
        )

    @property
    def latents(self) -> int:
        """How many latents there are."""
        return 1 + sum(isinstance(split, Split) for split in self.splits)

    def forward(
        self, x: Tensor, conditions: Sequence[Condition] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """x → latents, finest first, and log|det| (B,).

        ``conditions`` holds one a stage; a split gets that of the stage after it.
        """
        latents = []
        log_det = torch.zeros((), device=x.device)
        for stage, split, condition, following in self._levels(conditions):
            x, part = stage(x, condition)
            log_det = log_det + part
            if isinstance(split, Split):
                x, latent, part = split(x, following)
                log_det = log_det + part
                latents.append(latent)
        return [*latents, x], log_det

    def inverse(
        self, latents: Sequence[Tensor], conditions: Sequence[Condition] | None = None
    ) -> Tensor:
        """Latents, finest first, → x."""
        if len(latents) != self.latents:
            raise ImgturboError(f"{len(latents)} latents for a flow that has {self.latents}")
        *finer, x = latents
        for stage, split, condition, following in reversed(self._levels(conditions)):
            if isinstance(split, Split):
                x = split.inverse(x, finer.pop(), following)
            x = stage.inverse(x, condition)
        return x

    def _levels(
        self, conditions: Sequence[Condition] | None
    ) -> list[tuple[Transform, nn.Module, Condition, Tensor | None]]:
        """Each stage, the split behind it, the stage's condition and that of the split."""
        if conditions is None:
            conditions = [None] * len(self.stages)
        if len(conditions) != len(self.stages):
            raise ImgturboError(
                f"{len(conditions)} conditions for a flow of {len(self.stages)} stages"
            )
        stages = cast("list[Transform]", list(self.stages))
        # A stage whose layers have conditions of their own shares none with the split before it.
        following = [c if isinstance(c, Tensor) else None for c in [*conditions[1:], None]]
        return list(zip(stages, self.splits, conditions, following, strict=True))


class _Whole(nn.Module):
    """Stands where nothing is split off, so that stages and splits keep one numbering."""
