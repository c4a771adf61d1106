"""What is asked of a server: how large a file is, and ranges of its bytes, beside each other.

Networks fail for a moment and for good. What may pass is tried again; what remains is one line with
the address. No bytes are taken for others: a server that sends whole files where a range was asked
for is refused by its first answer, and a range that comes short is an error.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any, NamedTuple, TypeVar

from imgturbo.door import first_line
from imgturbo.errors import ImgturboError

__all__ = ["ATTEMPTS", "BLOCK", "TIMEOUT", "Found", "Refused", "Span", "ask", "fetch", "listed"]

TIMEOUT = 60.0
"""Seconds after which a server that says nothing is given up."""

ATTEMPTS = 3
"""How often a request is made that fails as networks do."""

BLOCK = 1 << 16
"""Bytes that are asked for where fewer are wanted."""

_WAIT = 0.5  # seconds before the second attempt, twice as long before the third
_AT_ONCE = 32  # requests
_VERSIONS = ("ETag", "Content-MD5", "VersionId", "LastModified", "Last-Modified", "mtime")

T = TypeVar("T")
Span = tuple[int, int]
"""First byte and one past the last."""


class Refused(ImgturboError):
    """The server does not let one read a file; many also say so of one that is not there."""


class Found(NamedTuple):
    """A file at an address.

    Attributes:
        size: its bytes.
        version: what the server calls its content: a tag or a date; no checksum.
        head: its first bytes, if they have come with the answer.
    """

    size: int
    version: str
    head: bytes = b""


def ask(address: str) -> Found | None:
    """What is at an address; None if there is no such file.

    Raises:
        ImgturboError: that cannot be known, or parts of the file cannot be read.
    """
    try:
        return _patiently(lambda: _ask(address))
    except FileNotFoundError:
        return None
    except ImgturboError:
        raise
    except Exception as error:
        raise _line(address, error, (0, 0)) from error


def listed(folder: str, start: str) -> set[str] | None:
    """Names in a folder that begin so; None where the server lists none, as web servers do."""
    if folder.startswith(("http:", "https:")):
        return None
    system, path = _system(folder)
    try:
        if "prefix" in signature(getattr(system, "_find", system.find)).parameters:
            found = system.find(path, prefix=start)  # of a bucket with millions of names as well
        else:
            found = system.ls(path, detail=False)
    except Exception:  # buckets may be read by those who may not list them
        return None
    path = path.rstrip("/")
    names = (str(one).rpartition("/") for one in found)
    return {name for place, _, name in names if place == path and name.startswith(start)}


def fetch(address: str, spans: Sequence[Span]) -> list[bytes]:
    """The bytes of several spans, fetched beside each other.

    Raises:
        ImgturboError: the network fails, or fewer bytes come than were asked for.
    """
    found: list[bytes | BaseException] = [b""] * len(spans)
    left = list(range(len(spans)))

    def some() -> None:
        nonlocal left
        for k, part in zip(left, _ranges(address, [spans[k] for k in left]), strict=True):
            found[k] = part
        left = [k for k in left if not _is_whole(found[k], spans[k])]
        if left:
            raise _Short(next((k for k in left if not _may_pass(found[k])), left[0]))

    try:
        if spans:
            _patiently(some, lambda error: _may_pass(found[error.args[0]]))
    except _Short as short:
        problem = found[short.args[0]]
        cause = problem if isinstance(problem, BaseException) else None
        raise _line(address, problem, spans[short.args[0]]) from cause
    return [part for part in found if isinstance(part, bytes)]


class _Short(Exception):
    """Carries the number of a span that has not come."""


def _patiently(what: Callable[[], T], may_pass: Callable[[Exception], bool] | None = None) -> T:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return what()
        except Exception as error:
            if attempt == ATTEMPTS or not (may_pass or _may_pass)(error):
                raise
            time.sleep(_WAIT * 2 ** (attempt - 1))
    raise AssertionError


# ------------------------------------------------------------------------------------- fsspec


def _system(address: str) -> tuple[Any, str]:
    """The file system, and what it calls the file."""
    import fsspec

    scheme = address.partition(":")[0].lower()
    if scheme not in fsspec.available_protocols():
        raise ImgturboError(
            f"{address}: addresses that begin with {scheme}:// are not known; give s3://, https:// "
            "or another that fsspec reads"
        )
    try:
        system, path = fsspec.core.url_to_fs(address, **_options(scheme))
    except ImportError as error:
        raise ImgturboError(
            f"{address}: {scheme}:// needs a package that is not installed "
            f"({first_line(error).rstrip('.')}): pip install 'imgturbo[remote]'"
        ) from error
    except Exception as error:
        raise ImgturboError(f"{address}: is no address ({first_line(error)}); check it") from error
    return system, str(path)


def _options(scheme: str) -> dict[str, Any]:
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
        return {"client_kwargs": {"timeout": timeout}}
    if scheme in ("s3", "s3a"):
        waits = {"connect_timeout": TIMEOUT, "read_timeout": TIMEOUT}
        return {"config_kwargs": waits, **({"anon": True} if _anonymous() else {})}
    return {}


@cache
def _anonymous() -> bool:
    """Whether buckets of S3 must be read without credentials, since none are known here."""
    from fsspec.config import conf

    if {"anon", "key", "secret", "token", "profile", "session"} & set(conf.get("s3", {})):
        return False
    with contextlib.suppress(ImportError):
        from botocore.session import get_session

        return get_session().get_credentials() is None
    return False


def _ask(address: str) -> Found:
    system, path = _system(address)
    if address.startswith(("http:", "https:")):
        from fsspec.asyn import sync

        found: Found = sync(system.loop, _first_block, system, path, address)
        return found
    info = system.info(path)
    if info.get("type") == "directory":
        raise ImgturboError(f"{address}: is a folder; name the files in it")
    if info.get("size") is None:
        raise ImgturboError(f"{address}: its size is not known; fetch the file and name it here")
    return Found(int(info["size"]), _version_of(info))


def _ranges(address: str, spans: Sequence[Span]) -> Sequence[bytes | BaseException]:
    system, path = _system(address)
    some = {"batch_size": _AT_ONCE} if system.async_impl else {}
    starts, stops = zip(*spans, strict=True)
    try:
        parts: Sequence[bytes | BaseException] = system.cat_ranges(
            [path] * len(spans), list(starts), list(stops), on_error="return", **some
        )
    except Exception as error:
        return [error] * len(spans)
    return parts


async def _first_block(system: Any, url: str, what: str) -> Found:
    """Size, version and first bytes of a file on a web server, by one request of a range."""
    session = await system.set_session()
    options = dict(system.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    headers["Range"] = f"bytes=0-{BLOCK - 1}"
    async with session.get(system.encode_url(url), headers=headers, **options) as answer:
        if answer.status == 416:  # of no byte there is no range
            return Found(0, "")
        if answer.status in (404, 410):
            raise FileNotFoundError(what)
        answer.raise_for_status()
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status != 206 or not total.isdigit():
            raise ImgturboError(
                f"{what}: the server sends whole files only, no ranges of bytes; fetch the file "
                "and name it here"
            )
        return Found(int(total), _version_of(answer.headers), await answer.read())


def _version_of(said: Any) -> str:
    """What a server calls this content: the strongest of its words."""
    for word in _VERSIONS:
        if said.get(word):
            value = str(said[word]).strip('"')
            return f"{word} {value}"
    return ""


# --------------------------------------------------------------------------------- what fails


def _line(address: str, problem: object, span: Span) -> ImgturboError:
    """What has failed, in one line."""
    if isinstance(problem, FileNotFoundError):
        why = "no such file there; check the address"
    elif isinstance(problem, PermissionError) or _status(problem) in (401, 403):
        return Refused(
            f"{address}: the server does not let you read it, or has no such file; check the "
            "address, or your credentials"
        )
    elif isinstance(problem, bytes):
        why = (
            f"of bytes {span[0]} to {span[1]} the server has sent {len(problem)}; it is truncated "
            "there, or has just been changed: try again later"
        )
    elif isinstance(problem, TimeoutError) or "timeout" in type(problem).__name__.lower():
        why = f"the server does not answer within {TIMEOUT:g} s; try again later"
    else:
        assert isinstance(problem, BaseException)
        why = (
            f"the connection has failed ({first_line(problem)}); check the network and the "
            "address, and try again"
        )
    return ImgturboError(f"{address}: {why}")


def _is_whole(part: object, span: Span) -> bool:
    return isinstance(part, bytes) and len(part) == span[1] - span[0]


def _status(problem: object) -> int | None:
    status = getattr(problem, "status", None)
    return status if isinstance(status, int) else None


def _may_pass(problem: object) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(problem, FileNotFoundError | PermissionError | ImgturboError):
        return False
    status = _status(problem)
    return status is None or status in (408, 429) or status >= 500
