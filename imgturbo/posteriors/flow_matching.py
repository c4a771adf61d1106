r"""Conditional flow matching: a velocity that carries noise to data, learnt by regression.

    x_t = (1 − t) ε + t x,   ε ~ N(0, 1),   t ~ p(t) ∝ t^α on [0, 1]
    L   = E ‖v(x_t, t; c) − (x − ε)‖² / D
    x̃   = x_1 of  dx_t/dt = v(x_t, t; c),  x_0 = ε,   by S midpoint steps of h = 1/S:
          x_{t+h} = x_t + h v(x_t + ½h v(x_t, t), t + ½h)
    log p(x|z) = log N(x_0; 0, 1) − ∫₀¹ ∇·v(x_t, t; c) dt,   x_t back from x_1 = x, same steps

The divergence is exact, of D gradients a pass. The density is that of the differential equation;
both it and the draws have the error of S steps.

Lipman et al. 2023 (arXiv:2210.02747), equation 23 with σ_min = 0; posteriors: Dax et al. 2023
(arXiv:2305.17161), whose time prior p(t) is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config.posteriors import FlowMatchingConfig
from imgturbo.flows.transform import full_precision, require_channels
from imgturbo.losses import Ledger, Losses, Trainable
from imgturbo.posteriors.dense_flow import log_normal
from imgturbo.posteriors.rows import Conditions, RowGenerator
from imgturbo.posteriors.summaries import build_summary, dense_layers

if TYPE_CHECKING:
    from imgturbo.data.batch import Batch

__all__ = ["FlowMatching", "Matching"]


class _Velocity(nn.Module):
    """v(x, t; c): residual blocks on what x, t and c are made of by layers of their own."""

    def __init__(self, config: FlowMatchingConfig, columns: int) -> None:
        super().__init__()
        width = config.width
        self.from_x = nn.Linear(columns, width)
        self.from_time = nn.Linear(1 + 2 * config.frequencies, width, bias=False)
        self.from_condition = nn.Linear(config.condition.features, width, bias=False)
        self.blocks = nn.ModuleList(
            dense_layers([width, width, width]) for _ in range(config.blocks)
        )
        self.last = nn.Linear(width, columns)
        self.count = config.frequencies

    def forward(self, x: Tensor, t: Tensor, known: Tensor) -> Tensor:
        """(n·B, D), times (n·B, 1) or (1, 1), and ``read(c)`` (n·B, width) → (n·B, D)."""
        h = self.from_x(x) + self.from_time(self._seen(t)) + known
        for block in self.blocks:
            h = h + block(F.silu(h))
        return self.last(F.silu(h))  # type: ignore[no-any-return]

    def _seen(self, t: Tensor) -> Tensor:
        """t, and its sines and cosines of the periods 2, 1, 2/3, …"""
        steps = torch.arange(1, self.count + 1, device=t.device, dtype=t.dtype)
        angle = torch.pi * t * steps
        return torch.cat([t, angle.sin(), angle.cos()], dim=1)


class FlowMatching(RowGenerator):
    """Draws and densities of p(x|z), (B, C) → (B, C'), by a differential equation.

    Args:
        config: see ``FlowMatchingConfig``.
        in_channels: columns of z.
        out_channels: columns of x, D.
    """

    has_density = True

    def __init__(self, config: FlowMatchingConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, build_summary(config.condition, in_channels))
        self.config = config
        self.velocity = _Velocity(config, out_channels)
        self.doubt = (
            f"draws in {config.steps} midpoint steps have their error; more model.decoder.steps "
            "lessen it"
        )

    def conditions(self, u: Tensor) -> Conditions:
        """What of the velocity's first layer depends on z (B, C) alone."""
        return [self.velocity.from_condition(self.summary(self.checked(u)))]

    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """Noise (n·B, D) → x, along the velocity."""
        known = conditions[0].repeat_interleave(len(epsilon) // len(conditions[0]), dim=0)

        def along(x: Tensor, t: float) -> tuple[Tensor, None]:
            return self.velocity(x, x.new_full((1, 1), t), known).to(x.dtype), None

        return self._steps(epsilon, along, backwards=False)[0]

    def log_density(self, y: Tensor, z: Tensor | Conditions) -> Tensor:
        """log p(y|z) (B,) in nats, without gradient by the weights.

        Raises:
            ImgturboError: other numbers of columns than the network's.
        """
        require_channels(y, self.out_channels, "this network")
        with torch.inference_mode(False), torch.enable_grad():
            (known,) = (part.detach().clone() for part in self.known(z))

            def along(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
                x = x.detach().requires_grad_()
                v = self.velocity(x, x.new_full((1, 1), t), known).to(x.dtype)
                divergence = torch.zeros_like(x[:, 0])
                for column in range(x.shape[1]):
                    (grad,) = torch.autograd.grad(v[:, column].sum(), x, retain_graph=True)
                    divergence = divergence + grad[:, column]
                return v.detach(), divergence

            x, integral = self._steps(full_precision(y.detach().clone()), along, backwards=True)
        assert integral is not None
        return log_normal(x) + integral

    def _steps(
        self,
        x: Tensor,
        along: Callable[[Tensor, float], tuple[Tensor, Tensor | None]],
        backwards: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """x at the other end, and ∫ of what ``along`` gives beside v, in the sense that is gone."""
        number = self.config.steps
        h = -1.0 / number if backwards else 1.0 / number
        total: Tensor | None = None
        for step in range(number):
            t = (1.0 if backwards else 0.0) + step * h
            v, _ = along(x, t)
            v, part = along(x + 0.5 * h * v, t + 0.5 * h)
            x = x + h * v
            if part is not None:
                total = h * part if total is None else total + h * part
        return x, total


class Matching(Trainable):
    """A velocity and its loss; see the module's page.

    Args:
        decoder: the network.
    """

    decoder: FlowMatching
    own_scores: Mapping[str, bool] = {"forward/velocity": False}

    def __init__(self, decoder: FlowMatching) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, batch: Batch) -> Losses:
        """The loss of one step. With several processes a collective call."""
        noise, time = torch.randn_like(batch.x), torch.rand_like(batch.x[:, :1])
        squares, counts = self._squares(self.decoder, batch, noise, time)
        ledger = Ledger()
        ledger.add("velocity", "generator", 1.0, squares, counts)
        return ledger.settle()

    def terms_by_pairs(self) -> dict[str, bool]:
        """Its one term is of pairs."""
        return {"velocity": True}

    def scores(
        self, maps: Mapping[str, nn.Module], batch: Batch, number: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The loss over pairs, with the same noise and times at every validation."""
        same = torch.Generator().manual_seed(number)  # on the CPU: the same on every device
        noise = torch.randn(batch.x.shape, generator=same).to(batch.x)
        time = torch.rand(len(batch.x), 1, generator=same).to(batch.x)
        decoder = cast("FlowMatching", maps["decoder"])
        squares, counts = self._squares(decoder, batch, noise, time)
        return {"forward/velocity": (squares.double().sum(), counts.sum())}

    @staticmethod
    def _squares(
        decoder: FlowMatching, batch: Batch, noise: Tensor, uniform: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Squared errors (B, D), 0 where a row does not count, and how many numbers do."""
        rows = batch.z_valid & batch.x_valid & batch.paired[:, None]
        z, x = (torch.where(rows, u, 0.0) for u in (batch.z, batch.x))
        t = uniform ** (1 / (1 + decoder.config.time_power))
        (known,) = decoder.conditions(z)
        v = decoder.velocity(torch.lerp(noise, x, t), t, known)
        return torch.where(rows, (v - (x - noise)).square(), 0.0), rows.sum() * x.shape[1]
