r"""What the training loop asks of an engine, and the losses that it gives back.

Global means: Σ over all ranks of a term's sum, divided by Σ over all ranks of its count.

DDP averages gradients over the R ranks. With rank r's loss

    ℓ_r = R · Σ_t w_t S_{t,r} / Σ_r' N_{t,r'}

that average is the gradient of Σ_t w_t (Σ_r S_{t,r}) / (Σ_r N_{t,r}), the loss of one rank that
holds the joint batch, however unequal masks and pairs are between ranks (law 8). A mean taken on
each rank by itself would not be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch
    from imgturbo.data.source import Source

__all__ = [
    "CYCLE_SCORES",
    "DIRECTIONS",
    "IMAGE_SCORES",
    "UNPAIRED_SCORES",
    "Ledger",
    "Losses",
    "Part",
    "Trainable",
]

DIRECTIONS = {"forward": "decoder", "backward": "encoder"}
"""Which map a direction is: the decoder leads from source to target."""

IMAGE_SCORES = {"psnr": True, "ssim": True, "l1": False}
"""What validation computes of every map's outputs, each with whether higher is better."""

UNPAIRED_SCORES = {"mmd": False, "frechet": False}
"""What tells how like the data every map's outputs are, pairs or not; likewise."""

CYCLE_SCORES = {"direct/psnr": True, "reverse/psnr": True}
"""What is left of x → z̃ → x̂ and of z → x̃ → ẑ, where there are both maps; likewise."""

Part = Literal["generator", "critic"]
"""Whose loss a term belongs to."""


class Losses(NamedTuple):
    """What one forward of the objective gives.

    Attributes:
        generator: scalar; its gradient reaches the generators only.
        critic: scalar; its gradient reaches the critics only.
        terms: unweighted global means without gradient, the same on every rank: ``L/x_tilde``,
            ``D/x_tilde`` (generator's side), ``critic/x_tilde``, ``identity/x``, …
    """

    generator: Tensor
    critic: Tensor
    terms: dict[str, Tensor]


class _Entry(NamedTuple):
    name: str
    part: Part
    weight: float
    share: float
    total: Tensor
    entries: Tensor


class Ledger:
    """Collects every term's sum and count, and divides once all of them are known."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(
        self,
        name: str,
        part: Part,
        weight: float,
        total: Tensor,
        entries: Tensor,
        share: float = 1.0,
    ) -> None:
        """Enter ``weight · share · mean`` into a loss and ``share · mean`` under ``name``.

        Args:
            name: entries of one name are added up.
            part: the loss that the term belongs to.
            weight: of the term in the loss.
            total: sums of any shape, with gradient.
            entries: how many entries they are sums over, of any shape.
            share: of this entry in its term, such as 1/K for K scales.
        """
        self._entries.append(_Entry(name, part, weight, share, total.sum(), entries.sum()))

    def settle(self) -> Losses:
        """One collective call for all terms; every rank must make it with the same terms."""
        # Stacked without gradient: the two losses must not meet in one graph.
        totals = torch.stack([entry.total.detach() for entry in self._entries])
        entries = torch.stack([entry.entries.detach().to(totals) for entry in self._entries])
        summed = torch.stack([totals, entries])
        ranks = 1
        if dist.is_available() and dist.is_initialized():
            ranks = dist.get_world_size()
            if ranks > 1:
                dist.all_reduce(summed)
        # Where nothing counts anywhere the sum is 0 too: the mean is 0, and still in the graph.
        counts = torch.where(summed[1] > 0, summed[1], 1.0)
        means = summed[0] / counts
        losses = {"generator": totals.new_zeros(()), "critic": totals.new_zeros(())}
        terms: dict[str, Tensor] = {}
        for index, entry in enumerate(self._entries):
            local = entry.total * (ranks / counts[index])
            losses[entry.part] = losses[entry.part] + entry.weight * entry.share * local
            terms[entry.name] = terms.get(entry.name, 0) + entry.share * means[index]
        return Losses(losses["generator"], losses["critic"], terms)


class Trainable(nn.Module, ABC):
    """What the loop trains: networks and their losses. Every engine's objective is one.

    An engine says what it has; what it has not, it inherits from here.

    Attributes:
        encoder: x → z ("backward"), or None where none is trained.
        decoder: z → x ("forward"), or None where none is trained.
        own_scores: scores of its own that validation gets from :meth:`scores`, such as
            ``forward/bits``, each with whether higher is better.
    """

    encoder: nn.Module | None
    decoder: nn.Module | None
    own_scores: Mapping[str, bool] = {}

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.decoder = None

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """Both losses of one step. With several processes a collective call."""

    def maps(self) -> dict[str, nn.Module]:
        """The networks that translate, by name: ``decoder``, ``encoder``, those that there are."""
        named = {"decoder": self.decoder, "encoder": self.encoder}
        return {name: network for name, network in named.items() if network is not None}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile what a step runs, as ``nn.Module.compile`` does: here every map by itself.

        The loss around them stays as it is, and so do the names of the weights: a checkpoint does
        not tell whether it was compiled.
        """
        for network in self.maps().values():
            network.compile(*args, **kwargs)

    def generator_parameters(self) -> list[nn.Parameter]:
        """Parameters of the maps that are trained, for the generators' optimiser; each once."""
        return list(dict.fromkeys(_trained(self.maps().values())))

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters of the critics, for their optimiser; empty where there are none."""
        return []

    def state_beside(self) -> dict[str, Tensor]:
        """What this process must remember beside weights, such as image pools; flat, by name."""
        return {}

    def load_state_beside(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state_beside` of the same process gave."""

    def terms_by_pairs(self) -> dict[str, bool]:
        """The terms of the generators' loss, each with whether pairs alone count in it.

        Empty where the engine does not say.
        """
        return {}

    def sides_of_terms(self) -> dict[str, tuple[str, ...]]:
        """Which sides must be measured where each of these terms counts; here both."""
        return dict.fromkeys(self.terms_by_pairs(), ("source", "target"))

    def idle_terms(self, source: Source) -> list[str]:
        """The terms of the generators' loss in which not one training sample counts."""
        by_pairs = self.terms_by_pairs()
        sides = self.sides_of_terms()
        return [name for name, pairs in by_pairs.items() if not source.counts(sides[name], pairs)]

    def check(self, source: Source) -> None:
        """Refuse data that it cannot learn from, before anything is computed.

        Here: images of a size that no map reads, and data of which nothing counts: unpaired where
        pairs alone do, or never measured where a term looks.

        Raises:
            ImgturboError: naming the setting that does not fit, and what would.
        """
        terms = self.terms_by_pairs()
        if terms and all(terms.values()) and source.pairs == 0:
            raise ImgturboError(
                f"{source.name}: no training sample is a pair, and pairs alone count in the "
                f"objective ({', '.join(terms)}), so that nothing would be trained; give pairs "
                "('prepare.fields' with both sides, no 'data.pairing: unpaired'), or train "
                "without them (objective.preset: cyclegan)"
            )
        if terms and len(self.idle_terms(source)) == len(terms):
            raise ImgturboError(
                f"{source.name}: masks leave no pixel of any training sample that counts in the "
                f"objective ({', '.join(terms)}), so that nothing would be trained; give tiles "
                "that both sides measured (prepare.tile.min_valid keeps those)"
            )
        for name, network in self.maps().items():
            if (check := getattr(network, "check", None)) is None:  # any module may be a map
                continue
            for extents in dict.fromkeys((source.extents(whole=True), source.extents())):
                given, wanted = extents if name == "decoder" else extents[::-1]
                check(given, wanted)

    def observe(self, batch: Batch, maps: Mapping[str, nn.Module] | None = None) -> Batch:
        """The batch with z as it is observed; here that is how batches come.

        Args:
            batch: perhaps with ``noise``, and then with a z that is yet to be observed.
            maps: the networks that observe; None: its own, which are being trained.
        """
        return batch

    def account(self, source: Source) -> str:
        """What of the data counts in the loss, in a line for the log."""
        pairs = "ever new" if source.pairs is None else str(source.pairs)
        text = f"training samples: {pairs} pairs"
        if idle := self.idle_terms(source):
            text += f"; none counts in {', '.join(idle)}"
        return text

    def all_scores(self) -> dict[str, bool]:
        """Names of all that validation may score it by, each with whether higher is better."""
        maps = self.maps()
        there = [direction for direction, name in DIRECTIONS.items() if name in maps]
        every = {**IMAGE_SCORES, **UNPAIRED_SCORES}
        named = {f"{way}/{name}": up for way in there for name, up in every.items()}
        cycles = CYCLE_SCORES if len(there) == len(DIRECTIONS) else {}
        return {**named, **cycles, **self.own_scores}

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each of ``own_scores`` over a validation batch.

        Args:
            maps: the networks to be scored, by the names of :meth:`maps`: averages of its own.
            batch: validation samples.
            number: of the batch, which seeds whatever is drawn.
        """
        return {}


def _trained(networks: Iterable[nn.Module]) -> Iterator[nn.Parameter]:
    for network in networks:
        yield from (p for p in network.parameters() if p.requires_grad)
