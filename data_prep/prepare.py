"""From files to a tile store: survey → register → resample → divide → stretch → cut.

    survey     every header is read and compared before any work (:mod:`data_prep.survey`)
    align      each field is brought on one grid, in parallel, and put aside (:mod:`.staging`)
    divide     the sky of all fields is divided into training and validation (:mod:`.split`)
    stretch    y = asinh((f − offset)/softening)/scale is fitted a band, on training sky alone
    cut        tiles go into the store, which appears whole or not at all (:mod:`.tile`)

Photographs (``prepare.pictures``) go a shorter way, :mod:`data_prep.photographs`, and so do tables
of numbers (``prepare.tables``), :mod:`data_prep.tables`.

Run again after an interruption, it goes on with what is not finished; run again when nothing has
changed, neither a file nor the config, it does nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.photographs import prepare_photographs
from data_prep.products import ALIGNED, aligned_files, write_aligned
from data_prep.reports import FieldReport, PrepareReport, finished
from data_prep.split import Areas, FieldSky, divide, guarded
from data_prep.staging import Staged, piece_key, stage
from data_prep.stretches import fit_stretches, flux_factors, side_of
from data_prep.survey import FieldSurvey, checksums, survey
from data_prep.tables import prepare_tables
from data_prep.tile import Windows, cut, lay_tiles
from imgturbo.config import PrepareConfig, TileConfig
from imgturbo.data.store import (
    SplitName,
    Tiles,
    TileSpec,
    TileStore,
    TileWriter,
    require_replaceable,
)
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.locks import locked
from imgturbo.places import free_folder, free_place
from imgturbo.sky.frames import icrs
from imgturbo.sky.stretch import Stretch
from imgturbo.stopping import workers

__all__ = ["FieldReport", "PrepareReport", "prepare"]

Report = Callable[[str, float], None]
"""``report(what, fraction)``: what is being done, and how much of the whole is done, 0 to 1."""

REMEDY = "free some space or choose another 'prepare.out'"

_VERSION = 4
"""Part of the store's key: raise it when division, stretches or tiles change."""

_ALIGNED = 0.85  # of the time goes into registering and resampling


def prepare(
    config: PrepareConfig,
    *,
    progress: Report | None = None,
    resume: bool = True,
    keep_aligned: Path | str | None = None,
    overwrite: bool = False,
) -> PrepareReport:
    """Make the tile store ``config.out``.

    Args:
        config: fields, registration, tiles, division, stretch.
        progress: told what is being done.
        resume: use what an earlier, interrupted run has finished; False begins anew.
        keep_aligned: a folder for each field's images on the common grid, ``NAME_source.fits`` and
            ``NAME_target.fits``; with ``split.method: rows`` also ``NAME_validation_source.fits``
            and ``NAME_validation_target.fits``, the held-out rows alone.
        overwrite: replace files of these names that no preparation made.

    Raises:
        ImgturboError: the files or the config cannot give a store, or another process is making it;
            an older store is left as it is.
    """
    say = progress or (lambda what, fraction: None)
    out = Path(config.out)
    if config.tables is not None:
        if keep_aligned is not None:
            raise ImgturboError(
                f"{keep_aligned}: tables have no sky to be aligned on; leave --aligned out"
            )
        return prepare_tables(
            config, config.tables, progress=say, resume=resume, overwrite=overwrite
        )
    if config.pictures is not None:
        if keep_aligned is not None:
            raise ImgturboError(
                f"{keep_aligned}: photographs have no sky to be aligned on; leave --aligned out"
            )
        return prepare_photographs(config, config.pictures, progress=say, resume=resume)
    folder = None if keep_aligned is None else Path(keep_aligned)
    require_replaceable(out)
    given = [path for f in config.fields for path in (*f.source, *f.target)]
    free_folder(out, given, replaced=True)
    say("reading headers", 0.0)
    fields = survey(config)
    wanted = [] if folder is None else aligned_files(folder, fields, config.split)
    for path in wanted:
        free_place(path, given, mark=ALIGNED, overwrite=overwrite)
    inputs = checksums(path for f in fields for path in (*f.config.source, *f.config.target))
    key = _store_key(config, inputs)
    with locked(out, REMEDY):
        if resume and all(path.exists() for path in wanted):
            report = finished(out, key)
            if report is not None:
                say("nothing to do: the tiles are there already", 1.0)
                return report
        return _prepare(config, fields, inputs, key, folder, resume, say)


def _prepare(
    config: PrepareConfig,
    fields: Sequence[FieldSurvey],
    inputs: dict[str, str],
    key: str,
    folder: Path | None,
    resume: bool,
    say: Report,
) -> PrepareReport:
    """The work, of whoever holds the output."""
    out = Path(config.out)
    work = out.parent / f".{out.name}.work"
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    pieces = [work / piece_key(field, inputs) for field in fields]
    _stage_all(fields, pieces, config, say)
    staged = [Staged.load(piece) for piece in pieces]

    say("dividing the sky", _ALIGNED)
    skies = [_sky(field, piece) for field, piece in zip(fields, staged, strict=True)]
    areas = divide(skies, config.split, config.tile.size)
    guard, excluded = guarded(skies, areas, config.split.guard)
    factors = [flux_factors(piece, staged) for piece in staged]
    stretches = fit_stretches(staged, factors, areas, excluded, config, out)
    laid = _laid(staged, areas, excluded, guard, config)
    windows = [
        window.where(partial(_well_aligned, piece, config.tile))
        for piece, window in zip(staged, laid, strict=True)
    ]
    counts = map(len, laid)
    reports = tuple(
        _field_report(*row) for row in zip(fields, staged, skies, windows, counts, strict=True)
    )
    if not any(field.train or field.validation for field in reports):
        raise ImgturboError(_no_tiles(skies, reports, config))
    recipe = _recipe(config, key, inputs, staged, guard, areas, reports)
    spec = TileSpec(
        tile=config.tile.size,
        source=side_of("source", staged, stretches),
        target=side_of("target", staged, stretches),
        fields=tuple(report.name for report in reports),
        recipe=recipe,
        factor=config.factor,
    )
    with TileStore.create(out, spec) as writer:
        for index, row in enumerate(zip(staged, windows, factors, strict=True)):
            say(f"{reports[index].name}: cutting", _ALIGNED + 0.1 * index / len(staged))
            _append(writer, index, *row, stretches, config.tile)
    if folder is not None:
        say("writing aligned images", 0.96)
        write_aligned(folder, fields, staged, areas, config.split)
    shutil.rmtree(work, ignore_errors=True)
    say("done", 1.0)
    return PrepareReport(out, reports)


def _laid(
    staged: Sequence[Staged],
    areas: Sequence[Areas],
    excluded: Sequence[NDArray[np.bool_]],
    guard: int,
    config: PrepareConfig,
) -> list[Windows]:
    """Where tiles lie in each field."""
    return [
        lay_tiles(
            [piece.seen(side) for side in piece.sides],
            area,
            mask,
            config.tile,
            guard,
            config.factor,
        )
        for piece, area, mask in zip(staged, areas, excluded, strict=True)
    ]


def _recipe(
    config: PrepareConfig,
    key: str,
    inputs: dict[str, str],
    staged: Sequence[Staged],
    guard: int,
    areas: Sequence[Areas],
    reports: Sequence[FieldReport],
) -> dict[str, Any]:
    """All that it takes to make the store again, and what came of it."""
    return {
        "key": key,
        "config": _config_content(config),
        "inputs": inputs,
        "registration": {
            report.name: piece.facts["registration"]
            for report, piece in zip(reports, staged, strict=True)
        },
        "guard": guard,
        "areas": {report.name: asdict(area) for report, area in zip(reports, areas, strict=True)},
        "report": [asdict(report) for report in reports],
    }


# -------------------------------------------------------------------------- what was done before


def _config_content(config: PrepareConfig) -> dict[str, Any]:
    """The part of a config that tiles depend on."""
    content = config.model_dump(mode="json", by_alias=True, exclude={"workers", "out"})
    if config.factor == 1:
        del content["factor"]  # as in stores that are older than it
    return content


def _store_key(config: PrepareConfig, inputs: dict[str, str]) -> str:
    content = {"version": _VERSION, "config": _config_content(config), "inputs": inputs}
    return sha256(json.dumps(content, sort_keys=True).encode())


# ---------------------------------------------------------------------------------------- align


def _stage_all(
    fields: Sequence[FieldSurvey], pieces: Sequence[Path], config: PrepareConfig, say: Report
) -> None:
    """Align the fields that are not there yet, several at a time."""
    todo = [(f, piece) for f, piece in zip(fields, pieces, strict=True) if not piece.exists()]
    if not todo:
        return
    done = len(fields) - len(todo)

    def partly(what: str, fraction: float) -> None:
        say(what, _ALIGNED * (done + fraction) / len(fields))

    count = min(config.workers, len(todo))
    if count == 1:
        for field, piece in todo:
            stage(field, piece, partly)
            done += 1
        return
    with workers(count) as pool:
        names: dict[Future[None], str] = {
            pool.submit(stage, field, piece): field.config.name for field, piece in todo
        }
        for future in as_completed(names):
            future.result()
            done += 1
            partly(f"{names[future]}: aligned", 0.0)


def _sky(field: FieldSurvey, piece: Staged) -> FieldSky:
    return FieldSky(
        name=field.config.name,
        kind=field.kind,
        valid=piece.all_valid(),
        wcs=piece.sky,
        asked=field.config.split,
        scale=piece.facts["scale"],
    )


# ------------------------------------------------------------------------------------------ cut


def _residual(piece: Staged, positions: NDArray[np.int32], tile: TileConfig) -> NDArray[np.float32]:
    """Registration residual (n,) in the middle of tiles, pixels; NaN where unknown."""
    y, x = (positions + (tile.size - 1) / 2).T
    return piece.residual(x, y)


def _well_aligned(
    piece: Staged, tile: TileConfig, positions: NDArray[np.int32]
) -> NDArray[np.bool_]:
    if tile.max_residual is None:
        return np.ones(len(positions), bool)
    return ~(_residual(piece, positions, tile) > tile.max_residual)  # what is unknown is kept


def _append(
    writer: TileWriter,
    index: int,
    piece: Staged,
    windows: Windows,
    factors: dict[str, NDArray[np.float64]],
    stretches: dict[str, Stretch],
    tile: TileConfig,
) -> None:
    """Cut a field's tiles into the store, a batch at a time, by stretches of its own fluxes."""
    own = {
        side: stretches[side].scaled(1 / factor) if np.any(factor != 1) else stretches[side]
        for side, factor in factors.items()
    }
    split: SplitName
    for split in ("train", "validation"):
        positions: NDArray[np.int32] = getattr(windows, split)
        y, x = (positions + (tile.size - 1) / 2).T
        sky = np.stack([x, y] if piece.sky is None else icrs(piece.sky, x, y), axis=1)
        residual = _residual(piece, positions, tile)
        cuts = {}
        for side in piece.sides:
            wide = piece.factor(side)
            size, places = tile.size // wide, positions // wide
            cuts[side] = cut(piece.data(side), piece.valid(side), places, size, own[side])
        first = 0
        while first < len(positions):
            parts = {side: next(tiles) for side, tiles in cuts.items()}
            rows = slice(first, first + len(next(iter(parts.values()))[1]))
            source, target = parts.get("source"), parts.get("target")
            writer.append(
                split,
                Tiles(
                    source=source and source[0],
                    target=target and target[0],
                    source_valid=source and source[1],
                    target_valid=target and target[1],
                    sky=sky[rows],
                    position=positions[rows],
                    residual=residual[rows],
                    field=np.full(rows.stop - rows.start, index, np.int32),
                ),
            )
            first = rows.stop


def _field_report(
    field: FieldSurvey, piece: Staged, sky: FieldSky, windows: Windows, laid: int
) -> FieldReport:
    facts = piece.facts
    return FieldReport(
        name=field.config.name,
        kind=field.kind,
        matched=facts["matched"],
        residual_before=facts["residual_before"],
        residual_after=facts["residual_after"],
        residual_held_out=facts["residual_held_out"],
        rejected=facts["rejected"],
        misaligned=laid - len(windows),
        valid_fraction=float(sky.valid.mean()),
        train=len(windows.train),
        validation=len(windows.validation),
    )


def _no_tiles(
    skies: Sequence[FieldSky], reports: Sequence[FieldReport], config: PrepareConfig
) -> str:
    worst = max(reports, key=lambda field: field.misaligned)
    if worst.misaligned:
        return (
            f"{config.out}: all {worst.misaligned} tiles of field {worst.name} are misaligned by "
            f"more than 'prepare.tile.max_residual' ({config.tile.max_residual} pixels; the field "
            f"by {worst.residual_held_out or 0:.2f}); ask for another 'prepare.register.model', or "
            "raise the limit"
        )
    largest = max((sky.valid.shape for sky in skies), key=min)
    size = config.tile.size
    if min(largest) < size:
        return (
            f"{config.out}: no tile fits: tiles are {size} pixels and the largest field is "
            f"{largest[1]} × {largest[0]}; set a smaller 'prepare.tile.size'"
        )
    return (
        f"{config.out}: no tile of {size} pixels is measured for {config.tile.min_valid:.0%}; "
        "set a smaller 'prepare.tile.size' or 'prepare.tile.min_valid'"
    )
