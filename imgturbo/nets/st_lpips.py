"""ST-LPIPS on the AlexNet trunk: a perceptual distance that tolerates shifts of a pixel or so.

    d(a, b) = Σ_l mean_{h,w} w_l · (φ_l(a)/‖φ_l(a)‖ − φ_l(b)/‖φ_l(b)‖)²

as LPIPS, with φ the features after each ReLU of an AlexNet whose strides are replaced by blurred
subsampling (Zhang 2019, arXiv 1904.11486) and the weights w_l trained under imperceptible shifts
(Ghazanfari et al. 2023, arXiv 2304.04223). The weights ship in the package ``stlpips-pytorch``
(BSD-2); its modules import undeclared packages, so only its weight file is read here.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad, relu

from imgturbo.nets.weights import Judge, packaged_weights

__all__ = ["STLPIPS", "load_st_lpips"]

_CONVOLUTIONS = {  # name in the weight file: padding
    "slice1.0": 2, "slice2.5": 2, "slice3.9": 1, "slice4.11": 1, "slice5.13": 1,
}  # fmt: skip


class STLPIPS(Judge):
    """Shift-tolerant LPIPS; inputs (B, 3, H, W) in [−1, 1] with sides ≥ 32, output (B, 1, 1, 1)."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        distance = torch.zeros(len(a), 1, 1, 1, dtype=a.dtype, device=a.device)
        for layer, (fa, fb) in enumerate(zip(self._features(a), self._features(b), strict=True)):
            difference = (_unit(fa) - _unit(fb)).square()
            head = self.weight(f"lin{layer}.model.1.weight")
            distance = distance + conv2d(difference, head).mean((2, 3), keepdim=True)
        return distance

    def _features(self, u: Tensor) -> list[Tensor]:
        u = (u - self.weight("scaling_layer.shift")) / self.weight("scaling_layer.scale")
        features = []
        for number, (name, padding) in enumerate(_CONVOLUTIONS.items(), start=1):
            if number in (2, 3):
                blur = {2: "slice2.4", 3: "slice3.8"}[number]
                u = self._subsample(max_pool2d(u, 3, 1), blur)
            weight, bias = self.weight(f"net.{name}.weight"), self.weight(f"net.{name}.bias")
            u = conv2d(u, weight, bias, padding=padding)
            if number == 1:
                u = self._subsample(u, "slice1.1")
            u = relu(u)
            features.append(u)
        return features

    def _subsample(self, u: Tensor, name: str) -> Tensor:
        kernel = self.weight(f"net.{name}.filt")
        return conv2d(pad(u, (2, 2, 2, 2), "reflect"), kernel, stride=2, groups=u.shape[1])


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


@cache
def load_st_lpips() -> STLPIPS:
    """The network with the weights of the installed ``stlpips-pytorch`` package.

    Raises:
        MissingWeights: the package, an extra, is not installed.
    """
    file = ("weights", "vST0.0", "alex_shift_tolerant.pth")
    return STLPIPS(packaged_weights("stlpips_pytorch", *file)).eval()
