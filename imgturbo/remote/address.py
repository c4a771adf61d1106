"""A file at an address: ``https://``, ``s3://`` and what else fsspec reads, by ranges.

    path = readable("s3://stpubdata/hst/public/…/x_drz.fits")     a Path, or a Remote: one as well
    path.exists(), path.name, path.with_name("x_wht.fits")        as of any path
    path.open("rb")                                               seeks; fetches what is read
    with on_disk(path) as here: …                                 all of it, in a temporary file

What is read is what is transferred (:mod:`imgturbo.remote.ranges`), and whatever a network does is
one line with the address (:mod:`imgturbo.remote.server`). Nothing is written to an address.

Credentials and servers are fsspec's business (``AWS_PROFILE``, ``FSSPEC_S3_ENDPOINT_URL``, …,
https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration). A bucket of S3 for
which there are none is read as everybody may read it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.remote.ranges import Ranges
from imgturbo.remote.server import Found, Refused, Span, ask, fetch, listed

__all__ = [
    "Remote",
    "identity",
    "is_hub_address",
    "is_remote",
    "on_disk",
    "readable",
    "refuse_remote",
    "same_file",
]

_HUB = re.compile(r"hf:/{1,2}(?!/)")  # a Path makes one slash of two

_ADDRESS = re.compile(r"(?!file:|local:)([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])(.*)", re.I | re.S)
_HERE = re.compile(r"(file|local):(//)?(?=/)", re.IGNORECASE)
_COPY = 1 << 24
_SPARE = 1 << 24  # bytes of the disk that are left to others


class Remote(type(Path())):  # type: ignore[misc]
    """A file at an address: a path that is read over the network.

    Args:
        address: as the user gives it, such as ``"https://host/x.fits"``.
    """

    _address: str

    def __new__(cls, address: str) -> Remote:
        made: Remote = super().__new__(cls, address)
        made._address = address
        return made

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"Remote({self._address!r})"

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (self._address,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and other._address == self._address

    def __hash__(self) -> int:
        return hash(self._address)

    @property
    def _split(self) -> tuple[str, str]:
        """What stands before a query, and the query with its question mark."""
        place, mark, query = self._address.partition("?")
        return place, mark + query

    @property
    def name(self) -> str:
        """The last word of the address; of ``…?uri=mast:HST/product/x.fits`` that of the query."""
        place, query = self._split
        words = (text.rstrip("/").rpartition("/")[2] for text in (query, place))
        last = next((word for word in words if "." in word and "=" not in word), "")
        return last or place.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Of the name."""
        return Path(self.name).suffix

    @property
    def stem(self) -> str:
        """Of the name."""
        return Path(self.name).stem

    @property
    def parent(self) -> Remote:
        """The address of the folder; names in it are added to it (``/``)."""
        return Remote(self._split[0].rstrip("/").rpartition("/")[0])

    def __truediv__(self, name: Any) -> Path:
        if _ADDRESS.match(str(name)):
            return readable(name)
        return Remote(f"{self._address.rstrip('/')}/{str(name).lstrip('/')}")

    def with_name(self, name: str) -> Remote:
        """The file of that name beside this one."""
        return Remote(f"{self.parent}/{name}")

    @property
    def has_siblings(self) -> bool:
        """Whether a file beside this one has an address: what a query names has no place."""
        return not self._split[1]

    def siblings(self, start: str) -> set[str] | None:
        """Names of files beside it that begin so; None where the server does not tell."""
        return listed(str(self.parent), start) if self.has_siblings else set()

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file.

        Raises:
            ImgturboError: that cannot be known: no network, no permission.
        """
        return self._found is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file that may be read."""
        try:
            return self.exists()
        except Refused:
            return False

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Never: folders at an address are not read."""
        return False

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def absolute(self) -> Remote:
        """An address is absolute."""
        return self

    def resolve(self, strict: bool = False) -> Remote:
        """An address leads where it leads."""
        return self

    @property
    def size(self) -> int:
        """Bytes, as the server says.

        Raises:
            ImgturboError: there is no such file, or the server does not say.
        """
        return self._about.size

    @property
    def version(self) -> str:
        """What the server says of the file's content: its size, and ETag or date; no checksum."""
        about = self._about
        return f"{about.size} bytes, {about.version}" if about.version else f"{about.size} bytes"

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> BinaryIO:  # type: ignore[override]
        """A stream that fetches the ranges that are read from it.

        Raises:
            ImgturboError: no such file, a server that sends no ranges, or a mode that is not "rb".
        """
        if mode != "rb":
            raise refusal(self)
        about = self._about
        return Ranges(self.fetch, about.size, about.head)  # type: ignore[return-value]

    def fetch(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of several spans (first, one past the last), fetched beside each other.

        Raises:
            ImgturboError: the network fails, or fewer bytes come than were asked for.
        """
        return fetch(self._address, spans)

    @cached_property
    def _found(self) -> Found | None:
        return ask(self._address)

    @property
    def _about(self) -> Found:
        if self._found is None:
            raise ImgturboError(f"{self}: no such file there; check the address")
        return self._found


def readable(given: Path | str) -> Path:
    """What is given as a path that can be read: a file of this machine, or one at an address.

    Of ``Path("https://host/x.fits")`` pathlib has made ``https:/host/x.fits``; that is understood.

    Example:
        >>> readable("https://host/a/x.fits").name, readable("a/x.fits").name
        ('x.fits', 'x.fits')
    """
    if isinstance(given, Remote):
        return given
    match = _ADDRESS.fullmatch(str(given))
    if match is None:
        return Path(_HERE.sub("", str(given)))
    return Remote(f"{match[1].lower()}://{match[2]}")


def is_remote(given: Path | str | None) -> bool:
    """Whether a path is an address."""
    return given is not None and isinstance(readable(given), Remote)


def is_hub_address(given: Path | str) -> bool:
    """Whether it is the place of a bundle on a hub, ``hf://owner/name``: no file is read there."""
    return _HUB.match(str(given)) is not None


def refuse_remote(out: Path | str) -> None:
    """Refuse to write to an address.

    Raises:
        ImgturboError: it is one.
    """
    if is_remote(out):
        raise refusal(readable(out))


def refusal(out: Path) -> ImgturboError:
    """Of a place that is an address."""
    return ImgturboError(
        f"{out}: is an address, and outputs are written on this machine only; name a file here, "
        "and copy it there when it is whole"
    )


def same_file(one: Path | str, other: Path | str) -> bool:
    """Whether two paths lead to one file; of addresses, whether they are the same."""
    one, other = readable(one), readable(other)
    if isinstance(one, Remote) or isinstance(other, Remote):
        return one == other
    return one.exists() and other.exists() and one.samefile(other)


def identity(path: Path | str) -> str:
    """What tells the content of a file from another: its SHA-256, or what a server says of it.

    A file at an address is not fetched for that, so nothing is verified: ``"remote 99 bytes, …"``.

    Raises:
        ImgturboError: there is no such file at the address.
        OSError: as of reading a file of this machine.
    """
    path = readable(path)
    return f"remote {path.version}" if isinstance(path, Remote) else f"sha256 {sha256(path)}"


@contextlib.contextmanager
def on_disk(path: Path | str) -> Iterator[Path]:
    """The file as one of this machine: itself, or all of it in a temporary folder meanwhile.

    For pictures and text, whose readers want all of a file. It keeps its name.

    Raises:
        ImgturboError: it cannot be fetched, or the disk has no room for it.
    """
    path = readable(path)
    if not isinstance(path, Remote):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / (path.name or "file")
        free = shutil.disk_usage(folder).free - _SPARE
        if path.size > free:
            raise ImgturboError(
                f"{path}: has {path.size / 1e6:.0f} MB, and {folder} has room for "
                f"{free / 1e6:.0f} MB; set TMPDIR to a folder with more room"
            )
        with here.open("wb") as file:
            for start in range(0, path.size, _COPY):
                file.write(path.fetch([(start, min(start + _COPY, path.size))])[0])
        try:
            yield here
        except ImgturboError as error:  # the user knows its address
            raise ImgturboError(str(error).replace(str(here), str(path))) from error
