"""The config of a fine-tuning: the bundle's own, with what keeps it from forgetting.

The networks and the objective are the bundle's. A tenth of its learning rate, steps by the hundred,
an average over the last fifty, and an end as soon as held-out sky no longer gains: a few pairs can
sharpen a network, and can make it forget the sky that it has seen, which is why each of these is
small. What a user writes in ``--config`` or as KEY=VALUE is laid over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgturbo.bundle import Bundle
from imgturbo.config import (
    Config,
    DataConfig,
    FieldConfig,
    PicturesConfig,
    PrepareConfig,
    TablesConfig,
    TableSideConfig,
    TileConfig,
    TrainConfig,
    load_config,
)
from imgturbo.engines import settle
from imgturbo.errors import ImgturboError
from imgturbo.remote import local
from imgturbo.sky.lab import colours_grey

__all__ = ["Given", "STEPS", "settings_for"]

STEPS = 500
"""Updates at most."""

_SHARE = 0.1  # of the learning rate that the bundle was trained with
_VALIDATIONS = 10
_PATIENCE = 4
_SMALLEST = 64  # pixels of a tile that few pairs are cut into


@dataclass(frozen=True)
class Given:
    """What the user gives to learn from.

    Attributes:
        source, target: files of each side, one a band, or pictures; of tables, tables.
        tiles: a finished tile store instead of them; None: the files are prepared.
        paired: whether source and target are the same sky.
        source_bands, target_bands: what bands are called where headers lie.
        source_unit, target_unit: of files whose headers state none.
    """

    source: Sequence[Path] = ()
    target: Sequence[Path] = ()
    tiles: Path | None = None
    paired: bool = True
    source_bands: Sequence[str] = ()
    target_bands: Sequence[str] = ()
    source_unit: str = ""
    target_unit: str = ""


def settings_for(
    bundle: Bundle,
    given: Given,
    out: Path,
    file: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """The settled config of fine-tuning a bundle in a folder.

    Args:
        bundle: the start.
        given: what to learn from.
        out: the folder; tiles, run and new bundle lie in it.
        file: YAML that is laid over the defaults; its ``prepare.fields`` are more pairs.
        overrides: ``section.key=value``, laid over all of it.

    Raises:
        ImgturboError: a bundle that cannot be tuned by data of one's own, files missing, or what
            ``load_config`` and ``settle`` refuse.
    """
    _refuse_codes(bundle)
    base = _base(bundle, given, out)
    config = (
        Config.from_overrides(overrides, base)
        if file is None
        else load_config(file, overrides, base)
    )
    if config.train.out != out or config.train.init != bundle.path:
        raise ImgturboError("finetune: --out and --bundle say 'train.out' and 'train.init'")
    if config.model != base.model:
        raise ImgturboError(
            "finetune: 'model' is the bundle's, whose weights would fit no other network; leave "
            "it out"
        )
    _refuse_nothing(config, given)
    return settle(config)


def _base(bundle: Bundle, given: Given, out: Path) -> Config:
    """The defaults: networks, objective and batches as the bundle's, the loop made gentle."""
    own = bundle.config
    old = own.train
    return own.model_copy(
        update={
            "name": f"{own.name}-tuned",
            "prepare": _preparation(bundle, given, out),
            "data": _batches(own.data),
            "train": TrainConfig(
                out=out,
                init=bundle.path,
                steps=STEPS,
                precision=old.precision,
                lr=_SHARE * old.lr,
                critic_lr=old.critic_lr and _SHARE * old.critic_lr,
                optimizer=old.optimizer,
                betas=old.betas,
                warmup=STEPS // _VALIDATIONS,
                critic_steps=old.critic_steps,
                clip=old.clip,
                ema=0.98,
                validate_every=STEPS // _VALIDATIONS,
                checkpoint_every=STEPS // _VALIDATIONS,
                patience=_PATIENCE,
                trackers=["jsonl"],
                select=None if old.select == "last" else old.select,
                channels_last=old.channels_last,
            ),
        }
    )


def _batches(old: DataConfig) -> DataConfig:
    """As the bundle's, of tiles that are as large as its crops were."""
    update = {"tiles": None, "source": None, "crop": None, "pairing": "auto"}
    return old.model_copy(update={**update, "paired_fraction": None, "hide_pairs": 0.0})


def _preparation(bundle: Bundle, given: Given, out: Path) -> PrepareConfig:
    """How the files become tiles: at the bundle's size of tiles, pixel scale and factor."""
    own = bundle.config
    side = own.data.crop or own.prepare.tile.size
    side = max(side, _SMALLEST) if own.data.crop is None else side
    half = side // 2 // own.prepare.factor * own.prepare.factor
    common = PrepareConfig(
        out=out / "prepared.zarr",
        pixel_scale=None,
        factor=own.prepare.factor,
        tile=TileConfig(size=side, stride=half, min_valid=own.prepare.tile.min_valid),
    )
    source, target = list(given.source), list(given.target)
    if given.tiles is not None or not (source or target):
        return common
    if bundle.source.kind == "table":
        return common.model_copy(update={"tables": _tables(bundle, source, target, given.paired)})
    if colours_grey(bundle.source.names, bundle.target.names):
        size = own.prepare.pictures and own.prepare.pictures.size
        pictures = PicturesConfig(
            files=[local(file) for file in (*source, *target)], size=size, hold_out="pictures"
        )
        if len(pictures.files) == 1 and pictures.files[0].is_file():
            pictures.hold_out = "strip"
        return common.model_copy(update={"pictures": pictures})
    return common.model_copy(update={"fields": _fields(given)})


def _fields(given: Given) -> list[FieldConfig]:
    """One patch of sky; of an unpaired set two, each with a side alone."""
    sides: dict[str, dict[str, Any]] = {
        side: {
            side: list(getattr(given, side)),
            f"{side}_bands": list(getattr(given, f"{side}_bands")),
            f"{side}_unit": getattr(given, f"{side}_unit"),
        }
        for side in ("source", "target")
        if getattr(given, side)
    }
    if given.paired:
        return [
            FieldConfig(name="pairs", **{k: v for own in sides.values() for k, v in own.items()})
        ]
    return [FieldConfig(name=side, **own) for side, own in sides.items()]


def _tables(bundle: Bundle, source: list[Path], target: list[Path], paired: bool) -> TablesConfig:
    """The bundle's columns in its units; both sides in one file where only one is named."""
    ends = {}
    for name, files in (("source", source), ("target", target)):
        side = getattr(bundle, name)
        units = {column: unit for column, unit in zip(side.names, side.units, strict=True) if unit}
        together = not (source and target)
        ends[name] = TableSideConfig(
            files=[] if together else files, columns=list(side.names), units=units
        )
    return TablesConfig(
        files=[] if source and target else source or target, paired=paired, fraction=0.2, **ends
    )


def _refuse_codes(bundle: Bundle) -> None:
    """Refuse ends of which nobody has files."""
    for name, side in (("source", bundle.source), ("target", bundle.target)):
        if side.kind == "latent":
            raise ImgturboError(
                f"{bundle.path}: its {name} side is drawn from a prior, of which nobody has files; "
                "train on with 'train.init' in a config (imgturbo train)"
            )
    encoder = bundle.config.model.encoder
    if encoder is not None and encoder.physical:
        raise ImgturboError(
            f"{bundle.path}: its encoder is an operator that observes tiles; train on with "
            "'train.init' and 'data.source' in a config (imgturbo train)"
        )
    if bundle.source.kind != bundle.target.kind:
        raise ImgturboError(
            f"{bundle.path}: leads from {bundle.source.kind}s to {bundle.target.kind}s, of which "
            "no files can be prepared; train on with 'train.init' in a config (imgturbo train)"
        )


def _refuse_nothing(config: Config, given: Given) -> None:
    prepare = config.prepare
    files = prepare.fields or prepare.pictures or prepare.tables
    if given.tiles is None and config.data.tiles is None and not files:
        raise ImgturboError(
            "finetune: give --source and --target files, a tile store (--tiles), or a --config "
            "whose 'prepare.fields' names pairs"
        )
    if (given.tiles or config.data.tiles) and (given.source or given.target):
        raise ImgturboError("finetune: give either files or a tile store, not both")
