"""What one pass costs beside the published inference, with the same network on the same pixels.

    python -m benchmarks.smacs0723.cost BUNDLE [--size 512] [--stride 8] [--batch 1] [--json FILE]

A part of the strip, SIZE pixels wide and at most as high, is translated twice: by the published
procedure (:mod:`.sliding`: windows of 256 pixels, stride 8, one at a time, flat average) and by
``imgturbo`` (exact windows, each pixel once, plus the halo where there are several). Evaluations
are counted as they happen, seconds are measured, the strip's own cost is then a count of windows.
Both results are compared with Webb.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.smacs0723.field import Strip, add_work, guarded, load_strip
from benchmarks.smacs0723.run import device_name
from benchmarks.smacs0723.sliding import STRIDE, WINDOW, counting, sliding_translate
from imgturbo.bundle import Bundle, load_bundle
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.metrics import psnr
from imgturbo.mosaic import translate_array

__all__ = ["measure"]


def measure(
    bundle: Bundle, strip: Strip, size: int = 512, stride: int = STRIDE, batch: int = 1
) -> dict[str, Any]:
    """Passes a pixel, seconds and PSNR of both ways, and their ratios.

    Raises:
        ImgturboError: a part smaller than the published window.
    """
    height, width = min(size, strip.size[0]), min(size, strip.size[1])
    if min(height, width) < WINDOW:
        raise ImgturboError(f"a part of {height} × {width} has no window of {WINDOW}; take more")
    first = (strip.size[1] - width) // 2
    part = (slice(0, height), slice(first, first + width))
    flux = strip.source.data[:, *part]
    given = bundle.source.stretch(flux).astype(np.float32)
    given = np.nan_to_num(given)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder: Any = bundle.decoder
    translate_array(decoder, given[:, :WINDOW, :WINDOW], device=device)  # loads what loads once
    ways = {
        "one_pass": lambda: translate_array(decoder, given, device=device).mean,
        "published": lambda: sliding_translate(
            decoder, given, stride=stride, batch=batch, device=device
        ),
    }
    facts: dict[str, Any] = {
        "device": device_name(device),
        "part": [height, width],
        "window": WINDOW,
        "stride": stride,
        "batch": batch,
    }
    outputs = {}
    for name, way in ways.items():
        with counting(decoder) as tally:
            started = time.monotonic()
            outputs[name] = way()  # ends on the CPU: the device has finished
            seconds = time.monotonic() - started
        facts[name] = {
            "passes": tally.passes(height, width),
            "seconds": seconds,
            "psnr": _psnr(bundle, outputs[name], strip, part),
        }
    for quantity in ("passes", "seconds"):
        facts[f"ratio_{quantity}"] = facts["published"][quantity] / facts["one_pass"][quantity]
    facts["largest_difference"] = float(np.abs(outputs["one_pass"] - outputs["published"]).max())
    return facts


def _psnr(bundle: Bundle, y: NDArray[np.float32], strip: Strip, part: tuple[slice, slice]) -> float:
    flux = bundle.target.stretch.inverse(y).astype(np.float32)
    valid = np.ascontiguousarray(strip.valid[part])
    truth = np.where(valid, strip.target.data[:, *part], 0)
    pred, target = (torch.from_numpy(u)[None] for u in (flux, truth))
    return float(psnr(pred, target, torch.from_numpy(valid)[None, None]))


def main() -> None:
    parser = argparse.ArgumentParser(description="One pass beside the published procedure.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--size", type=int, default=512, help="side of the part, pixels")
    parser.add_argument("--stride", type=int, default=STRIDE, help="of the published windows")
    parser.add_argument("--batch", type=int, default=1, help="windows at once; published: 1")
    parser.add_argument("--json", type=Path, help="write the figures here")
    add_work(parser)
    options = parser.parse_args()
    strip = load_strip(options.work)
    facts = measure(load_bundle(options.bundle), strip, options.size, options.stride, options.batch)
    for name in ("one_pass", "published"):
        way = facts[name]
        print(
            f"{name:<10}{way['passes']:>8.2f} passes a pixel  {way['seconds']:>8.2f} s  "
            f"PSNR {way['psnr']:.2f} dB"
        )
    print(
        f"{facts['part'][0]} × {facts['part'][1]} pixels on {facts['device']}: the published "
        f"procedure takes {facts['ratio_passes']:.0f} × the passes and "
        f"{facts['ratio_seconds']:.0f} × the time"
    )
    if options.json:
        write_json(options.json, facts)


if __name__ == "__main__":
    guarded(main)
