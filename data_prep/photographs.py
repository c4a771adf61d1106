r"""From photographs to a tile store: no sky, no registration, colours instead of bands.

    colour   RGB picture → Lab: source L, target (a, b), with the published stretches
    pairs    two pictures of one name and size: source RGB, target RGB, y = (f − ½)/¼
    halves   the same in one picture, side by side

Every picture is brought to a working size (its shorter side ``size`` pixels; training sees it at
``zooms`` of that too, validation at the size itself), divided, and cut. Held out are whole
pictures, chosen by a hash of their names so that the choice does not depend on their order, or the
right-hand ``strip`` of every picture: its pixels enter no training tile, not even by resampling.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.reports import FieldReport, PrepareReport, finished
from data_prep.split import Areas, Rect
from data_prep.survey import checksums
from data_prep.tile import cut, lay_tiles
from imgturbo.config import PicturesConfig, PrepareConfig
from imgturbo.data.store import SplitName, Tiles, TileSpec, TileStore, require_replaceable
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.locks import locked
from imgturbo.places import free_folder
from imgturbo.side import Side
from imgturbo.sky.image import measured
from imgturbo.sky.lab import COLOUR, LAB, LIGHTNESS, rgb_to_lab
from imgturbo.sky.picture import is_picture, read_picture, resize, working_shape
from imgturbo.sky.stretch import Stretch
from imgturbo.sky.units import DISPLAY

__all__ = ["prepare_photographs", "strip_edge"]

Report = Callable[[str, float], None]
Planes = NDArray[np.float32]

_VERSION = 2
"""Part of the store's key: raise it when division or tiles change."""

_GUARD = 4  # pixels left unused beside a strip: no filter of the resampling reaches further
_RGB = ("R", "G", "B")
_PAIR_STRETCH = Stretch(np.full(3, 0.5), np.full(3, np.inf), np.full(3, 0.25))


@dataclass(frozen=True)
class _Picture:
    """One picture (or pair) and what it is for; ``group`` is the entry of the config it is from."""

    name: str
    path: Path
    target: Path | None
    group: str
    role: Literal["train", "validation", "strip"]


@dataclass(frozen=True)
class _Cut:
    """The tiles of one picture and split."""

    split: SplitName
    tiles: Tiles


def prepare_photographs(
    config: PrepareConfig, pictures: PicturesConfig, *, progress: Report, resume: bool = True
) -> PrepareReport:
    """Make the tile store ``config.out`` from the pictures; one line of the report an entry.

    Raises:
        ImgturboError: a file that is no colour picture, a pair that is none, pictures too small
            for their tiles; an older store is left as it is.
    """
    out = Path(config.out)
    require_replaceable(out)
    progress("looking for pictures", 0.0)
    listed = _list(pictures)
    paths = dict.fromkeys(p for item in listed for p in (item.path, item.target) if p is not None)
    content = {
        "version": _VERSION,
        "config": config.model_dump(mode="json", include={"pictures", "tile"}),
        "inputs": checksums(paths),
    }
    key = sha256(json.dumps(content, sort_keys=True).encode())
    free_folder(out, list(paths), replaced=True)
    with locked(out, "free some space or choose another 'prepare.out'"):
        if resume and (report := finished(out, key)) is not None:
            progress("nothing to do: the tiles are there already", 1.0)
            return report
        return _cut_into(out, listed, config, pictures, {"key": key, **content}, progress)


def _cut_into(
    out: Path,
    listed: Sequence[_Picture],
    config: PrepareConfig,
    pictures: PicturesConfig,
    recipe: dict[str, Any],
    progress: Report,
) -> PrepareReport:
    """The work, of whoever holds the output."""
    counts = {item.group: {"train": 0, "validation": 0} for item in listed}
    recipe = {**recipe, "report": []}
    source = target = Side(_RGB, DISPLAY, _PAIR_STRETCH)
    if pictures.kind == "colour":
        source, target = Side(("L",), LAB, LIGHTNESS), Side(("a", "b"), LAB, COLOUR)
    spec = TileSpec(
        tile=config.tile.size,
        source=source,
        target=target,
        fields=tuple(item.name for item in listed),
        recipe=recipe,
    )
    with TileStore.create(out, spec) as writer:
        for done, (item, cuts) in enumerate(_cut_all(listed, config, pictures), start=1):
            for one in cuts:
                writer.append(one.split, one.tiles)
                counts[item.group][one.split] += len(one.tiles)
            progress(item.name, done / len(listed))
        reports = tuple(
            FieldReport(group, "pair", None, None, None, 1.0, n["train"], n["validation"])
            for group, n in counts.items()
        )
        if not sum(report.train for report in reports):
            raise ImgturboError(
                f"{out}: no training tile of {config.tile.size} pixels fits into the pictures; "
                "set a smaller 'prepare.tile.size' or a larger 'prepare.pictures.size'"
            )
        recipe["report"] = [asdict(report) for report in reports]
    return PrepareReport(out, reports)


# ---------------------------------------------------------------------------------- which files


def _list(config: PicturesConfig) -> list[_Picture]:
    """Every picture with its role, in the order of the config."""
    hold_out = config.hold_out or ("none" if config.validation else "pictures")
    partner = _partners(config) if config.kind == "pairs" else lambda path: None
    given = _files(config.files)
    held = set()
    if hold_out == "pictures":
        ranked = sorted(given, key=lambda entry: _hash(entry[1].stem))
        count = min(max(1, round(config.fraction * len(given))), len(given) - 1)
        held = {path for _, path in ranked[:count]}
    roles: list[tuple[str, Path, Literal["train", "validation", "strip"]]] = [
        (
            group,
            path,
            "strip" if hold_out == "strip" else "validation" if path in held else "train",
        )
        for group, path in given
    ]
    kept_out = _files(config.validation)
    twice = {path.resolve() for _, path in given} & {path.resolve() for _, path in kept_out}
    if twice:
        raise ImgturboError(
            f"{min(twice)}: named for training and for validation; take it out of one of them"
        )
    roles += [(group, path, "validation") for group, path in kept_out]
    stems = [path.stem for _, path, _ in roles]
    listed = []
    for group, path, role in roles:
        target = partner(path)
        name = path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.name}"
        listed.append(_Picture(name, path, target, group, role))
    return listed


def _partners(config: PicturesConfig) -> Callable[[Path], Path]:
    """How the target of a picture is found: by its name, and by the folder where that is not all.

    Where two targets have one name (day/0.png, night/0.png), the picture of the n-th entry of
    ``files`` belongs to the one of the n-th entry of ``targets``.
    """
    by_name: dict[str, list[tuple[int, Path]]] = {}
    for place, entry in enumerate(config.targets):
        for _, path in _files([entry]):
            by_name.setdefault(path.stem, []).append((place, path))
    entries = {path: i for i, entry in enumerate(config.files) for _, path in _files([entry])}
    sources = [path.stem for path in entries]
    aligned = len(config.files) == len(config.targets)

    def partner(path: Path) -> Path:
        named = by_name.get(path.stem, [])
        if not named:
            raise ImgturboError(
                f"{path}: no picture named {path.stem!r} among 'prepare.pictures.targets'; "
                "add it, or take this one out"
            )
        if len(named) == 1 and sources.count(path.stem) <= 1:
            return named[0][1]
        here = [target for place, target in named if aligned and place == entries.get(path)]
        if len(here) == 1:
            return here[0]
        others = ", ".join(str(target) for _, target in named)
        raise ImgturboError(
            f"{path}: cannot be told which is its target ({others}), since names are not unique; "
            "rename them, or list 'files' and 'targets' in the same order"
        )

    return partner


def _files(entries: Sequence[Path]) -> list[tuple[str, Path]]:
    """(name of the entry, picture) for all that the entries name, folders in order of names."""
    found = []
    for entry in entries:
        if entry.is_dir():
            inside = sorted(
                p
                for p in entry.iterdir()
                if p.is_file() and is_picture(p) and not p.name.startswith(".")
            )
            if not inside:
                raise ImgturboError(
                    f"{entry}: holds no pictures (PNG, JPEG, TIFF); name another folder"
                )
            found += [(f"{entry.name}/", path) for path in inside]
        elif entry.is_file():
            found.append((entry.name, entry))
        else:
            raise ImgturboError(f"{entry}: no such picture or folder; mend 'prepare.pictures'")
    return found


def _hash(name: str) -> str:
    return sha256(name.encode())


# --------------------------------------------------------------------------------------- pixels


def _cut_all(
    listed: Sequence[_Picture], config: PrepareConfig, pictures: PicturesConfig
) -> Iterator[tuple[_Picture, list[_Cut]]]:
    """Pictures with their tiles, in order, some read ahead by threads."""

    def work(index: int) -> list[_Cut]:
        return list(_cut(index, listed[index], config, pictures))

    with ThreadPoolExecutor(config.workers) as pool:
        ahead = 2 * config.workers
        for first in range(0, len(listed), ahead):
            some = range(first, min(first + ahead, len(listed)))
            for index, cuts in zip(some, pool.map(work, some), strict=True):
                yield listed[index], cuts


def _cut(
    index: int, item: _Picture, config: PrepareConfig, pictures: PicturesConfig
) -> Iterator[_Cut]:
    """The tiles of one picture at every zoom."""
    source, target = _sides(item, pictures)
    colour = pictures.kind == "colour"
    stretches = (LIGHTNESS, COLOUR) if colour else (_PAIR_STRETCH, _PAIR_STRETCH)
    zooms = [1.0] if item.role == "validation" else list(dict.fromkeys([1.0, *pictures.zooms]))
    edge = None
    for zoom in zooms:
        height, width = working_shape(source.shape[1], source.shape[2], pictures.size)
        height, width = round(zoom * height), round(zoom * width)
        images = [resize(side, height, width) for side in (source, target)]
        if colour:
            lab = rgb_to_lab(images[0])
            images = [lab[:1], lab[1:]]
        if item.role == "strip" and edge is None:
            edge = _edge(item, width, config, pictures)
        areas = _areas(item, height, width, edge, zoom)
        valids = [measured(image) for image in images]
        nowhere = np.zeros((height, width), np.bool_)
        windows = lay_tiles(valids, areas, nowhere, config.tile)
        split: SplitName
        for split in ("train", "validation"):
            positions: NDArray[np.int32] = getattr(windows, split)
            if not len(positions) or (split == "train" and zoom not in pictures.zooms):
                continue
            parts = [
                cut(image, valid, positions, config.tile.size, stretch)
                for image, valid, stretch in zip(images, valids, stretches, strict=True)
            ]
            first = 0
            for (z, z_valid), (x, x_valid) in zip(*parts, strict=True):
                rows = positions[first : first + len(z)]
                first += len(z)
                centres = (rows[:, ::-1] + (config.tile.size - 1) / 2).astype(np.float64)
                residual = np.full(len(z), np.nan, np.float32)
                field = np.full(len(z), index, np.int32)
                yield _Cut(split, Tiles(z, x, z_valid, x_valid, centres, rows, residual, field))


def strip_edge(width: int, tile: int, fraction: float) -> float:
    """Where the held-out strip begins, as a fraction of the width; it holds a tile at least."""
    return (width - max(tile, round(fraction * width))) / width


def _edge(item: _Picture, width: int, config: PrepareConfig, pictures: PicturesConfig) -> float:
    edge = strip_edge(width, config.tile.size, pictures.fraction)
    if int(edge * width) * max(pictures.zooms) - _GUARD < config.tile.size:
        raise ImgturboError(
            f"{item.path}: {width} pixels across at the working size, too few for a training and "
            f"a validation tile of {config.tile.size}; hold out pictures, or set smaller tiles"
        )
    return edge


def _areas(item: _Picture, height: int, width: int, edge: float | None, zoom: float) -> Areas:
    """Rectangles of training and validation; at a zoom there is no validation."""
    if item.role == "validation":
        return Areas((), (Rect(0, height, 0, width),))
    if edge is None:
        return Areas((Rect(0, height, 0, width),), ())
    border = int(edge * width)
    strip = (Rect(0, height, round(edge * width), width),) if zoom == 1 else ()
    return Areas((Rect(0, height, 0, max(border - _GUARD, 0)),), strip)


def _sides(item: _Picture, config: PicturesConfig) -> tuple[Planes, Planes]:
    """Source and target as RGB (3, H, W), NaN where transparent; of a colour picture the same."""
    picture = _read(item.path)
    if config.kind == "colour":
        return picture, picture
    if config.kind == "halves":
        half = picture.shape[2] // 2
        left, right = picture[..., :half], picture[..., -half:]
        return (left, right) if config.source_half == "left" else (right, left)
    assert item.target is not None
    target = _read(item.target)
    if target.shape != picture.shape:
        raise ImgturboError(
            f"{item.target}: {target.shape[2]} × {target.shape[1]} pixels, its partner "
            f"{item.path} has {picture.shape[2]} × {picture.shape[1]}; bring both to one size"
        )
    return picture, target


def _read(path: Path) -> Planes:
    picture = read_picture(path)
    if picture.bands != _RGB or picture.unit != DISPLAY:
        raise ImgturboError(
            f"{path}: holds the bands {', '.join(picture.bands)}, not the red, green and blue of a "
            "colour picture of 8 or 16 bits; convert it or take it out"
        )
    everything = slice(None)
    return np.stack([picture.read(band, everything, everything) for band in range(3)])
