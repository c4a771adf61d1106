"""Samples a second from tiles, beside those that a network trained on ready ones asks for.

    python -m benchmarks.loading CONFIG [--tiles STORE] [--bands 2 3] [--batches 40] [KEY=VALUE …]

The batches are those that `imgturbo train` reads: rows drawn at random, cut, moved by symmetries.
Without ``--tiles`` a store of noise is written first. Read are they by the training's own thread
(``data.workers`` 0) and by one that reads ahead; beside it stands the step on one batch that lies
ready in memory. Reading is no bottleneck where its seconds are few beside the step's: read ahead
they cost nothing at all on a free core. CPU seconds are counted, least of three rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.training_step import make_store, measured, our_step
from imgturbo.config import load_config
from imgturbo.data.batch import Batch
from imgturbo.data.choice import open_source
from imgturbo.engines import settle
from imgturbo.training.signals import StopSignal


def reading(batches: Iterator[Batch], count: int) -> tuple[float, float]:
    """CPU seconds and seconds a batch, the least of three rounds."""
    rounds = []
    next(batches)
    for _ in range(3):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(count):
            next(batches)
        rounds.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in rounds) / count, min(wall for _, wall in rounds) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE")
    parser.add_argument("--tiles", type=Path, help="a store; left out: noise")
    parser.add_argument("--bands", type=int, nargs=2, default=(3, 3))
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_intermixed_args()
    config = load_config(options.config, options.overrides)
    with tempfile.TemporaryDirectory() as folder:
        tiles = options.tiles
        if tiles is None:
            side = config.prepare.tile.size
            tiles = make_store(Path(folder) / "tiles", side, tuple(options.bands), 64)
        data = config.data.model_copy(update={"tiles": tiles})
        train = config.train.model_copy(update={"out": Path(folder) / "run", "init": None})
        config = settle(config.model_copy(update={"data": data, "train": train}))
        size = config.data.batch_size
        for workers in (0, 1):
            source = open_source(config)
            source.workers = workers
            cpu, wall = reading(source.iterate(), options.batches)
            print(f"{options.config.name}: {workers} reading ahead: {1e3 * cpu:.2f} ms CPU, "
                  f"{1e3 * wall:.2f} ms a batch; {size / cpu:.0f} samples/s of CPU")  # fmt: skip
        with StopSignal() as stop:
            step, said = our_step(config, "auto:auto", stop)
            cpu, wall = measured({said: step}, 2)[said]
        print(f"{options.config.name}: step, {said}: {1e3 * cpu:.1f} ms CPU, {1e3 * wall:.1f} ms; "
              f"{size / cpu:.1f} samples/s of CPU")  # fmt: skip


if __name__ == "__main__":
    main()
