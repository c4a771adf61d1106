"""Tensors by name: weights, buffers and optimisers' moments, as checkpoints hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError

__all__ = ["copy_tensors", "load_optimizer_tensors", "named_tensors", "optimizer_tensors"]


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tensor once though two modules share it."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


@torch.no_grad()
def copy_tensors(target: Mapping[str, Tensor], saved: Mapping[str, Tensor], where: Path) -> None:
    """Copy saved values into tensors of the same names, in place.

    Raises:
        ImgturboError: other names or shapes, that is, another network.
    """
    for name in [*target, *saved]:
        if name not in saved or name not in target or target[name].shape != saved[name].shape:
            raise ImgturboError(
                f"{where}: {name!r} does not fit this network; it was saved by another version or "
                "config, choose another 'train.out' or start anew"
            )
    for name, tensor in target.items():
        tensor.copy_(saved[name])


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]
) -> dict[str, Tensor]:
    """The optimiser's state as ``<parameter name>.<key>``."""
    return {
        f"{names[parameter]}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


@torch.no_grad()
def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    names: Mapping[Tensor, str],
    saved: Mapping[str, Tensor],
    where: Path,
) -> None:
    """Take up what ``optimizer_tensors`` gave, in each parameter's own device and layout.

    Raises:
        ImgturboError: a tensor of another parameter, or of another shape than its parameter.
    """
    own = {names[p]: p.shape for group in optimizer.param_groups for p in group["params"]}
    states: dict[str, dict[str, Tensor]] = {}
    for full_name, value in saved.items():
        name, _, key = full_name.rpartition(".")
        if name not in own or (value.ndim and value.shape != own[name]):
            raise ImgturboError(
                f"{where}: {full_name!r} fits no weight that is trained; it was saved by another "
                "version or config, choose another 'train.out' or start anew"
            )
        states.setdefault(name, {})[key] = value
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = states.get(names[parameter])
            if state is None:
                continue
            optimizer.state[parameter] = {
                key: torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                if value.shape == parameter.shape and value.ndim
                else value.to(parameter.device if group.get("fused") else "cpu")
                for key, value in state.items()
            }
