r"""Train deep chains in the memory of one layer: activations are recomputed by inversion.

Ordinary backpropagation keeps every xᵢ of x = x₀ → x₁ → … → x_n = z. Here only z (and the
conditions) are kept. Going back from i = n,

    xᵢ₋₁ = fᵢ⁻¹(xᵢ; c),
    (∂ℓ/∂xᵢ₋₁, ∂ℓ/∂θᵢ, ∂ℓ/∂c)  by autograd through  fᵢ(xᵢ₋₁; c)  alone,

so that the activations of one layer exist at a time, for one inverse and one forward pass more.
(Couplings share the networks between the two: one run of each, ``Coupling.retrace``.)
The gradients are those of ordinary backpropagation up to the rounding of the inverse, which is
why chains of couplings with soft clamps suit it.

Gomez et al. 2017, *The Reversible Residual Network* (arXiv:1707.04585).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from imgturbo.flows.transform import Condition, Pairs, Transform

__all__ = ["recomputing"]


def recomputing(pairs: Sequence[tuple[Transform, Condition]], x: Tensor) -> tuple[Tensor, Tensor]:
    """Run transforms, each with its condition, on x (B, C, …), keeping no activation but z.

    Gradients reach x, the conditions and the parameters; second derivatives are not offered. The
    transforms must be pure functions of (x, c): no dropout, no batch norm.

    Returns:
        z and Σ log|det| (B,).
    """
    conditions: list[Tensor] = []
    slots: list[Any] = []  # what each transform gets: None, an index, or a list of those
    for _, condition in pairs:
        slots.append(_stow(condition, conditions))
    transforms = [transform for transform, _ in pairs]
    # Autograd must see every parameter as an input, or it would not ask for its gradient.
    parameters = _trained(transforms)
    return _Recompute.apply(transforms, slots, len(conditions), x, *conditions, *parameters)  # type: ignore[no-any-return,no-untyped-call]


def _trained(modules: Sequence[nn.Module]) -> list[Tensor]:
    """Their parameters that want a gradient, each once and always in the same order."""
    found = (p for m in modules for p in m.parameters() if p.requires_grad)
    return list(dict.fromkeys(found))


def _stow(condition: Condition, conditions: list[Tensor]) -> Any:
    """Put the condition's tensors, each once, into ``conditions``; return where they are."""
    if condition is None:
        return None
    if isinstance(condition, Tensor):
        for index, known in enumerate(conditions):
            if known is condition:
                return index
        conditions.append(condition)
        return len(conditions) - 1
    return [_stow(part, conditions) for part in condition]


def _fetch(slot: Any, conditions: Sequence[Tensor]) -> Condition:
    if slot is None:
        return None
    if isinstance(slot, int):
        return conditions[slot]
    return [_fetch(part, conditions) for part in slot]  # type: ignore[misc]


class _Recompute(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        transforms: list[Transform],
        slots: list[Any],
        count: int,
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        conditions = tensors[:count]
        device = x.device.type
        ctx.autocast = (
            {
                "device_type": device,
                "dtype": torch.get_autocast_dtype(device),
                "enabled": torch.is_autocast_enabled(device),
                "cache_enabled": torch.is_autocast_cache_enabled(),
            }
            if torch.amp.is_autocast_available(device)
            else None
        )
        z = x
        log_det = x.new_zeros(len(x))
        for transform, slot in zip(transforms, slots, strict=True):
            z, part = transform(z, _fetch(slot, conditions))
            log_det = log_det + part
        # An identity chain must not hand back the very tensor that came in.
        z = z.clone() if z is x else z
        ctx.transforms, ctx.slots, ctx.count = transforms, slots, count
        ctx.save_for_backward(z, *tensors)
        return z, log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        z, *tensors = ctx.saved_tensors  # refuses parameters that were changed in between
        wanted = ctx.needs_input_grad[4 : 4 + ctx.count]
        conditions = [
            tensor.detach().requires_grad_(want)
            for tensor, want in zip(tensors[: ctx.count], wanted, strict=True)
        ]
        parameters = _trained(ctx.transforms)
        totals: dict[int, Tensor] = {}  # gradient of each condition and parameter, by id
        autocast = contextlib.nullcontext if ctx.autocast is None else torch.autocast

        def backpropagate(
            slot: Any, pairs: Pairs, inputs: Sequence[Tensor], module: nn.Module
        ) -> list[Tensor]:
            # What depends on nothing trained is a constant, which has no gradient.
            outputs, seeds = zip(*(pair for pair in pairs if pair[0].requires_grad), strict=True)
            others = [*_leaves(slot, conditions), *_trained([module])]
            grads = torch.autograd.grad(outputs, [*inputs, *others], seeds, allow_unused=True)
            for other, grad in zip(others, grads[len(inputs) :], strict=True):
                if grad is not None:
                    known = totals.get(id(other))
                    totals[id(other)] = grad if known is None else known + grad
            return [
                torch.zeros_like(tensor) if grad is None else grad
                for tensor, grad in zip(inputs, grads, strict=False)
            ]

        with autocast(**(ctx.autocast or {})):
            for transform, slot in zip(reversed(ctx.transforms), reversed(ctx.slots), strict=True):
                condition = _fetch(slot, conditions)
                own = functools.partial(backpropagate, slot)
                z, grad_z = transform.retrace(z, condition, grad_z, grad_log_det, own)
        return (
            None,
            None,
            None,
            grad_z if ctx.needs_input_grad[3] else None,
            *(totals.get(id(tensor)) for tensor in (*conditions, *parameters)),
        )


def _leaves(slot: Any, conditions: Sequence[Tensor]) -> list[Tensor]:
    """The conditions at a slot whose gradient is wanted, each once."""
    if slot is None:
        return []
    if isinstance(slot, int):
        return [conditions[slot]] if conditions[slot].requires_grad else []
    return list(dict.fromkeys(leaf for part in slot for leaf in _leaves(part, conditions)))
