"""A bundle written anew, for others: checked, without the folders it was made in, smaller, or
between two bundles."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgturbo.bundle.blend import blend
from imgturbo.bundle.folder import Bundle, save_bundle
from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.places import free_folder

__all__ = ["Exported", "export"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: folder of the new bundle.
        hash: its 12 hexadecimal digits.
        bytes: size of its weights.
    """

    path: Path
    hash: str
    bytes: int

    def __str__(self) -> str:
        return f"{self.path}: {self.hash}, {self.bytes / 1e6:.2f} MB of weights"


def export(
    bundle: Bundle,
    out: Path | str,
    *,
    half: bool = False,
    toward: Bundle | None = None,
    share: float = 0.5,
) -> Exported:
    """Write a bundle anew, ready to be given to others.

    The new one names the files of the run without their folders, and records which bundle it comes
    from. The bundle that is given stays as it is. Calibrated intervals go along where the weights
    are the same to the last bit.

    Args:
        bundle: a loaded one, whose bytes have been checked.
        out: folder of the new bundle; an older bundle there is replaced.
        half: store weights as float16, at half the size.
        toward: a bundle of the same tiles and networks, towards whose weights these are moved. The
            validation scores, which were of other weights, are left out then.
        share: how far they are moved, from 0 (not at all) to 1 (all the way).

    Raises:
        ImgturboError: ``out`` is the bundle itself, holds something else or cannot be written;
            ``toward`` is of other tiles or networks.
    """
    out = Path(out)
    for read in (bundle, *([] if toward is None else [toward])):
        if read.path.resolve() == out.resolve():
            raise ImgturboError(f"{out}: is the bundle itself; name another folder")
        free_folder(out, folders=[read.path], replaced=True)
    record = {**bundle.record, "exported_from": bundle.hash}
    if toward is not None:
        networks = copy.deepcopy((bundle.decoder, bundle.encoder))
        bundle = replace(bundle, decoder=networks[0], encoder=networks[1])
        blend(bundle, toward, share)
        record |= {"blended": {"toward": toward.hash, "share": share}, "validation": {}}
    name = save_bundle(
        out,
        decoder=bundle.decoder,
        encoder=bundle.encoder,
        config=_without_folders(bundle.config),
        sides={"source": bundle.source, "target": bundle.target},
        record=record,
        half=half,
        # Of other weights, however near, nothing was guaranteed.
        intervals=None if half or toward is not None else bundle.intervals,
    )
    return Exported(out, name, sum(file.stat().st_size for file in out.glob("*.safetensors")))


def _without_folders(config: Config) -> Config:
    """The config with bare file names: where they lay is nobody else's business."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(part) for key, part in value.items()}
        if isinstance(value, list):
            return [bare(part) for part in value]
        return Path(value.name) if isinstance(value, Path) else value

    return type(config).model_validate(bare(config.model_dump(by_alias=True)))
