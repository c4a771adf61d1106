"""The types of what users name: a file to read, here or at an address, and places on this machine.

    source: list[Readable] = []                                       a key of a config
    source: Annotated[Readable, typer.Option(parser=readable)]        an option of a command

A `Readable` is a :class:`~pathlib.Path` to whoever uses it; of an address it is a
:class:`~imgturbo.remote.address.Remote`, which pathlib by itself would make one slash shorter. What
is written, and what is read from this machine alone, refuses addresses where it is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgturbo.errors import ImgturboError
from imgturbo.remote.address import is_hub_address, is_remote, readable, refuse_remote

__all__ = ["Readable", "local", "writable"]

if TYPE_CHECKING:
    Readable = Path
else:

    class Readable:
        """A file to read, here or at an address; no Path by its class, which typer would remake."""

        def __new__(cls, given: Path | str) -> Path:
            """The path of what is given."""
            return readable(given)

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            """Of a config: as any path, but before pathlib has made one of its own."""
            from pydantic_core import core_schema

            def made(value: Any, as_path: Any) -> Path:
                return readable(value) if isinstance(value, str | Path) else as_path(value)

            path = handler.generate_schema(Path)
            return core_schema.no_info_wrap_validator_function(made, path)

    Readable.__name__ = "Path"  # in the help of commands


def writable(given: Path | str) -> Path:
    """A place for an output.

    Raises:
        ImgturboError: it is an address.
    """
    refuse_remote(given)
    return Path(given)


def local(given: Path | str) -> Path:
    """What is read from this machine alone: tile stores, photographs; a bundle, or one of a hub.

    Raises:
        ImgturboError: it is an address.
    """
    if is_remote(given) and not is_hub_address(given):
        raise ImgturboError(
            f"{readable(given)}: is an address, and such a thing is read from this machine only; "
            "fetch it, and name it here"
        )
    return Path(given)
