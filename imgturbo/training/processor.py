"""What suits the processor: the precision, the layout of images in memory, a compiler.

Precision ``auto`` is bf16 where the processor multiplies it in hardware (AVX512-BF16 or AMX of a
CPU, any GPU that has it) and the loss of the engine bears it: never densities, the log-determinants
of which are small differences of large numbers, nor for rows of numbers, which gain nothing. A CPU
without these instructions converts every number to and fro, and is slower.

Layout ``auto`` is channels last, in which convolutions and norms over a pixel's channels are
fastest; but on a CPU contiguous for networks with batch or instance norm, whose convolutions of
4 × 4 are faster so, too: torch's instance norm knows no channels last, and every image would be
copied to and fro around it (docs/performance.md has the figures).

The precision changes what a run computes: it is settled when a run begins, and its checkpoints
remember it. The layout is none of their business.
"""

from __future__ import annotations

import torch
from torch import nn

from imgturbo.config import Config
from imgturbo.data.source import Source
from imgturbo.engines import bears_half_precision
from imgturbo.errors import ImgturboError
from imgturbo.training.checkpoint import Checkpoints

__all__ = ["channels_last", "check_compiler", "has_bf16", "settle_precision"]


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 in hardware, as far as torch can tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def settle_precision(config: Config, source: Source, resume: bool) -> Config:
    """The config with a precision where it says ``auto``: that of the run it continues, if any.

    Args:
        config: a settled one.
        source: the training data.
        resume: whether ``train.out`` may hold a run to be continued.
    """
    if config.train.precision != "auto":
        return config
    precision = "no"
    # By itself the first names what torch was built for, be there one or not.
    there = torch.accelerator.is_available()
    device = (torch.accelerator.current_accelerator() if there else None) or torch.device("cpu")
    if source.extent is not None and bears_half_precision(config) and has_bf16(device):
        precision = "bf16"
    if resume:
        found = Checkpoints(config.train.out / "checkpoints", config.train.keep).latest(
            lambda line: None
        )
        if found is not None:
            train = found.state.config.get("train")
            precision = train.get("precision", precision) if isinstance(train, dict) else precision
    train_section = config.train.model_copy(update={"precision": precision})
    return config.model_copy(update={"train": train_section})


def channels_last(asked: bool | str, network: nn.Module, device: torch.device) -> bool:
    """Whether images are to be kept channels last.

    Args:
        asked: ``train.channels_last``: true, false or ``"auto"``.
        network: all that is trained.
        device: where.
    """
    if isinstance(asked, bool):
        return asked
    if device.type != "cpu":
        return True
    over_images = (nn.InstanceNorm2d, nn.BatchNorm2d)
    return not any(isinstance(module, over_images) for module in network.modules())


def check_compiler(device: torch.device) -> None:
    """Compile something small.

    Raises:
        ImgturboError: torch.compile does not work here.
    """
    try:
        torch.compile(_small)(torch.ones(8, device=device))
    except Exception as error:  # whatever a compiler may say
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        needed = "Triton" if device.type == "cuda" else "a C++ compiler (g++)"
        raise ImgturboError(
            f"train.compile: torch.compile does not work here ({reason[:200]}); install {needed}, "
            "or leave train.compile out"
        ) from None


def _small(u: torch.Tensor) -> torch.Tensor:
    return torch.sin(u) + u
