"""The model card that travels in every bundle: what it translates, how it was made, its limits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from imgturbo.report.finetuned import finetuned_rows
from imgturbo.report.headline import trusted
from imgturbo.side import Side
from imgturbo.sky.lab import colours_grey

__all__ = ["NETWORKS", "front_matter", "model_card", "with_front_matter"]

NETWORKS = ("decoder", "encoder")
"""The networks that a bundle may hold: z → x and x → z."""

_LIMITS = """\
- **Networks can invent or delete sources.** A prediction is a plausible sky, not a measurement: do
  not count, discover or measure sources in it without the telescope's own data.
- It holds for skies like those it was trained on: the same bands, unit, pixel scale, depth and PSF.
  Other fields, crowding or artefacts may be translated wrongly without a sign of it.
- The scores above are of the validation region of the training fields. Score your own data with
  `imgturbo evaluate PRED TARGET --source SRC` before you rely on it, and look at the fluxes too: a
  good PSNR does not mean unbiased photometry.
"""

_COLOUR_LIMITS = """\
- **Colours are guessed**, from pictures like those it was trained on; of other things it knows
  nothing. Several draws show what it does not know.
- The scores above are of the held-out part of the training pictures.
"""

_NUMBERS_LIMITS = """\
- It holds for numbers like those it was trained on: the same columns, in the same units, and rows
  from the same distribution. Other rows may be translated wrongly without a sign of it.
- Distributions that agree do not mean that each row is right: look at the migration plot too.
- The scores above are of held-out or freshly drawn samples of the same kind.
"""


_MEASURED = {"psnr": "PSNR", "ssim": "SSIM", "l1": "L1", "bits": "bits a number"}
"""Scores that the heading tells, by their names."""


def front_matter(content: Mapping[str, Any]) -> dict[str, Any]:
    """The heading of the card, which hubs read: licence, tags, task, and how it scored.

    Args:
        content: of ``bundle.json``.
    """
    sides, record = content["sides"], content["record"]
    source, target = (Side.from_dict(sides[name]) for name in ("source", "target"))
    images = source.kind == target.kind == "image"
    colours = colours_grey(source.names, target.names)
    task, store = ("image-to-image", "tiles") if images else ("tabular-regression", "rows")
    tags = ["imgturbo", "colorization" if colours else "astronomy"] if images else ["imgturbo"]
    heading: dict[str, Any] = {
        "library_name": "imgturbo",
        "license": "bsd-3-clause",
        "pipeline_tag": task,
        "tags": [*tags, task if images else "tabular"],
    }
    metrics = [
        {"type": score, "name": f"{_MEASURED[score]}, {way}", "value": round(float(value), 5)}
        for name, value in (record.get("validation") or {}).items()
        for way, _, score in [name.partition("/")]
        if score in _MEASURED and math.isfinite(value)
    ]
    if metrics:
        heading["metrics"] = list(dict.fromkeys(one["type"] for one in metrics))
        data = {
            "type": f"imgturbo-{store}",
            "name": f"held-out {store} {record.get('tiles', '')}".strip(),
        }
        results = {"task": {"type": task}, "dataset": data, "metrics": metrics}
        heading["model-index"] = [{"name": content["config"]["name"], "results": [results]}]
    return heading


def with_front_matter(
    text: str, defaults: Mapping[str, Any], more: Mapping[str, Any] | None = None
) -> str:
    """A card with a whole heading: what it says itself stands before the defaults.

    Args:
        text: of the card, with a heading or without.
        defaults: keys that it gets where it has none.
        more: keys that it gets in any case.

    Raises:
        yaml.YAMLError: its heading is no YAML.
        ValueError: its heading is no mapping.
    """
    own: Any = {}
    if found := _HEADING.match(text):
        own, text = yaml.safe_load(found["yaml"]) or {}, text[found.end() :]
    if not isinstance(own, dict):
        raise ValueError("it is no mapping of keys")
    heading = {**defaults, **own, **(more or {})}
    return f"---\n{yaml.safe_dump(heading, sort_keys=False, allow_unicode=True)}---\n{text}"


_HEADING = re.compile(r"---\r?\n(?P<yaml>.*?)^---[ \t]*\r?\n", re.DOTALL | re.MULTILINE)


def model_card(content: Mapping[str, Any]) -> str:
    """Markdown for the contents of ``bundle.json``."""
    sides, record = content["sides"], content["record"]
    source, target = (Side.from_dict(sides[name]) for name in ("source", "target"))
    forward, backward = (f"{name}.safetensors" in content["files"] for name in NETWORKS)
    arrow = "↔" if forward and backward else "→" if forward else "←"
    title = f"{_bands(source)} {arrow} {_bands(target)}"
    config = content["config"]
    colours = colours_grey(source.names, target.names)
    images = source.kind == target.kind == "image"
    data = "images" if images else "rows"
    numbers = _numbers_use(content["hash"], source, target, forward, backward)
    body = f"""\
# {config["name"]}: {title}

{_use(content["hash"], colours, forward, backward) if images else numbers}

## Sides
| | source | target |
|---|---|---|
{_sides_table(source, target)}

{_law(source, target, images)}

## Training
- objective: preset `{config["objective"]["preset"]}`; networks: {_networks(config)}
{_record(record, not images)}

## Validation
{_scores(record, not images)}
{_finetuned(record)}{trusted(content.get("headline"), content.get("intervals")) if images else ""}
## Limits
{_COLOUR_LIMITS if colours else _LIMITS if images else _NUMBERS_LIMITS}
## Licence
BSD-3-Clause, as imgturbo, unless whoever trained it says otherwise here. The {data} that it was
trained on keep their own terms.
"""
    return with_front_matter(body, front_matter(content))


def _use(name: str, colours: bool, forward: bool, backward: bool) -> str:
    if colours:
        return f"""\
Colours grey images, each in several ways (bundle `{name}`).

    imgturbo colorize --bundle . FILE… --out colours"""
    first = "forward (source to target)" if forward else "backward (target to source)"
    rest = "and backward" if forward and backward else "only"
    option = "" if forward else "--direction backward "
    return f"""\
Translates images of one telescope into what another would have seen, {first}
{rest}. Its hash, `{name}`, is in the header of every
image made with it.

    imgturbo translate --bundle . {option}FILE… --out pred.fits"""


def _numbers_use(name: str, source: Side, target: Side, forward: bool, backward: bool) -> str:
    said = f"Translates numbers from the source into the target (bundle `{name}`)."
    if not source.kind == target.kind == "table":
        return said
    option = "" if forward else "--direction backward "
    ways = "forward and backward" if forward and backward else "one way"
    return f"""\
Translates rows of a table from the source's columns into the target's, {ways} (bundle
`{name}`). Columns go by their names and keep their units.

    imgturbo translate --bundle . {option}TABLE.csv --out OUT.ecsv"""


def _law(source: Side, target: Side, images: bool) -> str:
    """How values are stretched, in words."""
    each = "band by band" if images else "by column"
    said = f"""\
Stretch: y = asinh((f − offset)/softening)/scale, {each}; an infinite softening is the linear
limit y = (f − offset)/scale. Values and inverse are in `bundle.json`."""
    logarithm = "log" in (*source.stretch.kinds, *target.stretch.kinds)
    return f"{said} A softening of 0 is y = ln(f/offset)/scale." if logarithm else said


def _bands(side: Side) -> str:
    return f"{len(side)} drawn numbers" if side.kind == "latent" else ", ".join(side.names)


def _sides_table(source: Side, target: Side) -> str:
    both = (source, target)
    images = "image" in (source.kind, target.kind)
    of_images = [
        ("pixel scale", *map(_scale, both)),
        ("AB zero points", *map(_zeropoints, both)),
    ]
    rows = [
        ("bands" if images else "columns", *map(_bands, both)),
        ("unit", *map(_unit, both)),
        *(of_images if images else ()),
        *(
            (
                f"stretch {key}",
                *(_stretch(side, key) for side in (source, target)),
            )
            for key in ("offset", "softening", "scale")
        ),
    ]
    if source.stretch.bijective or target.stretch.bijective:
        rows.append(("bijection before it", *(_bijections(side) for side in (source, target))))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _unit(side: Side) -> str:
    if len(set(side.units)) < 2:
        return side.units[0] if side.kind == "table" else side.unit
    return ", ".join(unit or "none" for unit in side.units)


def _scale(side: Side) -> str:
    if side.kind != "image":
        return "none"
    return "unknown" if side.pixel_scale is None else f"{side.pixel_scale:.4g} arcsec"


def _zeropoints(side: Side) -> str:
    return _numbers(side.zeropoints, ".3f") if side.kind == "image" else "none"


def _stretch(side: Side, key: str) -> str:
    return "none" if side.kind == "latent" else _numbers(getattr(side.stretch, key), ".4g")


def _bijections(side: Side) -> str:
    return ", ".join(bijection.kind for bijection in side.stretch.before)


def _numbers(values: Iterable[float | None], form: str) -> str:
    return ", ".join("unknown" if v is None else format(float(v), form) for v in values)


def _networks(config: Mapping[str, Any]) -> str:
    decoder = config["model"]["decoder"]
    # A part that it has not got is no part of it.
    own = {key: value for key, value in decoder.items() if key != "kind" and value is not None}
    shown = [f"{key} {value}" for key, value in own.items()]
    return f"{decoder['kind']} ({', '.join(shown)})"


def _record(record: Mapping[str, Any], rows: bool) -> str:
    lines = [
        f"- {name}: {record[key]}"
        for key, name in (
            ("step", "weights of step"),
            ("steps", "steps trained"),
            ("seconds", "seconds"),
            ("device", "device"),
            ("tiles", "digest of the data" if rows else "digest of the tiles"),
        )
        if record.get(key) is not None
    ]
    versions = record.get("versions", {})
    if versions:
        lines.append("- versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    return "\n".join(lines)


def _finetuned(record: Mapping[str, Any]) -> str:
    """The comparison with the bundle that it was trained on from, if it was."""
    content = record.get("finetuned")
    if not content:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in finetuned_rows(content)]
    end = (
        f"the weights of step {content['best_step']} were the best there"
        if content["improved"]
        else "nothing was better there than its own weights, which these are"
    )
    return f"""\
## Fine-tuning
Trained on from bundle `{content["fine-tuned from"]}` and scored beside it on {content["held_out"]}
held-out samples, which chose the weights too: {end}.

| held-out score | before | after |
|---|---|---|
{chr(10).join(lines)}

"""


def _scores(record: Mapping[str, Any], rows: bool) -> str:
    scores = record.get("validation") or {}
    blended = record.get("blended")
    if blended and not scores:
        return (
            f"Not scored: {blended['share']:.0%} of the way to the weights of bundle "
            f"`{blended['toward']}`, and so neither one's scores."
        )
    if not scores:
        return f"Not scored: the {'data' if rows else 'tiles'} hold no validation pairs."
    lines = [f"| {name} | {value:.4g} |" for name, value in scores.items()]
    return (
        f"Mean over validation {'rows' if rows else 'tiles, valid pixels'}, stretched scale, data "
        "range 1.\n\n"
        "| score | value |\n|---|---|\n" + "\n".join(lines)
    )
