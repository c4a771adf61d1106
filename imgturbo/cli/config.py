"""The command about configs: what a file means in full, and which keys there are."""

from __future__ import annotations

import json
import shutil
from typing import Annotated

import typer

from imgturbo.cli.options import JsonOutput, Overrides, Readable, config_and_overrides
from imgturbo.errors import ImgturboError

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def config(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="YAML; left out: the defaults.")
    ] = None,
    overrides: Overrides = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="List all keys: type, default and meaning.")
    ] = False,
    as_json: JsonOutput = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="With --schema: as a page of documentation.")
    ] = False,
) -> None:
    """Print a config in full, with all its defaults, or every key that a config may have.

    imgturbo config configs/demo.yaml train.steps=1000

    imgturbo config --schema
    """
    file, values = config_and_overrides(config, overrides)
    if schema and (file is not None or values):
        raise ImgturboError("config: --schema lists the keys of all configs; leave out the file")
    if markdown and (as_json or not schema):
        raise ImgturboError("config: --markdown goes with --schema, without --json; add or drop it")
    typer.echo(_schema(as_json, markdown) if schema else _content(file, values, as_json))


def _content(file: Readable | None, values: list[str], as_json: bool) -> str:
    from imgturbo.config import Config, load_config

    read = Config.from_overrides(values) if file is None else load_config(file, values)
    if as_json:
        return json.dumps(read.model_dump(mode="json", by_alias=True), indent=2)
    return read.to_yaml().rstrip("\n")


def _schema(as_json: bool, markdown: bool) -> str:
    from imgturbo.config import Config
    from imgturbo.config.reference import as_markdown, as_text, config_keys

    if as_json:
        return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False)
    if markdown:
        return as_markdown(config_keys()).rstrip("\n")
    width = min(100, shutil.get_terminal_size().columns)
    return as_text(config_keys(), width, lambda name: typer.style(name, bold=True))
