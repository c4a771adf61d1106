"""The two spaces z and x, whose samples may be of unlike shape: (B, C) here, (B, C', H, W) there.

Only what lives in one space is compared. A map q: x → z carries values and validity,

    z̃ = q(x),   valid(z̃) = carry(valid(x), z̃)

and from there on z̃ has the shape of z, so that masks of like shapes meet: a paired term counts
where truth and output are valid, and a divergence sees both in one mask, pairs or not.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.nets.answer import Posterior
from imgturbo.nets.generator import carry

__all__ = ["Contest", "Output", "Samples", "carried", "contest", "require_like"]


class Samples(NamedTuple):
    """Samples of one space: values (B, C, …) and (B, 1, …), where they are valid."""

    data: Tensor
    valid: Tensor

    def masked(self) -> Samples:
        """With 0 where not valid, whatever was there."""
        return Samples(torch.where(self.valid, self.data, 0.0), self.valid)

    def where(self, known: Tensor) -> Samples:
        """With 0 where not valid or not ``known``, (B, 1, …) bool."""
        return Samples(self.data, self.valid & known).masked()


class Output(NamedTuple):
    """What a network made of samples, not yet masked, and what it tells of it.

    Attributes:
        samples: values, and where they are valid.
        posterior: what they were drawn from, of a Gaussian head.
        log_det: (B,) of an invertible network.
    """

    samples: Samples
    posterior: Posterior | None = None
    log_det: Tensor | None = None


class Contest(NamedTuple):
    """What a divergence compares: samples of data and of outputs, 0 where not valid.

    Row by row both wear one mask. Holes are no clue then to which is which, whoever they come from:
    the telescope of the data, that of the network's input, or the row of a batch long ago.

    Attributes:
        real: data of the space, without gradient.
        fake: outputs of a network, through which the gradient goes.
        condition: (B, C', …), the network's input, where pairs are judged; None: outputs alone.
        posterior, log_det: what the network tells of its outputs, see ``Output``.
    """

    real: Samples
    fake: Samples
    condition: Tensor | None
    posterior: Posterior | None = None
    log_det: Tensor | None = None


def carried(network: nn.Module, valid: Tensor, output: Tensor) -> Tensor:
    """Where an output is valid (B, 1, …), by the network's own ``carry`` if it has one."""
    return getattr(network, "carry", carry)(valid, output)


def require_like(name: str, output: Tensor, truth: Tensor) -> None:
    """Refuse an output that does not live in the space of the truth.

    Raises:
        ImgturboError: an output of another shape than the data of its space.
    """
    if output.shape[1:] != truth.shape[1:]:
        raise ImgturboError(
            f"objective: {name} is of shape {tuple(output.shape[1:])} but the data of its space of "
            f"shape {tuple(truth.shape[1:])}; choose a network that writes those"
        )


def contest(
    name: str, output: Output, own: Samples, other: Samples, paired: Tensor, conditional: bool
) -> Contest:
    """Real and fake as those who judge the output ``name`` see them.

    Both wear what their two masks share, row by row, pairs or not. Each in its own, a critic
    learns whose holes are of which kind instead of whose sky looks how.

    Args:
        name: of the output, for the message.
        output: of the network.
        own, other: the data of the space that it lives in, and those of the other space.
        paired: (B,) bool; where pairs are judged, those alone count.
        conditional: whether pairs are judged: (output, input).

    Raises:
        ImgturboError: conditional, but the two spaces are of unlike shape.
    """
    fake, posterior, log_det = output
    if not conditional:
        return Contest(own.where(fake.valid), fake.where(own.valid), None, posterior, log_det)
    if own.data.shape[2:] != other.data.shape[2:]:
        raise ImgturboError(
            f"objective.conditional: the critic of {name} cannot see {tuple(own.data.shape[1:])} "
            f"beside {tuple(other.data.shape[1:])}, of unlike height and width; set it to false"
        )
    known = paired.view(-1, *[1] * (fake.data.ndim - 1)) & own.valid & fake.valid
    condition = torch.where(known, other.data, 0.0)
    return Contest(own.where(known), fake.where(known), condition, posterior, log_det)
