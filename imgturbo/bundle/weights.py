"""Weights on disk and in networks: what is loaded is looked at before anything is allocated.

The network is first made of shapes alone, on torch's meta device, and no further than what the file
could fill; names, shapes and types are compared with the file's header; only then is it made in
full. So a damaged or forged config of a network of terabytes costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from imgturbo.bundle.description import AGAIN
from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.listing import Entry
from imgturbo.nets import Generator

__all__ = ["load_network", "stored_weights"]

_FLOATS = ("F16", "BF16", "F32", "F64")
_OTHERS = {torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}
Header = dict[str, tuple[str, tuple[int, ...]]]


def load_network(
    build: Callable[[], Generator], folder: Path, name: str, entry: Entry
) -> Generator:
    """A network with its weights, in evaluation mode.

    Args:
        build: makes it, with first weights that do not matter.
        folder: of the bundle.
        name: of the file of weights in it.
        entry: what ``bundle.json`` says of that file.

    Raises:
        ImgturboError: the file is missing or damaged, does not fit the network, or holds numbers
            that are not finite.
    """
    entry.check(folder, name, AGAIN)
    with door(folder, name, AGAIN), safe_open(folder / name, "pt") as file:
        keys = file.keys()
        slices = {key: file.get_slice(key) for key in keys}
        header = {key: (part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()}
        with door(folder, "the network of its config", AGAIN, "cannot be built"):
            if not _fits(build, header):
                raise ImgturboError(
                    f"{folder}: {name} does not fit the networks of its config; it was saved by "
                    "another version of imgturbo, install that one"
                )
            with torch.random.fork_rng(devices=[]):  # first weights are not the caller's business
                network = build()
        with torch.no_grad():
            network.load_state_dict({key: file.get_tensor(key) for key in keys})
    if (key := _infinite(network)) is not None:
        raise ImgturboError(
            f"{folder}: {name} has numbers that are not finite ({key}), so that it computes "
            "nothing; train it again"
        )
    return network.eval()


def stored_weights(network: nn.Module, half: bool, path: Path) -> dict[str, Tensor]:
    """The weights as they are written: in full, or what is not ``exact`` as float16.

    Raises:
        ImgturboError: one is not finite, or beyond what float16 holds.
    """
    tensors = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    if (key := _infinite(network)) is not None:
        raise ImgturboError(f"{path}: {key} has weights that are not finite; they are not saved")
    if not half:
        return tensors
    exact = _exact(network)
    rounded = {
        key: value.half() if value.is_floating_point() and key not in exact else value
        for key, value in tensors.items()
    }
    for key, value in rounded.items():
        if not value.isfinite().all():
            raise ImgturboError(
                f"{path}: {key} has values beyond 65504, too large for half precision; save it "
                "in full"
            )
    return rounded


def _exact(network: nn.Module) -> set[str]:
    """Names of the tensors that lose their meaning when rounded: what modules call ``exact``."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        for name in getattr(module, "exact", ())
    }


def _infinite(network: nn.Module) -> str | None:
    """The first tensor that has a number which is not finite."""
    state = network.state_dict()
    return next((key for key, value in state.items() if not value.isfinite().all()), None)


# ------------------------------------------------------------------------------ shapes alone


class _Beyond(Exception):
    """The network is larger than the file."""


def _fits(build: Callable[[], Generator], header: Header) -> bool:
    """Whether the network has tensors of these names, shapes and types, and no others."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), _no_larger_than(header):
            state = build().state_dict()
    except _Beyond:
        return False
    return header.keys() == state.keys() and all(
        tuple(value.shape) == header[key][1] and _is_of(header[key][0], value.dtype)
        for key, value in state.items()
    )


def _is_of(stored: str, dtype: torch.dtype) -> bool:
    return stored in _FLOATS if dtype.is_floating_point else stored == _OTHERS.get(dtype)


@contextmanager
def _no_larger_than(header: Header) -> Iterator[None]:
    """Raise _Beyond in a block that makes more weights than a file has, as soon as it does.

    Some slack is left to modules that replace weights they have just made.
    """
    tensors, numbers = (
        2 * len(header) + 16,
        2 * sum(math.prod(shape) for _, shape in header.values()) + 4096,
    )

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal tensors, numbers
        tensors, numbers = tensors - 1, numbers - parameter.numel()
        if tensors < 0 or numbers < 0:
            raise _Beyond

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
