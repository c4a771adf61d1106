"""``bundle.json``: the shape that it must have, the names that its contents give it, reading it.

    hash        of the function: weights, networks' settings, sides; 12 hexadecimal digits
    checksum    of everything else in the file together with that, so that no edit goes unnoticed

Bundles of version 0.1.0 have no checksum, and their hash is of weights and stretches alone: what
was edited in their bands, units, zero points, pixel scales and settings cannot be told. Exporting
one (``imgturbo export``) gives it both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from imgturbo.bundle.card import NETWORKS
from imgturbo.bundle.intervals import IntervalsSchema
from imgturbo.door import Schema, door, typed
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.listing import Entry, read_file
from imgturbo.side import SideSchema

__all__ = [
    "AGAIN",
    "FORMAT",
    "NAME",
    "checksum",
    "function_hash",
    "read_description",
    "weights_file",
]

FORMAT = 1
"""Version of the layout; a bundle of a newer one is refused, never guessed at."""

NAME = "bundle.json"
AGAIN = "get the bundle again"


class _Stamp(Schema):
    format: int = Field(ge=1)


class _Sides(Schema):
    source: SideSchema
    target: SideSchema


class _Blended(Schema):
    toward: str
    share: float = Field(ge=0, le=1)


class _Record(Schema):
    validation: dict[str, float] | None = None
    versions: dict[str, str] | None = None
    blended: _Blended | None = None


class _Model(Schema):
    decoder: dict[str, Any] | None = None
    encoder: dict[str, Any] | None = None


class _Config(Schema):
    model: _Model


class _Description(_Stamp):
    hash: str = Field(pattern=r"^[0-9a-f]{12}$")
    checksum: str | None = None
    files: dict[Literal["decoder.safetensors", "encoder.safetensors"], Entry]
    sides: _Sides
    record: _Record
    config: _Config
    intervals: IntervalsSchema | None = None
    headline: dict[str, Any] | None = None


def weights_file(network: str) -> str:
    """The name of a network's file of weights."""
    return f"{network}.safetensors"


def read_description(folder: Path) -> dict[str, Any]:
    """The JSON of a bundle that has the shape that it must have, and is as it was written.

    Args:
        folder: of the bundle, in which ``bundle.json`` lies.

    Raises:
        ImgturboError: it cannot be read, is of a newer format, lacks something or was edited.
    """
    file = folder / NAME
    text = read_file(folder, NAME, AGAIN)
    version = typed(_Stamp, text, file, AGAIN).format
    if version > FORMAT:
        raise ImgturboError(
            f"{folder}: a bundle of format {version}, this imgturbo reads up to {FORMAT}; "
            "update imgturbo"
        )
    typed(_Description, text, file, AGAIN)
    with door(file, remedy=AGAIN):
        content: dict[str, Any] = json.loads(text)
        named = content["hash"] in (function_hash(content), _former_hash(content))
        whole = content.get("checksum") in (None, checksum(content))
    if not named:
        raise ImgturboError(
            f"{folder}: {NAME} was edited: its hash does not agree with weights, networks and "
            f"sides; {AGAIN}"
        )
    if not whole:
        raise ImgturboError(f"{folder}: {NAME} was edited: its checksum does not agree; {AGAIN}")
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of all of a ``bundle.json`` but its checksum; white space and order count nothing."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return sha256(json.dumps(rest, sort_keys=True).encode())


def function_hash(content: Mapping[str, Any]) -> str:
    """The name of the function that a ``bundle.json`` describes; nothing is read into its text."""
    model = content["config"]["model"]
    networks = {
        "decoder": model.get("decoder"),
        "encoder": model.get("encoder") or model.get("decoder"),
    }
    present = [name for name in NETWORKS if weights_file(name) in content["files"]]
    return _digest(
        weights=_weights(content),
        networks={name: networks[name] for name in present},
        sides=content["sides"],
    )


def _former_hash(content: Mapping[str, Any]) -> str:
    """What version 0.1.0 called it: by weights and stretches alone."""
    stretches = {name: content["sides"][name]["stretch"] for name in ("source", "target")}
    return _digest(weights=_weights(content), stretches=stretches)


def _weights(content: Mapping[str, Any]) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in content["files"].items()}


def _digest(**named: Any) -> str:
    return sha256(json.dumps(named, sort_keys=True).encode())[:12]
