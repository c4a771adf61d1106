"""The one kind of error that a user is meant to read.

Law 7: a message is one line that says which file (and which band), what is wrong, and what to do.
The command line prints it after ``error:`` and exits with status 2, without a traceback.
"""

from __future__ import annotations

__all__ = ["ImgturboError"]


class ImgturboError(Exception):
    """A mistake in the input, named in one line: the file, the band, what is wrong, the remedy.

    What a file says may be quoted in it, so characters that a terminal would obey become ``?``.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__("".join(c if c.isprintable() else "?" for c in line))
