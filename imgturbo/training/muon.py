r"""Muon: each matrix of weights moves equally far in all the directions its gradient names.

    B ← μ B + (1 − μ) G                                momentum, G: the gradient as m × n
    W ← (1 − η λ) W − 0.2 η √max(m, n) · orth((1 − μ) G + μ B),     orth(U Σ Vᵀ) ≈ U Vᵀ

A gradient of few samples has few strong directions, those of the last bright star; Adam, which
scales every number by itself, follows them. Here weak directions that last count as much, so that
fewer samples teach more, at the price of products of matrices in every step.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the factor, with
which a rate η means what it means to AdamW, is that of Liu et al. 2025 (arXiv:2502.16982, eq. 4).
A convolution's weights are the matrix (outputs, inputs · height · width). ``torch.optim.Muon`` does
the same steps, on two-dimensional weights only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Muon", "is_matrix", "orthogonal"]

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a, b, c: σ ← a σ + b σ³ + c σ⁵ draws 0…1 to near 1
ITERATIONS = 5
SMALLEST = 16  # sides; below it there are hardly directions to choose from


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon is for it: of a linear layer or a convolution, with both sides ≥ 16.

    Biases, scales, depthwise kernels and the last layer before a few bands are not.
    """
    return weight.ndim in (2, 4) and min(len(weight), weight[0].numel()) >= SMALLEST


def orthogonal(matrices: Tensor) -> Tensor:
    """U Vᵀ of every U Σ Vᵀ, roughly: singular values of 0.7 to 1.2 in the place of Σ.

    By Newton–Schulz iterations in bfloat16, of matrix products alone. Directions with less than
    about a thousandth of a matrix's length stay shorter.

    Args:
        matrices: (B, m, n).
    """
    m, n = matrices.shape[1:]
    x = matrices.bfloat16()
    x = x.mT if m > n else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if m > n else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """See the module's page.

    Args:
        weights: matrices and convolutions, such as ``is_matrix`` is true for.
        lr: η.
        momentum: μ.
        weight_decay: λ.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(weights, settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all weights that have a gradient; no closure is called."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shape = (len(weight), weight[0].numel())
                    alike.setdefault(shape, []).append(weight)
            for shape, weights in alike.items():  # equal shapes together: few, larger products
                steps = orthogonal(torch.stack([self._mean(w, group["momentum"]) for w in weights]))
                length = 0.2 * group["lr"] * math.sqrt(max(shape))
                for weight, step in zip(weights, steps, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(step.view(weight.shape), alpha=-length)

    def _mean(self, weight: nn.Parameter, momentum: float) -> Tensor:
        """(1 − μ) G + μ B as a matrix, after B has been moved."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        assert weight.grad is not None
        state["momentum"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(state["momentum"], momentum).reshape(len(weight), -1)
