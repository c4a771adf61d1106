"""The folder of a run: whose it is, what of it is the run's own, and what starting anew removes.

``train.out`` may be a folder of the user's, with things in it. A run writes these names into it and
touches nothing else; it goes on only where they are free, or those of an earlier run.

    config.yaml     the settings in full, under a first line by which a run's is known
    checkpoints/    step-…, tmp-…, last.json, best.json
    bundle/         a bundle
    samples/        step-….png
    metrics.jsonl, tensorboard/
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import yaml

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.files import remove, write_whole
from imgturbo.places import free_folder, made_so

__all__ = ["check_folder", "clear_folder", "write_config"]

_HEADING = "# The settings of a run in full, as imgturbo train wrote them.\n"
_MARK = (_HEADING.encode().strip(),)
_OWN = {
    "bundle": (),
    "checkpoints": ("step-*", "tmp-*", "last.json", "best.json", ".*.part"),
    "config.yaml": (),
    "metrics.jsonl": (),
    "samples": ("step-*.png", ".step-*.png.part"),
    "tensorboard": ("**/events.out.tfevents.*", "**/hparams.yml"),
}
"""What a run writes into its folder, and of folders that may hold more, which names in them."""


def check_folder(config: Config) -> None:
    """Refuse a folder in which a run would write over what it has not made.

    Raises:
        ImgturboError: it is or lies in the tile store; a name that a run writes is another's.
    """
    out = config.train.out
    free_folder(out, folders=[config.tiles])
    another = "choose another 'train.out', or move it"
    bundle = out / "bundle"
    if _exists(bundle) and not ((bundle / "bundle.json").exists() or _is_empty(bundle)):
        raise ImgturboError(f"{bundle}: exists and is no bundle; {another}")
    if _is_of_a_run(out):
        return
    for name in _OWN:
        if _exists(out / name) and not _is_empty(out / name):
            raise ImgturboError(f"{out / name}: exists, and no training wrote it; {another}")


def clear_folder(out: Path) -> None:
    """Remove what an earlier run wrote into its folder, and leave what else is in it."""
    for name, within in _OWN.items():
        path = out / name
        if not within or path.is_symlink():
            remove(path)
            continue
        for pattern in within:
            for own in list(path.glob(pattern)):
                remove(own)
        folders = [path, *(inner for inner in path.rglob("*") if inner.is_dir())]
        for folder in sorted(folders, reverse=True):
            with suppress(OSError):  # it holds something else
                folder.rmdir()


def write_config(config: Config) -> None:
    """Leave the settings in full in the run's folder."""
    tree = config.model_dump(mode="json", by_alias=True)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    write_whole(config.train.out / "config.yaml", (_HEADING + text).encode())


def _is_of_a_run(out: Path) -> bool:
    """Whether an earlier run wrote here: its settings say so, or (of 0.1.0) a checkpoint does."""
    if made_so(out / "config.yaml", _MARK):
        return True
    return any((out / "checkpoints").glob("step-*/manifest.json"))


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
