r"""The affine injector: every channel is moved by what the condition alone says of it.

    z = g(x; θ(c)),      with the affine law   z = x·e^σ(s(c)) + t(c)

A coupling can move a channel by the condition only together with other channels of x; the injector
moves all of them at once. In front of a stage it takes off the conditional mean and deviation, as a
regression with an error bar would find them, and leaves to the couplings what is beyond a normal
distribution. It also gives a single channel, which no coupling can split, its condition.

The network is zero at the start, so the layer starts as the identity. Lugmayr et al. 2020, *SRFlow*
(arXiv:2006.14200), section 3.3.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.flows.coupling import Affine, Law
from imgturbo.flows.transform import Condition, Transform, full_precision, require_channels

__all__ = ["Injector"]


class Injector(Transform):
    """x (B, C, H, W) moved by c (B or B/n, Cc, H, W), each row of c for n rows of x; or tables.

    Args:
        channels: C.
        condition_channels: Cc.
        width: hidden channels of θ.
        law: g.
        rows: whether x and c are tables, (B, C) and (B or B/n, Cc), for which θ is dense.
    """

    def __init__(
        self,
        channels: int,
        condition_channels: int,
        width: int,
        law: Law | None = None,
        *,
        rows: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.condition_channels = condition_channels
        self.law: Law = Affine() if law is None else law
        make = nn.Linear if rows else partial(nn.Conv2d, kernel_size=3, padding=1)
        self.hidden = make(condition_channels, width)
        self.output = make(width, self.law.numbers * channels)
        nn.init.zeros_(self.output.weight)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        require_channels(x, self.channels, "this injector")
        x = full_precision(x)
        return self.law.forward(x, self._theta(x, condition))

    def inverse(self, z: Tensor, condition: Condition = None) -> Tensor:
        require_channels(z, self.channels, "this injector")
        z = full_precision(z)
        return self.law.inverse(z, self._theta(z, condition))

    def _theta(self, x: Tensor, condition: Condition) -> Tensor:
        if not isinstance(condition, Tensor) or condition.shape[1] != self.condition_channels:
            raise ImgturboError(
                f"this flow needs a condition of {self.condition_channels} channels"
            )
        if condition.shape[2:] != x.shape[2:] or len(x) % len(condition):
            raise ImgturboError(
                f"a condition of shape {tuple(condition.shape)} does not fit an array of shape "
                f"{tuple(x.shape)}"
            )
        theta = self.output(F.silu(self.hidden(condition))).to(x.dtype)
        return theta.repeat_interleave(len(x) // len(theta), dim=0)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, law={self.law}"
