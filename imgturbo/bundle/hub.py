"""Bundles of a hub: ``hf://owner/name``, or ``hf://owner/name@revision``, fetched.

    bundle.json  →  the files that it lists  →  checked like any bundle's, byte by byte

By huggingface_hub (extra ``hub``): its cache, its token, its variables. ``HF_ENDPOINT`` names
another hub, and with ``HF_HUB_OFFLINE=1`` what has been fetched before is used and nobody is
asked. What a repository holds besides a bundle's own files is never fetched, pickles least of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imgturbo.bundle.description import NAME, read_description
from imgturbo.errors import ImgturboError
from imgturbo.remote import is_hub_address

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["asking", "hub_of", "parsed", "pull"]

CARD = "README.md"
_ADDRESS = re.compile(r"(?P<repo>[^@/]+/[^@/]+)(?:@(?P<revision>.+))?")


def pull(address: Path | str) -> Path:
    """The folder of a hub's bundle in the cache, fetched where it is not there yet.

    Args:
        address: ``hf://owner/name``, perhaps with ``@revision`` (a branch, a tag or a commit).

    Raises:
        ImgturboError: no such repository or revision, no access, no answer, nothing in the cache
            when offline, or a repository that holds no bundle.
    """
    repo, revision = parsed(address)
    address = f"hf://{repo}{(revision and '@') or ''}{revision or ''}"
    hub_of(address)
    with asking(address):
        folder = Path(_snapshot(repo, revision, [NAME]))
        if not (folder / NAME).is_file():
            raise ImgturboError(_no_bundle(address))
        listed = [NAME, CARD, *read_description(folder)["files"]]
        # The same commit, whatever the branch has become since.
        return Path(_snapshot(repo, folder.name, listed))


# --------------------------------------------------------------------------------- the library


def _no_bundle(address: Path | str) -> str:
    return (
        f"{address}: holds no bundle, it has no {NAME}; name a repository that 'imgturbo push' has "
        "made"
    )


def parsed(address: Path | str) -> tuple[str, str | None]:
    """owner/name, and the revision if one is named."""
    rest = str(address).removeprefix("hf:").lstrip("/")
    found = _ADDRESS.fullmatch(rest)
    if not is_hub_address(address) or found is None:
        shown = f"hf://{rest}" if is_hub_address(address) else address
        raise ImgturboError(f"{shown}: write hf://owner/name, or hf://owner/name@revision")
    return found["repo"], found["revision"]


def hub_of(address: Path | str) -> HfApi:
    """The library's own client.

    Raises:
        ImgturboError: it is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImgturboError(
            f"{address}: bundles of a hub need huggingface_hub; pip install 'imgturbo[hub]'"
        ) from None
    return HfApi(library_name="imgturbo")


def _snapshot(repo: str, revision: str | None, names: Sequence[str]) -> str:
    from huggingface_hub import snapshot_download

    return str(
        snapshot_download(
            repo, revision=revision, allow_patterns=list(names), library_name="imgturbo"
        )
    )


@contextmanager
def asking(address: Path | str) -> Iterator[None]:
    """Make one line of what the library raises."""
    from huggingface_hub import constants, errors

    try:
        yield
    except ImgturboError:
        raise
    except errors.GatedRepoError:
        raise ImgturboError(
            f"{address}: is open to those alone who have asked for access; ask for it on its page, "
            "then give your token (hf auth login, or HF_TOKEN)"
        ) from None
    except errors.RevisionNotFoundError:
        raise ImgturboError(
            f"{address}: the repository has no such revision; name a branch, a tag or a commit"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ImgturboError(
            f"{address}: no such repository at {constants.ENDPOINT}, or one that needs a token; "
            "look at the name, and give your token (hf auth login, or HF_TOKEN)"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        why = (
            "HF_HUB_OFFLINE is set"
            if constants.HF_HUB_OFFLINE
            else f"{constants.ENDPOINT} does not answer"
        )
        raise ImgturboError(
            f"{address}: is not in the cache ({constants.HF_HUB_CACHE}), and {why}; fetch it once "
            "where there is a net"
        ) from None
    except errors.HFValidationError as error:
        said = " ".join(str(error).split())[:160]
        raise ImgturboError(f"{address}: is no name of a repository ({said})") from None
    except (errors.HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise ImgturboError(
                f"{address}: {constants.ENDPOINT} refuses it ({status}); give a token that may do "
                "this (hf auth login, or HF_TOKEN)"
            ) from None
        raise ImgturboError(_said(address, error, constants.ENDPOINT)) from None
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "requests", "huggingface_hub")):
            raise
        raise ImgturboError(_said(address, error, constants.ENDPOINT)) from None


def _said(address: Path | str, error: Exception, endpoint: str) -> str:
    said = next(iter(" ".join(line.split()) for line in str(error).splitlines() if line), "")
    return (
        f"{address}: {endpoint} has not given it ({said[:160] or type(error).__name__}); try again"
    )
