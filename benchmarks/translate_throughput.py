"""What a mosaic costs: resident memory, and throughput beside the bare network's.

    python benchmarks/translate_throughput.py [--size 4096] [--tall 16384] [--json FILE]

A single-band FITS mosaic is made on the fly and translated, file to file, with the network of
configs/demo.yaml in a process of its own, whose peak resident memory the system reports; again for
a mosaic four times as tall. The bare network then runs on windows of the size that the translator
chose, before and after in the same process, without reading, halos, stretches or writing, twice:

    plain   as any loop in PyTorch calls it, the C library giving memory back after each layer
    kept    with the memory kept, as the translator does (imgturbo.heap)

    ratio = (pixels of the mosaic / s, start to finish) / (pixels of the window / s, bare)
    bound = pixels of the mosaic / pixels of all windows, halos included

Goals: ratio to the plain loop at least 0.95 for tall and wide ones, the larger mosaic's peak at
most 10 % higher.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"
STRIP = 512  # rows written at a time when the mosaic is made


def make_mosaic(path: Path, height: int, width: int) -> None:
    """Noise with bright pixels, written strip by strip."""
    import numpy as np

    from imgturbo.sky import SkySpec, SkyWriter

    random = np.random.default_rng(0)
    spec = SkySpec((1, height, width), ("F814W",), unit="electron/s")
    with SkyWriter(path, spec) as writer:
        for top in range(0, height, STRIP):
            strip = random.normal(0.01, 0.02, (1, min(STRIP, height - top), width))
            strip[random.random(strip.shape) < 1e-3] += 10
            writer.write(strip, slice(top, top + strip.shape[1]), slice(0, width))


def make_bundle(path: Path) -> None:
    """The demo's decoder for one band, with its first weights: speed does not depend on them."""
    import numpy as np

    from imgturbo.bundle import save_bundle
    from imgturbo.config import load_config
    from imgturbo.nets import build_generator
    from imgturbo.side import Side
    from imgturbo.sky import Stretch

    config = load_config(CONFIG)
    stretch = Stretch(np.array([0.01]), np.array([0.06]), np.array([5.0]))
    save_bundle(
        path,
        decoder=build_generator(config.model.decoder, 1, 1),
        encoder=None,
        config=config,
        sides={
            "source": Side(("F814W",), "electron/s", stretch),
            "target": Side(("F150W",), "electron/s", stretch),
        },
        record={},
    )


def measure(bundle: Path, mosaic: Path, out: Path, bare_calls: int) -> dict[str, Any]:
    """In this process: the bare network, the translation, the bare network again.

    The load of a shared machine changes; the mean of before and after is nearer to what the
    translation met, and the ratio in CPU seconds hardly depends on it. The peak is noted before the
    second round; the first one, on windows that the translation uses as well, cannot raise it.
    """
    import torch

    from imgturbo.bundle import load_bundle
    from imgturbo.bundle.settings import Settings
    from imgturbo.heap import kept
    from imgturbo.mosaic import translate_file
    from imgturbo.mosaic.layout import prepare
    from imgturbo.sky import open_sky

    with open_sky(mosaic) as reader:
        _, height, width = reader.shape
    loaded = load_bundle(bundle)
    generator: Any = loaded.decoder
    apply, layout = prepare(generator, height, width, Settings())
    side = max(window.shape for window in layout.windows)
    facts: dict[str, Any] = {"mosaic": [height, width], "idle_bytes": peak_bytes()}

    def bare(keep: bool) -> tuple[float, float]:
        """Seconds and CPU seconds a pixel."""
        u = torch.randn(layout.batch, 1, *side).to(memory_format=torch.channels_last)
        with torch.inference_mode(), kept(keep):
            apply.generator(u)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(bare_calls):
                apply.generator(u)
            count = bare_calls * u.numel()
            return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count

    before = bare(False), bare(True)
    wall, cpu = time.perf_counter(), time.process_time()
    translate_file(loaded, mosaic, out)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    facts["peak_bytes"] = peak_bytes()
    after = bare(False), bare(True)
    (plain_wall, plain_cpu), (kept_wall, kept_cpu) = (
        [(a + b) / 2 for a, b in zip(*pair, strict=True)]
        for pair in zip(before, after, strict=True)
    )
    pixels = height * width
    computed = sum(window.shape[0] * window.shape[1] for window in layout.windows)
    return facts | {
        "seconds": seconds,
        "pixels_per_second": pixels / seconds,
        "window": list(side),
        "windows": len(layout.windows),
        "batch": layout.batch,
        "bare_pixels_per_second": 1 / plain_wall,
        "bound": pixels / computed,
        "ratio": pixels * plain_wall / seconds,
        "cpu_ratio": pixels * plain_cpu / cpu_seconds,
        "kept_ratio": pixels * kept_wall / seconds,
        "kept_cpu_ratio": pixels * kept_cpu / cpu_seconds,
        "threads": torch.get_num_threads(),
    }


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_child(bundle: Path, mosaic: Path, out: Path, bare_calls: int) -> dict[str, Any]:
    """`measure` in a fresh process, so that nothing done here counts."""
    command = [sys.executable, __file__, "--child", str(bundle), str(mosaic), str(out)]
    done = subprocess.run(
        [*command, "--calls", str(bare_calls)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=4096, help="side of the square mosaic")
    parser.add_argument("--tall", type=int, default=16384, help="long side of the others; 0: none")
    parser.add_argument("--calls", type=int, default=6, help="calls of the bare network")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        bundle, mosaic, out = options.child
        print(json.dumps(measure(bundle, mosaic, out, options.calls)))
        return
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        make_bundle(bundle)
        sizes = {
            "square": (options.size, options.size),
            "tall": (options.tall, options.size),
            "wide": (options.size, options.tall),
        }
        for name, (height, width) in sizes.items():
            if height and width:
                mosaic = Path(folder) / f"{name}.fits"
                make_mosaic(mosaic, height, width)
                facts = in_child(bundle, mosaic, mosaic.with_name("out.fits"), options.calls)
                mosaic.unlink()
                mosaic.with_name("out.fits").unlink()
                figures[name] = facts
                print(
                    f"{name} {height} x {width}: peak {facts['peak_bytes'] / 1e9:.2f} GB "
                    f"(idle {facts['idle_bytes'] / 1e9:.2f}), {facts['seconds']:.0f} s, "
                    f"{facts['pixels_per_second'] / 1e6:.3f} Mpx/s; bare network on "
                    f"{facts['window'][0]} x {facts['window'][1]} windows "
                    f"{facts['bare_pixels_per_second'] / 1e6:.3f} Mpx/s; "
                    f"ratio to the plain loop {facts['ratio']:.3f} (in CPU seconds "
                    f"{facts['cpu_ratio']:.3f}), to one that keeps memory "
                    f"{facts['kept_ratio']:.3f} ({facts['kept_cpu_ratio']:.3f}); "
                    f"halos alone: {facts['bound']:.3f}"
                )
    if len(figures) == 3:
        growth = figures["tall"]["peak_bytes"] / figures["square"]["peak_bytes"] - 1
        print(f"the tall one peaks {100 * growth:+.1f} %")
    if options.json:
        from imgturbo.files import write_json

        write_json(options.json, figures)


if __name__ == "__main__":
    main()
