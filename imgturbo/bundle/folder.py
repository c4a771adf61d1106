"""The bundle: one folder that holds a trained model and loads anywhere.

    bundle.json            format, config, sides (bands, unit, pixel scale, zero points, stretch),
                           training record, bytes and sha256 of the weights, checksum of it all
    decoder.safetensors    weights of z → x ("forward", source to target)
    encoder.safetensors    weights of x → z ("backward"); either where it was trained, one at least
    README.md              the model card, filled in

The bundle's hash names the function that it computes, h = sha256(sha256 of each weight file, the
settings of its networks, both sides), 12 hexadecimal digits: a flow with another clamp is another
function of the same weights, and so is one of other bands or units. It is written into the header
of every image translated with it. (Bundles of version 0.1.0 are named by weights and stretches, and
have no checksum.)
No pickle is ever loaded.

A bundle may store its weights in half precision, at half the size; they are computed with in
float32 all the same. Bundles that travel with the package are loaded by their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import save
from torch import nn

import imgturbo
from imgturbo.bundle.card import NETWORKS, model_card
from imgturbo.bundle.description import (
    AGAIN,
    FORMAT,
    NAME,
    checksum,
    function_hash,
    read_description,
    weights_file,
)
from imgturbo.bundle.hub import pull
from imgturbo.bundle.intervals import Intervals
from imgturbo.bundle.translation import Translation
from imgturbo.bundle.weights import load_network, stored_weights
from imgturbo.config import Config
from imgturbo.door import door
from imgturbo.engines import build_network, complete
from imgturbo.errors import ImgturboError
from imgturbo.files import write_folder, write_json, write_whole
from imgturbo.listing import Entry
from imgturbo.nets import Generator
from imgturbo.remote import is_hub_address
from imgturbo.shipped import by_name, shipped, travels
from imgturbo.side import Side

if TYPE_CHECKING:
    from astropy.table import Table

    from imgturbo.bundle.settings import Settings, SettingsDict
    from imgturbo.sky import SkyImage

__all__ = ["FORMAT", "Bundle", "Direction", "annotate", "load_bundle", "save_bundle"]


class Direction(NamedTuple):
    """One way through the pair: a network, the sides it leads from and to, and what is known of
    its intervals."""

    name: str
    generator: Generator
    input: Side
    output: Side
    intervals: Intervals | None = None

    def calibration(self, settings: Settings) -> str | None:
        """The name of the intervals by which these quantiles are put right; None: by none."""
        if self.intervals is None or not settings.quantiles or settings.raw_quantiles:
            return None
        return self.intervals.name


@dataclass(frozen=True)
class Bundle:
    """A trained model, loaded.

    Attributes:
        path: the folder.
        decoder: z → x, in evaluation mode, float32, on the CPU; a conditional flow is one too. None
            where none was trained.
        encoder: x → z, or None where none was trained; one of the two there is.
        source, target: the two sides, as of the tile store that it was trained on.
        config: of the run that trained it.
        record: steps, seconds, device, validation scores, digest of the tiles, library versions.
        hash: 12 hexadecimal digits of weights, networks' settings and sides.
        intervals: by which quantiles of the draws are put right; None: they are as they are drawn.

    Example:
        >>> import imgturbo
        >>> bundle = imgturbo.load_bundle("smacs0723-fidelity")
        >>> bundle.source.names, bundle.source.unit, bundle.encoder is None
        (('R', 'G', 'B'), 'display', True)
    """

    path: Path
    decoder: Generator | None
    encoder: Generator | None
    source: Side
    target: Side
    config: Config
    record: dict[str, Any]
    hash: str
    intervals: Intervals | None = None

    def direction(self, name: str = "forward") -> Direction:
        """``"forward"``: decoder, source → target; ``"backward"``: encoder, target → source.

        Raises:
            ImgturboError: another name, or no such network in this bundle.
        """
        if name == "forward":
            if self.decoder is None:
                raise ImgturboError(
                    f"{self.path}: holds no decoder, so it translates backward only (target to "
                    "source, --direction backward); train with the preset turbo or cyclegan for "
                    "both directions"
                )
            return Direction(name, self.decoder, self.source, self.target, self._intervals(name))
        if name != "backward":
            raise ImgturboError(f"direction {name!r}: choose forward or backward")
        if self.encoder is None:
            raise ImgturboError(
                f"{self.path}: holds no encoder, so it translates forward only; train with the "
                "preset turbo or cyclegan for both directions"
            )
        return Direction(name, self.encoder, self.target, self.source, self._intervals(name))

    def _intervals(self, direction: str) -> Intervals | None:
        own = self.intervals
        return own if own is not None and own.direction == direction else None

    @overload
    def translate(
        self, image: SkyImage, direction: str = ..., **settings: Unpack[SettingsDict]
    ) -> Translation[SkyImage]: ...

    @overload
    def translate(
        self, image: NDArray[Any], direction: str = ..., **settings: Unpack[SettingsDict]
    ) -> Translation[NDArray[Any]]: ...

    @overload
    def translate(
        self, image: Table, direction: str = ..., **settings: Unpack[SettingsDict]
    ) -> Translation[Table]: ...

    def translate(
        self,
        image: SkyImage | Table | NDArray[Any],
        direction: str = "forward",
        **settings: Unpack[SettingsDict],
    ) -> Translation[SkyImage] | Translation[Table] | Translation[NDArray[Any]]:
        """Translate a ``SkyImage``, or an array (C, H, W) in flux, of any size; or rows of a table.

        Args:
            image: bands in any order for a ``SkyImage``; in the bundle's order for an array. NaN
                where not measured, and NaN there in the result. For a bundle of tables an astropy
                ``Table``, whose columns are found by their names, or an array (N, C); see
                :func:`imgturbo.translate_table`.
            direction: see :meth:`direction`.
            settings: ``samples`` (draws of a stochastic model; without it there is no noise),
                ``window``, ``overlap``, ``device``, …; see :class:`imgturbo.bundle.Settings`.

        Returns:
            What came in, translated: ``.mean`` is the one output or the mean of the draws, and of
            several draws there are ``.std``, and ``.quantiles`` and ``.draws`` if asked for.

        Raises:
            ImgturboError: other bands than the model's, named beside those that are wanted.
            TypeError: a setting that there is not.
        """
        # The translator sits above the bundle and imports astropy, which loading needs not: this
        # is a short way to the public function, by the package's front door.
        way = self.direction(direction)
        if "table" in (way.input.kind, way.output.kind):
            return imgturbo.translate_table(self, image, direction, **settings)
        return imgturbo.translate_sky(self, image, direction, **settings)

    def sample(
        self, n: int, seed: int = 0, *, temperature: float = 1.0, size: int | None = None
    ) -> NDArray[np.float32 | np.float64]:
        """Draw images (or rows) from the prior that one side of this model is.

        Sample k is a function of (seed, k): the first 4 of 64 are the 4 of 4.

        Args:
            n: how many.
            seed: of codes and noise.
            temperature: standard deviation of both; 1 is the prior's own.
            size: side in pixels, of codes that are maps; None: as in training.

        Returns:
            (n, C, S, S), or (n, C) float64 of rows, in the unit of the side that is no code.

        Raises:
            ImgturboError: no side of this model is drawn from a prior; fewer than one sample.
        """
        batches = imgturbo.sample(self, n, seed, temperature=temperature, size=size)
        return np.concatenate(list(batches))


# --------------------------------------------------------------------------------- writing


def save_bundle(
    path: Path | str,
    *,
    decoder: nn.Module | None,
    encoder: nn.Module | None,
    config: Config,
    sides: Mapping[str, Side],
    record: Mapping[str, Any],
    half: bool = False,
    intervals: Intervals | None = None,
) -> str:
    """Write a bundle aside and put it in the place of an older one; returns its hash.

    Args:
        path: the folder; what is there must be a bundle, or nothing.
        decoder, encoder: the networks whose weights are saved; one may be None.
        config: the run's, with the networks' sections; what it leaves open is settled.
        sides: ``{"source": side, "target": side}``.
        record: of the training, JSON; the card shows it.
        half: store weights as float16, which rounds them to 3 digits, but for those that a module
            names in ``exact``.
        intervals: by which quantiles are put right, if that is known.

    Raises:
        ImgturboError: no network, the place holds something else, or cannot be written; with
            ``half``, a weight that float16 cannot hold.
    """
    path, config = Path(path), complete(config)
    if decoder is None and encoder is None:
        raise ImgturboError(f"{path}: neither a decoder nor an encoder to save; train one")
    if path.exists() and not (path / "bundle.json").exists():
        raise ImgturboError(f"{path}: exists and is no bundle; move it or name another folder")
    weights = {
        weights_file(name): save(stored_weights(network, half, path))
        for name, network in zip(NETWORKS, (decoder, encoder), strict=True)
        if network is not None
    }
    files = {name: Entry.of(content).model_dump() for name, content in weights.items()}
    content: dict[str, Any] = {
        "format": FORMAT,
        "hash": "",
        "files": files,
        "sides": {side: description.to_dict() for side, description in sides.items()},
        "record": dict(record),
        "config": config.model_dump(mode="json", by_alias=True),
        **({} if intervals is None else {"intervals": intervals.to_dict()}),
    }
    content["hash"] = name = function_hash(content)
    content["checksum"] = checksum(json.loads(json.dumps(content)))  # of what JSON makes of it
    texts = {NAME: json.dumps(content, indent=2) + "\n", "README.md": model_card(content)}
    files_in_full = {**weights, **{file: text.encode() for file, text in texts.items()}}
    remedy = "make room or choose another folder"
    write_folder(path, files_in_full, remedy, "the bundle cannot be written")
    return name


def annotate(bundle: Bundle, **parts: Mapping[str, Any]) -> None:
    """Write what was found out about a bundle into it: ``intervals``, ``headline``.

    Its function, its weights and its hash stay as they are; checksum and card are made anew.

    Raises:
        ImgturboError: it travels with the package, was changed meanwhile, or cannot be written.
    """
    path = bundle.path
    if travels(path):
        raise ImgturboError(
            f"{path}: travels with the package and stays as it is; copy it first (imgturbo export)"
        )
    content = read_description(path)
    if content["hash"] != bundle.hash:
        raise ImgturboError(f"{path}: is another bundle than when it was loaded; begin again")
    content |= parts
    content.pop("checksum", None)
    content["checksum"] = checksum(json.loads(json.dumps(content)))
    write_json(path / NAME, content)
    write_whole(path / "README.md", model_card(content).encode())


# --------------------------------------------------------------------------------- reading


def load_bundle(path: Path | str) -> Bundle:
    """Load a bundle and check every byte of its weights.

    Args:
        path: the folder; where there is none, the name of a bundle that travels with the package,
            or of one on a hub, ``hf://owner/name`` (see :mod:`imgturbo.bundle.hub`).

    Example:
        >>> load_bundle("smacs0723-fidelity").hash
        'd4f32e00d2b9'

    Raises:
        ImgturboError: no bundle there (saying what is), a file missing or corrupt, a newer format,
            or a config that this version does not know.
    """
    path = located(Path(path))
    with door(path, remedy="name the folder of a bundle", what="cannot be looked at"):
        if not (path / NAME).is_file():
            raise ImgturboError(f"{path}: {_what_is_there(path)}")
    content = read_description(path)
    config = _config(path, content)
    source, target = (Side.from_dict(content["sides"][name]) for name in ("source", "target"))
    model, counts = config.model, (len(source), len(target))
    networks: dict[str, Generator | None] = dict.fromkeys(NETWORKS)
    for name in NETWORKS:
        file = weights_file(name)
        if file not in content["files"]:
            continue
        section = model.decoder if name == "decoder" else model.encoder or model.decoder
        ends = counts if name == "decoder" else counts[::-1]
        build = partial(build_network, section, *ends)
        networks[name] = load_network(build, path, file, Entry(**content["files"][file]))
    if all(network is None for network in networks.values()):
        raise ImgturboError(f"{path}: holds neither decoder nor encoder; {AGAIN}")
    fitted = content.get("intervals")
    intervals = None if fitted is None else Intervals.from_dict(fitted)
    return Bundle(
        path, networks["decoder"], networks["encoder"], source, target, config, content["record"],
        content["hash"], intervals,
    )  # fmt: skip


def _config(path: Path, content: Mapping[str, Any]) -> Config:
    """The config of the run that trained it."""
    with door(path / NAME, "its config", AGAIN):
        try:
            return Config.model_validate(content["config"])
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False)[0]
            key = ".".join(map(str, problem["loc"]))
            if problem["type"] == "union_tag_invalid" and key.startswith("model."):
                kind = problem["input"].get("kind")
                raise ImgturboError(
                    f"{path}: its {key} is of kind {kind!r}, which this imgturbo has not; install "
                    "the package that brings it, or a newer imgturbo"
                ) from None
            versions = content["record"].get("versions") or {}
            raise ImgturboError(
                f"{path}: its config does not fit this imgturbo ({key}: {problem['msg']}); it was "
                f"saved by version {versions.get('imgturbo', 'unknown')}, install that one"
            ) from None


def located(path: Path) -> Path:
    """The folder that is meant: of a bundle that travels with the package, or that a hub has.

    Raises:
        ImgturboError: the hub does not give it.
    """
    return pull(path) if is_hub_address(path) else by_name(path)


def _what_is_there(path: Path) -> str:
    """Why this is no bundle, and where the user may have meant."""
    nearest = path
    while not nearest.is_dir() and nearest != nearest.parent:
        nearest = nearest.parent
    near = sorted(file.parent for file in nearest.glob("*/bundle.json"))
    near += sorted(file.parent for file in nearest.glob("*/*/bundle.json"))
    if near:
        there = f"did you mean {' or '.join(map(str, near[:3]))}?"
    elif nearest == path:
        names = sorted(entry.name for entry in path.iterdir())
        there = f"the folder holds {', '.join(names[:5]) or 'nothing'}; training writes OUT/bundle"
    else:
        there = "training writes one into OUT/bundle"
    if names := shipped():
        there += f"; bundles by name: {', '.join(names)}"
    if path.is_dir():
        return f"not a bundle, it has no bundle.json; {there}"
    return f"{'a file, not a' if path.exists() else 'no such'} bundle; {there}"
