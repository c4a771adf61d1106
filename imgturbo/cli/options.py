"""Words that several commands understand, each read in one place.

An option is a type: ``seed: Seed = 0`` in a command's signature declares ``--seed`` with its help.
Lists are written with commas, ``--levels 0.5,0.9``, and reach the command as tuples. What is read
may be an address, what is written may not: ``source: Annotated[Readable, typer.Option(**READ)]``,
``out: Annotated[Path, typer.Option(**WRITE)]``, and ``**LOCAL`` for what is read from here alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imgturbo.errors import ImgturboError
from imgturbo.remote import Readable, local, readable, writable
from imgturbo.symmetries import Symmetries

__all__ = [
    "BundleName",
    "Demo",
    "Device",
    "Direction",
    "Ensemble",
    "JsonOutput",
    "LOCAL",
    "Names",
    "Numbers",
    "Overrides",
    "Overwrite",
    "Quick",
    "READ",
    "Readable",
    "Seed",
    "SimulatorOptions",
    "SourceBands",
    "SourceUnit",
    "TargetBands",
    "TargetUnit",
    "Temperature",
    "WRITE",
    "Window",
    "config_and_overrides",
    "names",
    "numbers",
    "simulator_options",
]


READ: dict[str, Any] = {"parser": readable, "metavar": "PATH"}
"""Of an option that names what is read, here or at an address."""
WRITE: dict[str, Any] = {"parser": writable, "metavar": "PATH"}
"""Of one that names a place for an output, which no address is."""
LOCAL: dict[str, Any] = {"parser": local, "metavar": "PATH"}
"""Of one that names what is read from this machine alone."""


class Numbers(tuple[float, ...]):
    """The value of an option that takes numbers."""


class Names(tuple[str, ...]):
    """The value of an option that takes names."""


def numbers(option: str, example: str, help: str) -> Any:
    """Declare an option that takes numbers: ``Annotated[Numbers, numbers("--levels", …)]``.

    Args:
        option: as it is written, with its dashes.
        example: numbers that would be right, for the message about wrong ones.
        help: what the option means.
    """

    def parse(text: str | Numbers) -> Numbers:
        if isinstance(text, tuple):  # a default
            return text
        try:
            return Numbers(float(word) for word in text.split(",")) if text else Numbers()
        except ValueError:
            raise ImgturboError(
                f"{option} {text}: these are not numbers; write {option} {example}"
            ) from None

    return typer.Option(option, parser=parse, metavar="NUMBERS", help=f"{help} Comma-separated.")


def names(option: str, help: str) -> Any:
    """Declare an option that takes names: ``Annotated[Names, names("--bands", …)]``."""

    def parse(text: str | Names) -> Names:
        if isinstance(text, tuple):
            return text
        return Names(text.split(",")) if text else Names()

    return typer.Option(option, parser=parse, metavar="NAMES", help=f"{help} Comma-separated.")


BundleName = Annotated[
    str,
    typer.Option(
        "--bundle",
        help="Folder of a trained bundle, the name of a shipped one, or hf://owner/name.",
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …")]
Direction = Annotated[
    Literal["forward", "backward"],
    typer.Option("--direction", help="forward: source → target; backward: target → source."),
]
Ensemble = Annotated[
    Symmetries,
    typer.Option("--ensemble", help="Mean over symmetries: no more than data.augment had."),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Values that replace the file's: train.steps=1000."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=1 << 32, help="Of the draws: the same seed, the same draws."),
]
SourceBands = Annotated[
    Names | None, names("--source-bands", "Names of the source bands, where headers lack them.")
]
TargetBands = Annotated[Names | None, names("--target-bands", "The same of the target.")]
SourceUnit = Annotated[
    str,
    typer.Option("--source-unit", help="Of source files without BUNIT: electron/s, MJy/sr, nJy …"),
]
TargetUnit = Annotated[str, typer.Option("--target-unit", help="The same of the target files.")]
SimulatorOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="Of the simulator; repeat it."),
]
Temperature = Annotated[
    float,
    typer.Option("--temperature", help="Of the draws: 1 is the model's own spread, 0 none."),
]
Window = Annotated[int | None, typer.Option("--window", help="Side of a window, pixels.")]

Demo = Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.", **WRITE)]
Quick = Annotated[bool, typer.Option("--quick", help="A short form, to check the installation.")]


def config_and_overrides(
    config: str | None, overrides: list[str] | None
) -> tuple[Readable | None, list[str]]:
    """The file, if one was named, and the overrides of a command whose CONFIG may be left out.

    Where it is, the first KEY=VALUE stands in its place. Its key tells it from a path, whatever
    the value holds; it is taken as it was written, which a path would not be (``a=s3://b``).
    """
    words = overrides or []
    if config is None:
        return None, words
    key, equals, _ = config.partition("=")
    if equals and "/" not in key and not Path(config).exists():
        return None, [config, *words]
    return readable(config), words


def simulator_options(words: list[str] | None) -> dict[str, Any]:
    """What ``--option KEY=VALUE`` says, values read as YAML.

    Raises:
        ImgturboError: a word without an equals sign, or a value that is no YAML.
    """
    from imgturbo.config import Config

    given = [f"data.source.options.{word}" for word in words or ()]
    start = ["data.source.kind=simulator", "data.source.name=any"]
    source = Config.from_overrides([*start, *given]).data.source
    return dict(source.model_dump()["options"]) if source is not None else {}
