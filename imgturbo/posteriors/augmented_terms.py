r"""The four terms that train an augmented invertible network, forwards and backwards.

With (w, p, ŷ) = f(x, ξ), ξ and ξ' small normal noise in the padding, ε ~ N(0, 1), ỹ = y + σ_y η:

    L_y = E [ ‖ŷ − ỹ‖² + ‖p‖² ]                           prediction, and padding that stays empty
    L_w = MMD²( (w, sg ŷ), (ε, ỹ) )                       latent: normal, whatever y is
    L_x = MMD²( f⁻¹(ε, ξ', ỹ), x )                        posterior
    L_r = E [ ‖f⁻¹(w + σ_w η, p + ξ', sg ŷ + σ_y η) − x‖² + ‖padding‖² ]      reconstruction

    L = λ_y L_y + λ_w L_w + λ_x L_x + λ_r L_r

sg stops gradients, so that L_w moves w alone. MMD² is the unbiased one of ``imgturbo.turbo``, with
inverse multiquadric kernels of several lengths; over several processes it compares all samples.

Ardizzone et al. 2019 (arXiv:1808.04730), equations 3–5, and the padding and reconstruction terms
of its appendix 2 and of the authors' code, whose weights 1, 50, 500 and 1 are the defaults (there
L_x is let in slowly, and kernels have other exponents).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from imgturbo.config.posteriors import AugmentedTermsConfig
from imgturbo.losses import Ledger, Losses, Trainable
from imgturbo.posteriors.augmented import AugmentedINN
from imgturbo.turbo.divergences import MMD, kernel
from imgturbo.turbo.spaces import Contest, Samples
from imgturbo.turbo.terms import Terms

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["AugmentedTerms"]


class AugmentedTerms(Trainable):
    """An augmented network and its loss; see the module's page.

    Args:
        decoder: the network.
        settings: weights, noises and kernels.
    """

    decoder: AugmentedINN
    own_scores: Mapping[str, bool] = {"forward/mmd": False}

    def __init__(self, decoder: AugmentedINN, settings: AugmentedTermsConfig) -> None:
        super().__init__()
        self.decoder = decoder
        self.settings = settings
        # The name is of the output that a divergence judges elsewhere; here it has no meaning.
        self._mmd = MMD(Terms(mmd_scales=tuple(settings.scales)), "x_tilde")

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step. With several processes a collective call."""
        settings, network = self.settings, self.decoder
        rows = batch.z_valid & batch.x_valid & batch.paired[:, None]
        y, x = (torch.where(rows, u, 0.0) for u in (batch.z, batch.x))
        y = y + settings.source_noise * torch.randn_like(y)
        w, padding, found = network.predict(x, self._padding(x, network.padding))
        ledger, count = Ledger(), rows.sum()
        squares = (found - y).square().sum(1) + padding.square().sum(1)
        ledger.add("prediction", "generator", settings.prediction, squares * rows[:, 0], count)
        normal = torch.randn_like(w)
        if settings.latent:
            fake, real = torch.cat([w, found.detach()], 1), torch.cat([normal, y], 1)
            self._compare(ledger, "latent", settings.latent, real, fake, rows)
        if settings.posterior:
            empty = self._padding(x, network.sizes[1])
            fake = network.bring_back(normal, empty, y)[:, : x.shape[1]]
            self._compare(ledger, "posterior", settings.posterior, x, fake, rows)
        if settings.reconstruction:
            moved = w + settings.latent_noise * torch.randn_like(w)
            around = found.detach() + settings.source_noise * torch.randn_like(y)
            back = network.bring_back(moved, padding + self._padding(x, padding.shape[1]), around)
            wanted = torch.cat([x, x.new_zeros(len(x), network.padding)], 1)
            squares = (back - wanted).square().sum(1) * rows[:, 0]
            ledger.add("reconstruction", "generator", settings.reconstruction, squares, count)
        return ledger.settle()

    def _padding(self, like: Tensor, columns: int) -> Tensor:
        """Small noise, (B, columns)."""
        size = (len(like), columns)
        return self.settings.padding_noise * torch.randn(size, device=like.device, dtype=like.dtype)

    def _compare(
        self, ledger: Ledger, name: str, weight: float, real: Tensor, fake: Tensor, rows: Tensor
    ) -> None:
        """Enter MMD² between the rows that count."""
        contest = Contest(Samples(real, rows).masked(), Samples(fake, rows).masked(), None)
        for entry in self._mmd.generator(contest):
            ledger.add(name, "generator", weight, entry.total, entry.entries, entry.share)

    def terms_by_pairs(self) -> dict[str, bool]:
        """All are of pairs: w is compared beside its y."""
        weighed = ("prediction", "latent", "posterior", "reconstruction")
        return {name: True for name in weighed if getattr(self.settings, name)}

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """MMD² between pairs (x, y) and (x̃, y), with the same noise at every validation.

        Of a batch with fewer than two pairs there is none.
        """
        decoder = cast("AugmentedINN", maps["decoder"])
        rows = (batch.z_valid & batch.x_valid)[:, 0] & batch.paired
        y, x = batch.z[rows], batch.x[rows]
        n = len(x)
        if n < 2:
            return {"forward/mmd": (y.new_zeros(()), y.new_zeros(()))}
        same = torch.Generator().manual_seed(number)  # on the CPU: the same on every device
        w = torch.randn((n, decoder.numbers), generator=same).to(y)
        fake, real = (torch.cat([u, y], 1) for u in (decoder.push(w, decoder.conditions(y)), x))
        apart = 1 - torch.eye(n, device=y.device)
        pairs = n * (n - 1)
        inner, outer, across = (
            (kernel(a, b, self.settings.scales) * apart).sum() / pairs
            for a, b in ((fake, fake), (real, real), (fake, real))
        )
        return {"forward/mmd": ((inner + outer - 2 * across) * n, y.new_tensor(n))}
