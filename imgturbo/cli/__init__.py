"""The ``imgturbo`` command, a module a group of commands.

Each module has a ``typer.Typer`` named ``commands`` on which its commands are declared, and
:mod:`imgturbo.cli.main` puts the groups together. A command reads its words, calls one function of
the library, and prints what came of it. Words that several commands understand are in
:mod:`imgturbo.cli.options`. Heavy imports happen inside the commands, so that ``imgturbo --help``
answers at once.
"""

from imgturbo.cli.main import main

__all__ = ["main"]
