"""The ``imgturbo`` command: its groups of commands put together, and how mistakes are printed.

A mistake of the user, in the words or in the files, is one line after ``error:`` and exit status 2
(see :mod:`imgturbo.errors`). A signal is one line too, with how to go on, and status 130 or 143.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from imgturbo import __version__
from imgturbo.cli import (
    bundles,
    color,
    config,
    data,
    demos,
    finetune,
    presets,
    sample,
    scoring,
    training,
    translate,
    trust,
)
from imgturbo.cli.output import fail, leave, note, stop
from imgturbo.errors import ImgturboError
from imgturbo.stopping import Stopped, end_with_launcher, signals_stop

__all__ = ["app", "main"]

app = typer.Typer(
    name="imgturbo",
    invoke_without_command=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Translate the sky as one telescope saw it into what another would have seen.",
    epilog="Start with 'imgturbo demo --out demo': the whole job on a simulated sky, in minutes.",
)
for group in (
    data, training, finetune, translate, sample, scoring, trust, bundles, color, config, presets,
    demos,
):  # fmt: skip
    app.add_typer(group.commands)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"imgturbo {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# Click's, which newer versions of typer carry inside them; both give it these descendants.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


_NO_MEMORY = (
    "there is not memory enough for this; give smaller images, or parts of them (in a training, a "
    "smaller data.batch_size or narrower networks)"
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit; a user's mistake is one line on standard error and status 2."""
    end_with_launcher()
    warnings.showwarning = note
    words = list(argv) if argv is not None else None
    try:
        # Not standalone, so that mistakes in the words look like all others.
        with signals_stop():
            status = app(args=words, prog_name="imgturbo", standalone_mode=False)
    except ImgturboError as error:
        fail(str(error))
    except _UsageError as error:
        fail(_usage(error))
    except Stopped as stopped:
        stop(stopped)
    except (typer.Abort, KeyboardInterrupt):
        leave(130)
    except MemoryError:
        fail(_NO_MEMORY)
    except RuntimeError as error:
        # Torch's, of which no name is known here: without torch these commands start faster.
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        fail(_NO_MEMORY)
    except OSError as error:
        # What no part of the library has foreseen: a disk that fills up, a folder not ours.
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}; check the path, its permissions and the disk")
    leave(status or 0)


def _usage(error: Any) -> str:
    """A mistake in the command's words, and where the right ones are listed."""
    command = error.ctx.command_path if error.ctx is not None else "imgturbo"
    return f"{error.format_message().rstrip('.')}; see '{command} --help'"


if __name__ == "__main__":
    main()
