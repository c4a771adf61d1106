r"""Both paired terms of TURBO as what they stand for: two conditional densities, learnt exactly.

    L = −E log p_θ(x | z)/d_x − E log q_φ(z | x)/d_z,      in nats a dimension

The terms L(x, x̃) and L(z, z̃) of the objective are −log of likelihoods whose form has to be guessed
(arXiv:2112.10629, eq. 4 and 7; a distance is the guess). Where the maps are conditional flows there
is nothing to guess; then a map that is right has the right margins too, without a critic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from imgturbo.losses import DIRECTIONS, Ledger, Losses, Trainable
from imgturbo.nets.generator import Generator

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["BothWays"]


class BothWays(Trainable):
    """Decoder z → x and encoder x → z, both with densities, and their losses; of rows.

    Args:
        decoder, encoder: with ``has_density``.
    """

    # The first one tells the best weights: both maps are saved, so that neither may be left out.
    own_scores: Mapping[str, bool] = {
        "both/bits": False, "forward/bits": False, "backward/bits": False,
    }  # fmt: skip

    def __init__(self, decoder: Generator, encoder: Generator) -> None:
        super().__init__()
        self.decoder, self.encoder = decoder, encoder

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step. With several processes a collective call."""
        counts = self._counts(batch)
        ledger = Ledger()
        for direction, name in DIRECTIONS.items():
            nats = self._nats(getattr(self, name), batch, direction)
            output = "x_tilde" if direction == "forward" else "z_tilde"
            total = torch.where(counts, nats, 0.0)
            ledger.add(f"L/{output}", "generator", 1.0, total, counts.float())
        return ledger.settle()

    @staticmethod
    def _counts(batch: Batch) -> Tensor:
        """(B,): pairs of which both sides are there."""
        return batch.paired & batch.z_valid.flatten(1).all(1) & batch.x_valid.flatten(1).all(1)

    @staticmethod
    def _nats(network: nn.Module, batch: Batch, direction: str) -> Tensor:
        """−log of the density a dimension (B,)."""
        generator = cast("Generator", network)
        given, wanted = (batch.z, batch.x) if direction == "forward" else (batch.x, batch.z)
        y = generator.reduce(wanted)
        return -generator.log_density(y, given) / y.shape[1]

    def terms_by_pairs(self) -> dict[str, bool]:
        """Both are of pairs."""
        return {"L/x_tilde": True, "L/z_tilde": True}

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Bits a dimension, either way, and their mean."""
        counts = self._counts(batch)
        found = {
            f"{direction}/bits": (
                self._nats(maps[name], batch, direction)[counts].double().sum() / math.log(2),
                counts.sum(),
            )
            for direction, name in DIRECTIONS.items()
        }
        both = torch.stack([total for total, _ in found.values()]).mean()
        return {"both/bits": (both, counts.sum())} | found
