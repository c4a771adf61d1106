"""Where an output may go: one rule, for every command and every function that writes.

An output never takes the place of an input of the same job, under whatever name, and never goes
into a folder that the job reads. It takes the place of a file that is there already only if a job
of the same kind has made that file, as its own first bytes say (:data:`Mark`), or if the user says
so (``--overwrite``). What is in the way is named before any work, and is as it was.

    free_place(out, inputs=[…], mark=SCORES, overwrite=…)      a file
    free_folder(out, inputs=[…])                               a folder that grows or is replaced
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.remote import is_remote, refuse_remote

__all__ = ["Mark", "free_folder", "free_place", "is_within", "made_so"]

Mark = Sequence[bytes]
"""What stands, all of it, in the first bytes of whatever a kind of job has made."""

Inputs = Sequence[Path | str | None]
_HEAD = 1 << 16
OVERWRITE = "choose another name, or --overwrite"


def free_place(
    out: Path | str,
    inputs: Inputs = (),
    folders: Inputs = (),
    *,
    mark: Mark | None = None,
    overwrite: bool = False,
    remedy: str = OVERWRITE,
) -> None:
    """Refuse a place where a file must not be written.

    Args:
        out: the file.
        inputs: files that the job reads; those that are None or not there are none.
        folders: which it reads: bundles, tile stores.
        mark: of files that the job may replace, since one like it made them.
        overwrite: replace whatever file is there.
        remedy: what to do about a file that is in the way.

    Raises:
        ImgturboError: it is an input or lies in one; it is a folder; it exists.
    """
    refuse_remote(out)
    out = Path(out)
    with naming(out, "choose another name", "cannot be written"):
        _refuse_inputs(out, inputs, folders)
        if out.is_dir():
            raise ImgturboError(f"{out}: is a folder; name a file in it")
        if overwrite or not (out.exists() or out.is_symlink()):
            return
        if mark is None:
            raise ImgturboError(f"{out}: exists already; {remedy}")
        if not made_so(out, mark):
            raise ImgturboError(f"{out}: exists, and this command did not make it; {remedy}")


def free_folder(
    out: Path | str, inputs: Inputs = (), folders: Inputs = (), *, replaced: bool = False
) -> None:
    """Refuse a folder that must not be written into, or that must not be replaced.

    Args:
        out: the folder.
        inputs, folders: as of :func:`free_place`.
        replaced: whether all that it holds makes way.

    Raises:
        ImgturboError: it is an input or lies in one; it is a file; it holds an input and would be
            replaced.
    """
    refuse_remote(out)
    out = Path(out)
    given = _here((*inputs, *folders))
    with naming(out, "choose another name", "cannot be written"):
        _refuse_inputs(out, inputs, folders)
        if out.exists() and not out.is_dir():
            raise ImgturboError(f"{out}: is a file; name a folder")
        held = next((path for path in given if replaced and is_within(path, out)), None)
        if held is not None:
            raise ImgturboError(f"{out}: holds {held}, which is read; choose another name")


def made_so(path: Path, mark: Mark) -> bool:
    """Whether a file begins as those do that a kind of job has made."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return all(part in head for part in mark)


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder, or lies in it, links followed."""
    if not folder.is_dir():
        return False
    whole = path.absolute()
    return any(place.exists() and place.samefile(folder) for place in (whole, *whole.parents)) or (
        path.exists() and folder.resolve() in path.resolve().parents
    )


def _here(paths: Inputs) -> list[Path]:
    """Those on this machine: no output can meet one at an address."""
    return [Path(path) for path in paths if path is not None and not is_remote(path)]


def _refuse_inputs(out: Path, inputs: Inputs, folders: Inputs) -> None:
    for path in _here((*inputs, *folders)):
        if path.exists() and out.exists() and path.samefile(out):
            raise ImgturboError(f"{out}: is one of the inputs; choose another name")
    for path in _here(folders):
        if is_within(out, path):
            raise ImgturboError(f"{out}: lies in {path}, which is read; choose another place")
