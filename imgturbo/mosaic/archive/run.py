"""All fields of a manifest: by this process and those that share its folder, or on a cluster.

Fields stand on their own: one that fails is noted and the others go on; one whose output is there
is skipped, if it is the one that would be made; one that is half done continues. The same call
started often, on machines that share the folder, divides the fields by itself
(:mod:`imgturbo.mosaic.archive.shares`), without a word between the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.leases import Leases
from imgturbo.mosaic.archive.shares import Share
from imgturbo.mosaic.archive.summary import ManifestSummary, Outcome
from imgturbo.mosaic.archive.work import FAILURES, Log, Progress, Work, failed, names_of
from imgturbo.mosaic.manifest import Field, read_manifest
from imgturbo.team import Team

if TYPE_CHECKING:
    from distributed import Client

    from imgturbo.mosaic.archive.futures import Opener

__all__ = ["translate_manifest"]


def translate_manifest(
    bundle: Bundle,
    manifest: Path | str,
    out_dir: Path | str,
    direction: str = "forward",
    *,
    bands: Sequence[str] | None = None,
    grid: Path | str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    share: Share | str | None = None,
    only_share: bool = False,
    client: Client | Opener | None = None,
    progress: Callable[[str, float], None] | None = None,
    log: Callable[[str], None] | None = None,
    **settings: Unpack[SettingsDict],
) -> ManifestSummary:
    """Translate every field into ``out_dir/NAME.fits``.

    Args:
        bundle: a loaded bundle.
        manifest: the CSV.
        out_dir: made if need be.
        direction, grid, resume: as of `translate_file`.
        bands: names that replace those of the header row.
        overwrite: do finished fields again; of shares, each does its own alone.
        share: where this process begins, of several that share `out_dir`: ``"3/40"`` or ``"auto"``.
        only_share: do not go on with the fields of the other shares.
        client: of a Dask cluster, whose workers then do the work, or what opens one if there is
            any to do (`imgturbo.mosaic.archive.clusters.cluster`); workers must see the files, the
            bundle and `out_dir` under the same paths as this process.
        progress: called with (what, fraction of the whole).
        log: told of each field's flagged pixels, as by `translate_file`.
        settings: see `imgturbo.mosaic.Settings`.

    Raises:
        ImgturboError: the manifest itself, or the folder, cannot be used. A field that cannot is in
            the summary instead.
    """
    Settings(**settings)  # a setting that there is not is no failure of a field
    team = Team.current()
    if client is not None and (share is not None or team.size > 1):
        raise ImgturboError("a cluster divides the fields by itself; leave --share and launchers")
    mine = Share.parse(share) if isinstance(share, str) else share or Share()
    mine = mine.within(team.rank, team.size)
    out_dir = Path(out_dir)
    with team.together():
        fields = read_manifest(manifest)
        with naming(out_dir, "choose another --out-dir", "cannot be made a folder"):
            out_dir.mkdir(parents=True, exist_ok=True)
    if team.size > 1 and settings.get("device") is None:
        settings["device"] = team.device
    names = names_of(bands)
    calibration = bundle.direction(direction).calibration(Settings(**settings))
    work = Work(
        bundle.hash, direction, names, grid, overwrite, resume, out_dir, settings, calibration
    )
    if client is not None:
        from imgturbo.mosaic.archive.futures import on_cluster

        return on_cluster(client, work, bundle, fields, progress, log)
    own, others = mine.divide(fields)
    found = _Process(work, bundle, progress, log).run(own, [] if only_share else others)
    return ManifestSummary.joined(team.gather(found))


class _Process:
    """One process at work on the fields, beside others or alone."""

    def __init__(
        self, work: Work, bundle: Bundle, progress: Progress | None, log: Log | None
    ) -> None:
        self._work, self._bundle = work, bundle
        self._progress, self._log = progress, log
        self._leases = Leases()
        self._found = ManifestSummary()

    def run(self, own: Sequence[Field], others: Sequence[Field]) -> ManifestSummary:
        """Do its own fields, then what others have not begun, then what the dead have left."""
        left: list[tuple[Field, bool]] = []
        for number, entry in enumerate(own):
            if (outcome := self._try(entry, number, len(own))).kind == "busy":
                left.append((entry, True))
            else:
                self._found.add(outcome)
        # Where all is done again, what others have just done could not be told from the rest.
        for entry in () if self._work.overwrite else others:
            if not self._work.out(entry).exists() and self._help(entry, len(own)) == "busy":
                left.append((entry, False))
        for entry, mine in left:
            if mine:
                self._found.add(self._try(entry, len(own) - 1, len(own), wait=True))
            else:
                self._help(entry, len(own), wait=True)
        return self._found

    def _help(self, entry: Field, total: int, wait: bool = False) -> str:
        """Do a field of another share; that one says what others do about it."""
        outcome = self._try(entry, total, total, wait)
        if outcome.kind in ("done", "failed"):
            self._found.add(outcome)
        return outcome.kind

    def _try(self, entry: Field, before: int, total: int, wait: bool = False) -> Outcome:
        def report(what: str, fraction: float) -> None:
            if self._progress is not None:
                whole = min((before + fraction) / max(total, 1), 1.0)
                self._progress(f"{entry.name}: {what}", whole)

        try:
            return self._work.do(
                entry,
                self._bundle,
                self._leases,
                wait=wait,
                progress=report,
                log=self._log,
            )
        except FAILURES as error:
            report("failed", 1.0)
            return failed(entry, error)
