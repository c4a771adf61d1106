"""What an archive costs beside its pixels: seconds a field, memory of the driver, and scaling.

    python benchmarks/archive.py --fields 10000 --interrupt 300      # whole fields, interrupted
    python benchmarks/archive.py --fields 400 --alone                # and by one process as well
    python benchmarks/archive.py --fields 10000 --hollow             # all but the translation
    python benchmarks/archive.py --fields 12 --size 512 --scaling    # two workers beside one

Fields are noise with a WCS, the network a small one of random weights, so the first figure is the
work around the network. A hollow field is everything that an archive adds to that: its task, its
lease, the look at what is there before and after; its output is a link to one that was made before.
Seconds are of the clock and of the processor: on a machine that does other things too only the
latter mean something. Scaling is of the clock, so there `chrt -r 1` before the command keeps the
others away for some seconds. It counts warm workers, the least of three runs; what it takes until
they are warm (processes, torch, the bundle) stands beside it, and does not grow with the archive.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.bundle import Bundle, load_bundle, save_bundle
from imgturbo.config import Config, UNetConfig
from imgturbo.leases import Leases
from imgturbo.mosaic import Field, read_manifest, translate_manifest
from imgturbo.mosaic.archive.clusters import cluster
from imgturbo.mosaic.archive.futures import on_cluster
from imgturbo.mosaic.archive.summary import Outcome
from imgturbo.mosaic.archive.work import Work
from imgturbo.nets import build_generator
from imgturbo.side import Side
from imgturbo.sky import Stretch

BANDS = ("F606W", "F814W")
_RUNS = 3


def make_bundle(folder: Path, width: int) -> Path:
    """A network of random weights, of two bands to two."""
    config = Config()
    config.model.decoder = UNetConfig(width=width, depth=1, blocks=1)
    torch.manual_seed(0)
    network = build_generator(config.model.decoder, 2, 2)
    stretch = Stretch(np.zeros(2), np.full(2, 0.1), np.full(2, 3.0))
    side = Side(BANDS, "electron/s", stretch, pixel_scale=0.05, zeropoints=(26.0, 26.0))
    sides = {"source": side, "target": side}
    record = {"steps": 0}
    save_bundle(folder, decoder=network, encoder=None, config=config, sides=sides, record=record)
    return folder


def make_fields(folder: Path, count: int, size: int) -> Path:
    """A manifest of `count` fields, each of its own files (hard links to a few)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [214.9, 52.9]
    wcs.wcs.crpix, wcs.wcs.cdelt = [size / 2, size / 2], [-0.05 / 3600, 0.05 / 3600]
    rng, rows = np.random.default_rng(0), ["field," + ",".join(BANDS)]
    for band in BANDS:
        cards = wcs.to_header()
        cards["FILTER"], cards["BUNIT"], cards["ABZP"] = band, "electron/s", 26.0
        plane = rng.normal(0.02, 0.03, (size, size)).astype(np.float32)
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(plane, cards, name="SCI")]
        fits.HDUList(hdus).writeto(folder / f"{band}.fits")
    for k in range(count):
        names = [f"in/f{k:05d}_{band}.fits" for band in BANDS]
        for name, band in zip(names, BANDS, strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            os.link(folder / f"{band}.fits", folder / name)
        rows.append(f"f{k:05d},{','.join(names)}")
    (folder / "fields.csv").write_text("\n".join(rows) + "\n")
    return folder / "fields.csv"


def run(words: list[str], stop_after: float | None = None) -> dict[str, float | str]:
    """A command, its seconds and its peak memory; interrupted after some seconds if asked for."""
    began, peak = time.monotonic(), 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = "import sys; from imgturbo.cli.main import main\nif __name__ == '__main__': main()"
    command = [sys.executable, "-c", program, "translate", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        own, stopped = psutil.Process(child.pid), False
        while child.poll() is None:
            try:
                peak = max(peak, own.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            if stop_after is not None and not stopped and time.monotonic() - began > stop_after:
                child.send_signal(signal.SIGINT)
                stopped = True
            time.sleep(0.2)
        said = child.communicate()[0].strip().rpartition("\n")[2]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "status": child.returncode,
        "said": said,
        "wall_s": round(time.monotonic() - began, 1),
        "processor_s": round(used, 1),
        "driver_MB": round(peak / 1e6, 1),
    }


class Hollow(Work):
    """A field without its translation."""

    def do(self, entry: Field, bundle: Bundle, leases: Leases, **_: Any) -> Outcome:
        """Claim it, look twice, link a ready output; as `Work.do` does around the translation."""
        if (before := self.finished(entry)) is not None:
            return before
        lease = leases.take(self.out(entry), wait=True)
        assert lease is not None
        with lease:
            if (before := self.finished(entry)) is not None:
                return before
            os.link(self.out_dir.parent / "ready" / "f00000.fits", self.out(entry))
        return Outcome(entry.name, "done")


def hollow(folder: Path, count: int, workers: int, size: int, width: int) -> None:
    """Print what `count` hollow fields cost: interrupted in the middle, continued, and again."""
    bundle = load_bundle(make_bundle(folder / "bundle", width))
    manifest = make_fields(folder, 1, size)
    translate_manifest(bundle, manifest, folder / "ready", device="cpu")
    row = manifest.read_text().splitlines()[1].partition(",")[2]
    rows = [f"f{k:05d},{row}" for k in range(count)]
    manifest.write_text("\n".join(["field," + ",".join(BANDS), *rows]) + "\n")
    fields, out = read_manifest(manifest), folder / "out"
    out.mkdir()
    work = Hollow(bundle.hash, "forward", None, None, False, True, out, {"device": "cpu"})
    own = psutil.Process()

    def show(what: str, stop_at: float) -> None:
        def progress(_: str, fraction: float) -> None:
            if fraction >= stop_at:
                raise KeyboardInterrupt

        began, used = time.monotonic(), time.process_time()
        with contextlib.suppress(KeyboardInterrupt):
            on_cluster(client, work, bundle, fields, progress, None)
        figures = {
            "run": what,
            "outputs": sum(name.endswith(".fits") for name in os.listdir(out)),
            "wall_s": round(time.monotonic() - began, 1),
            "driver_processor_s": round(time.process_time() - used, 1),
            "driver_MB": round(own.memory_info().rss / 1e6, 1),
        }
        print(json.dumps(figures), flush=True)

    with cluster("local", workers) as client:
        show("begun", 1 / count)
        show("interrupted", 0.5)
        show("continued", 2.0)
        show("again", 2.0)
    left = [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert not left, left


def scaling(folder: Path, count: int, workers: int, size: int, width: int) -> None:
    """Print the seconds of the same fields with one warm worker and with several."""
    bundle = load_bundle(make_bundle(folder / "bundle", width))
    manifest = make_fields(folder, count, size)
    best: dict[int, float] = {}
    for number in (1, workers):
        began, runs = time.monotonic(), []
        with cluster("local", number) as client:
            for what in range(1 + _RUNS):
                out = folder / f"{number}-{what}"
                summary = translate_manifest(bundle, manifest, out, client=client, device="cpu")
                runs.append(round(time.monotonic() - began, 2))
                began = time.monotonic()
        best[number] = min(runs[1:])
        figures = {"workers": number, "fields": len(summary.done), "wall_s": runs[1:]}
        print(json.dumps({**figures, "cold_s": runs[0]}), flush=True)
    print(json.dumps({"ratio": round(best[1] / best[workers], 2)}), flush=True)


def main() -> None:
    """Print a line of JSON a run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fields", type=int, default=400)
    parser.add_argument("--size", type=int, default=64, help="side of a field, pixels")
    parser.add_argument("--width", type=int, default=8, help="of the network")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--interrupt", type=float, default=60.0, help="seconds until Ctrl-C")
    parser.add_argument("--alone", action="store_true", help="in one process too, no scheduler")
    parser.add_argument("--hollow", action="store_true", help="fields without their translation")
    parser.add_argument("--scaling", action="store_true", help="1 and more workers, nothing else")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.hollow or given.scaling:
            measure = hollow if given.hollow else scaling
            return measure(folder, given.fields, given.workers, given.size, given.width)
        bundle = make_bundle(folder / "bundle", given.width)
        manifest = make_fields(folder, given.fields, given.size)
        words = ["--bundle", str(bundle), "--manifest", str(manifest), "--device", "cpu"]

        def show(what: str, *more: str, stop_after: float | None = None) -> None:
            figures = run([*words, *more], stop_after)
            made = sum(name.endswith(".fits") for name in os.listdir(more[1]))
            print(json.dumps({"run": what, "outputs": made} | figures), flush=True)

        local = ("--scheduler", "local", "--jobs", str(given.workers))
        out = ("--out-dir", str(folder / "out"))
        show("interrupted", *out, *local, stop_after=given.interrupt)
        show("continued", *out, *local)
        show("again", *out, *local)
        made = sorted(path.name for path in (folder / "out").iterdir())
        assert made == [f"f{k:05d}.fits" for k in range(given.fields)], "something is left over"
        if given.alone:
            show("one process", "--out-dir", str(folder / "plain"))


if __name__ == "__main__":
    main()
