"""Before any work: do the fields of a config belong together?

One tile store feeds one pair of networks, so a channel must mean the same everywhere: the same
bands in the same order, fluxes that can be brought to the first field's unit and zero point (they
are, when tiles are cut), and pixels of one size. All of it is read from headers, so a mistake in
the last of a hundred fields is named within seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from imgturbo.config import FieldConfig, PrepareConfig, RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.remote import identity
from imgturbo.sky import FluxScale, open_sky
from imgturbo.sky.grids import SAME_SCALE

__all__ = ["FieldSurvey", "SideSurvey", "checksums", "survey"]


@dataclass(frozen=True)
class SideSurvey:
    """One side of one field, by its headers."""

    paths: tuple[Path, ...]
    bands: tuple[str, ...]
    unit: str
    scales: tuple[FluxScale, ...]
    shape: tuple[int, ...]
    pixel_scale: float | None


@dataclass(frozen=True)
class FieldSurvey:
    """One field by its headers, and how it will be registered and resampled.

    ``pixel_scale`` is the one that it will be brought to; None: its own. ``factor`` is how many
    pixels of the target lie across one of the source.
    """

    config: FieldConfig
    source: SideSurvey | None
    target: SideSurvey | None
    pixel_scale: float | None
    register: RegisterConfig
    factor: int = 1

    @property
    def kind(self) -> Literal["pair", "source", "target"]:
        """Which sides the field has."""
        if self.source and self.target:
            return "pair"
        return "source" if self.source else "target"

    @property
    def reference(self) -> SideSurvey:
        """The side whose grid is kept."""
        side = self.target or self.source
        assert side is not None
        return side


def survey(config: PrepareConfig) -> list[FieldSurvey]:
    """Open every file's header and check that the fields agree.

    Raises:
        ImgturboError: no fields, two of one name, a file that cannot be opened, or fields that
            disagree in bands or pixel scale, or whose fluxes cannot be brought to one unit; the
            message names the files.
    """
    if not config.fields:
        raise ImgturboError(
            "'prepare.fields' is empty: name at least one field with its source and target files"
        )
    names = [field.name for field in config.fields]
    for name in names:
        if names.count(name) > 1:
            raise ImgturboError(f"two fields are named {name!r} in 'prepare.fields'; rename one")
        if not name or "/" in name or name.startswith("."):
            raise ImgturboError(
                f"field {name!r}: the name becomes a file name, use letters, digits, - and _"
            )
    sides = {
        side: [
            _look(getattr(f, side), getattr(f, f"{side}_unit"), getattr(f, f"{side}_bands"))
            for f in config.fields
        ]
        for side in ("source", "target")
    }
    for side, looks in sides.items():
        _check_agreement(side, [look for look in looks if look])
        _warn_uncalibrated(side, [look for look in looks if look])
    pairs = list(zip(config.fields, sides["source"], sides["target"], strict=True))
    fields = [
        FieldSurvey(field, source, target, None, field.register_ or config.register_, config.factor)
        for field, source, target in pairs
    ]
    _check_distinct_pictures(fields)
    _check_grids(fields, config.factor)
    scale = config.pixel_scale or _common_scale(fields)
    return [replace(field, pixel_scale=_scale_of(field, scale, config)) for field in fields]


def _look(paths: Sequence[Path], unit: str, names: Sequence[str]) -> SideSurvey | None:
    if not paths:
        return None
    with open_sky(paths, unit=unit, names=names) as reader:
        return SideSurvey(
            paths=tuple(paths),
            bands=tuple(reader.bands),
            unit=reader.unit,
            scales=tuple(reader.scales),
            shape=tuple(reader.shape),
            pixel_scale=reader.pixel_scale,
        )


def _check_agreement(side: str, looks: Sequence[SideSurvey]) -> None:
    for look in looks[1:]:
        first = looks[0]
        here, there = look.paths[0], first.paths[0]
        if len(look.bands) != len(first.bands):
            raise ImgturboError(
                f"{here}: the {side} has {len(look.bands)} bands ({', '.join(look.bands)}) but "
                f"{there} has {len(first.bands)} ({', '.join(first.bands)}); every field needs "
                "the same bands"
            )
        if look.bands != first.bands:
            raise ImgturboError(
                f"{here}: the {side}'s bands are {', '.join(look.bands)} but {there} has "
                f"{', '.join(first.bands)}; give every field the same bands in the same order"
            )
        for band, own, ours in zip(look.bands, look.scales, first.scales, strict=True):
            if own.factor_to(ours) is None:
                raise ImgturboError(
                    f"{here}: the {side}'s band {band} is in {look.unit or 'no unit'} but {there} "
                    f"is in {first.unit or 'no unit'}, and without AB zero points on both sides "
                    "(PHOTFLAM and PHOTPLAM, PIXAR_SR, or ABZP) it cannot be converted; state "
                    "them, or prepare the fields apart"
                )


def _warn_uncalibrated(side: str, looks: Sequence[SideSurvey]) -> None:
    """Of a detector's unit whose worth some files state: say which do not, in one line."""
    known, others = [], []
    for look in looks:
        if all(scale.zeropoint is not None for scale in look.scales):
            known.append(look)
        elif look.scales[0].unit.counting:
            others.append(look)
    if known and others:
        warnings.warn(
            f"{', '.join(str(look.paths[0]) for look in others)}: no AB zero point is stated, so "
            f"1 {others[0].unit} of the {side} is taken to be what it is in {known[0].paths[0]}; "
            "set ABZP if camera or exposure are others",
            stacklevel=2,
        )


def _check_distinct_pictures(fields: Sequence[FieldSurvey]) -> None:
    """Without a WCS nothing tells that two fields are the same sky, except the same file."""
    seen: dict[Path, str] = {}
    for field in fields:
        for side in (field.source, field.target):
            if side is None or side.pixel_scale is not None:
                continue
            for path in side.paths:
                other = seen.setdefault(path.resolve(), field.config.name)
                if other != field.config.name:
                    raise ImgturboError(
                        f"{path}: in fields {other} and {field.config.name}; without a WCS its "
                        "training and validation sky cannot be told apart, so name it once"
                    )


def _check_grids(fields: Sequence[FieldSurvey], factor: int) -> None:
    """Two grids of pixels are two scales on the sky, of which the target's is the finer."""
    if factor == 1:
        return
    if not any(field.target for field in fields):
        raise ImgturboError(
            f"'prepare.factor' is {factor}, but no field has a target whose pixels it counts; "
            "leave it out"
        )
    for field in fields:
        for side in (field.source, field.target):
            if side is not None and side.pixel_scale is None:
                raise ImgturboError(
                    f"{side.paths[0]}: has no WCS, so 'prepare.factor' means nothing to it; leave "
                    "it out"
                )


def _common_scale(fields: Sequence[FieldSurvey]) -> float | None:
    """The first target's pixel scale, or the first source's where there is no target."""
    looks = [f.target for f in fields if f.target] or [f.source for f in fields if f.source]
    return looks[0].pixel_scale


def _scale_of(field: FieldSurvey, scale: float | None, config: PrepareConfig) -> float | None:
    """The scale that a field must be resampled to; None where its own grid will do."""
    own, where = field.reference.pixel_scale, field.reference.paths[0]
    if scale is not None and field.target is None:
        scale *= field.factor  # the field has the source's pixels alone
    if own is None and config.pixel_scale is not None:
        raise ImgturboError(
            f"{where}: has no WCS, so 'prepare.pixel_scale' means nothing to it; leave it out"
        )
    if (own is None) != (scale is None):
        raise ImgturboError(
            f"{where}: {'has no WCS' if own is None else 'has a WCS'}, unlike the first field; "
            "prepare pictures and FITS files apart"
        )
    if own is None or scale is None or abs(own / scale - 1) < SAME_SCALE:
        return None
    if config.pixel_scale is None and field.target is not None:
        raise ImgturboError(
            f"{where}: pixels of {own:.4f} arcsec, the first target's are {scale:.4f}; "
            "set 'prepare.pixel_scale' to the scale that all fields shall have"
        )
    return scale


def checksums(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of every file, by its path; a file that is named twice is read once.

    Of a file at an address it is what the server says of its content (:func:`identity`).

    Raises:
        ImgturboError: one of them cannot be read.
    """
    found = {}
    for path in dict.fromkeys(paths):
        with naming(path, "look at its permissions and its disk", "cannot be read"):
            found[str(path)] = identity(path).removeprefix("sha256 ")
    return found
