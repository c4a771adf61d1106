"""How much memory and time `imgturbo report` takes by the size of the field.

    python -m benchmarks.report_memory --out DIR [--sizes 2048 4096] [--bands 1 3]

A field is painted (stars and galaxies, some 300 a million pixels, the same in every 512²), with
noise of its own in truth, prediction and source image, and written as FITS files, one a band. Then
`imgturbo report PREDICTION --truth … --source …` runs in a process of its own, whose memory is
looked at every twentieth of a second. What is anonymous is the program's own; what is of files are
pages of scratch files and libraries, which the system can take back. The libraries are in all of
it: a report on 256² says how much that is.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter

TILE, NOISE, SCALE, ZERO = 512, 0.02, 0.04, 28.0
BANDS = ("F115W", "F150W", "F277W", "F356W", "F444W")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 2048, 4096])
    parser.add_argument("--bands", type=int, nargs="+", default=[1, 3])
    arguments = parser.parse_args()
    for size in arguments.sizes:
        for bands in arguments.bands:
            print(json.dumps(measured(arguments.out, size, bands)), flush=True)


def measured(out: Path, size: int, bands: int) -> dict[str, float]:
    """One report; its seconds and its memory in GB, at most."""
    folder = out / f"{size}_{bands}"
    files = {
        role: painted(folder / role, size, bands, role) for role in ("truth", "source", "made")
    }
    made = folder / "prediction.fits"
    planes = [fits.getdata(path) for path in files["made"]]
    header = fits.getheader(files["made"][0])
    hdus = [fits.PrimaryHDU()]
    for band, plane in zip(BANDS, planes, strict=False):
        hdus.append(fits.ImageHDU(plane, header, name="SCI", ver=len(hdus)))
        hdus[-1].header["FILTER"] = band
    fits.HDUList(hdus).writeto(made, overwrite=True)
    del planes, hdus
    command = [sys.executable, "-m", "imgturbo", "report", str(made), "--overwrite", "--out"]
    command.append(str(folder / "report"))
    for role in ("truth", "source"):
        command += [word for path in files[role] for word in (f"--{role}", str(path))]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    most = {"RssAnon": 0.0, "RssFile": 0.0, "VmHWM": 0.0}
    while child.poll() is None:
        for name, value in status(child.pid).items():
            most[name] = max(most[name], value)
        time.sleep(0.05)
    if child.returncode:
        raise SystemExit(child.stderr.read() if child.stderr else "the report failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = folder / "report" / "report.html"
    return {
        "pixels_a_side": size,
        "bands": bands,
        "own_gb": round(most["RssAnon"], 2),
        "of_files_gb": round(most["RssFile"], 2),
        "peak_gb": round(most["VmHWM"], 2),
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
        "page_mb": round(page.stat().st_size / 1e6, 2),
    }


def status(process: int) -> dict[str, float]:
    """Of a running process, in GB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    words = {line.split(":")[0]: line.split() for line in lines}
    shared = float(words["RssShmem"][1]) if "RssShmem" in words else 0.0
    found = {
        name: float(words[name][1]) for name in ("RssAnon", "RssFile", "VmHWM") if name in words
    }
    if "RssFile" in found:
        found["RssFile"] += shared
    return {name: value / 1e6 for name, value in found.items()}


def painted(folder: Path, size: int, bands: int, role: str) -> list[Path]:
    """Files of one role, a band each."""
    folder.mkdir(parents=True, exist_ok=True)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [10.0, -5.0], [size / 2, size / 2]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    number = {"truth": 1, "source": 2, "made": 3}[role]
    random = np.random.default_rng(number)
    tile = _tile(blur=1.8 if role == "source" else 1.3)
    noise = {"truth": 1.0, "source": 2.0, "made": 0.3}[role] * NOISE
    paths = []
    for band in BANDS[:bands]:
        repeat = -(-size // TILE)
        plane = np.tile(tile, (repeat, repeat))[:size, :size]
        plane += noise * random.standard_normal(plane.shape, np.float32)
        hdu = fits.PrimaryHDU(plane, wcs.to_header())
        name = band if role != "source" else f"{band[:-1]}N"
        hdu.header["FILTER"], hdu.header["BUNIT"], hdu.header["ABZPT"] = name, "nJy", ZERO
        paths.append(folder / f"{band}.fits")
        hdu.writeto(paths[-1], overwrite=True)
    return paths


def _tile(blur: float) -> np.ndarray:
    random = np.random.default_rng(0)
    image = np.zeros((TILE, TILE), np.float32)
    galaxies = np.zeros((TILE, TILE), np.float32)
    for of in (image, galaxies):
        places = random.integers(16, TILE - 16, (40, 2))
        of[places[:, 0], places[:, 1]] += 10 ** random.uniform(0, 2.5, 40)
    return gaussian_filter(image, blur) + gaussian_filter(galaxies, np.hypot(3.0, blur))


if __name__ == "__main__":
    main()
