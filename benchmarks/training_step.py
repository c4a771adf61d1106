"""What a training step costs, by layout and precision, beside plain PyTorch.

    python -m benchmarks.training_step configs/published/turbo.yaml [--published CHECKOUT]
        [--variants channels_last:no,contiguous:no,contiguous:bf16,auto:auto] [--crop 128]
        [--steps 3] [--json FILE] [KEY=VALUE …]

Each variant LAYOUT:PRECISION[:compile] is the whole step of `imgturbo train`, losses and optimisers
included, on one random batch of the config's size that lies ready in memory. The variants take
turns within one process, step by step, so that other work on the machine meets all of them alike;
the least CPU seconds of each are what counts, beside them the least seconds by the clock. With
``--published`` the step of the published code (``vkinakh/Hubble-meets-Webb``) takes its turn as
well: ``optimize_parameters`` of the model that the config is called after, on the same sizes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState

from imgturbo.config import Config, load_config
from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.data.choice import open_source
from imgturbo.engines import settle
from imgturbo.heap import kept
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.team import Team
from imgturbo.training.loop import _accelerator, _update
from imgturbo.training.processor import settle_precision
from imgturbo.training.signals import StopSignal
from imgturbo.training.state import RunState

VARIANTS = "channels_last:no,contiguous:no,channels_last:bf16,contiguous:bf16"
LAYOUTS: dict[str, bool | str] = {"channels_last": True, "contiguous": False, "auto": "auto"}


def make_store(path: Path, side: int, bands: tuple[int, int], count: int = 16) -> Path:
    """Tiles of noise, 0 to 1, as pictures are."""
    random = np.random.default_rng(0)
    source, target = (
        Side(tuple(f"{name}{k}" for k in range(n)), "", Stretch.linear(n))
        for name, n in zip("zx", bands, strict=True)
    )
    with TileStore.create(path, TileSpec(side, source, target, ("field",), {})) as writer:
        for split in ("train", "validation"):
            z, x = (random.random((count, n, side, side), np.float32) for n in bands)
            valid = np.ones((count, side, side), bool)
            rows = {
                "sky": np.zeros((count, 2)),
                "position": np.zeros((count, 2), np.int32),
                "residual": np.zeros(count, np.float32),
                "field": np.zeros(count, np.int32),
            }
            writer.append(split, Tiles(z, x, valid, valid, **rows))
    return path


def our_step(config: Config, variant: str, stop: StopSignal) -> tuple[Callable[[], None], str]:
    """A step of `imgturbo train` in one variant, and what the variant came to."""
    layout, precision, *more = variant.split(":")
    update = {
        "channels_last": LAYOUTS[layout],
        "precision": precision,
        "compile": "compile" in more,
    }
    config = config.model_copy(update={"train": config.train.model_copy(update=update)})
    source = open_source(config)
    config = settle_precision(settle(config), source, resume=False)
    AcceleratorState._reset_state()
    accelerator = _accelerator(config)
    team = Team(accelerator.process_index, accelerator.num_processes, accelerator.device)
    state = RunState(config, source, accelerator, team)
    batches: Iterator[Any] = itertools.repeat(state.source.batch(0))
    kind = "channels last" if state.channels_last else "contiguous"
    said = f"{variant} ({kind}, {config.train.precision})"

    def step() -> None:
        _update(state, batches, stop)

    return step, said


def published_step(checkout: Path, config: Config, crop: int) -> Callable[[], None]:
    """A step of the published code, on the CPU."""
    for name in ("lpips", "dominate", "visdom", "cv2"):  # imported there, and not used in a step
        sys.modules.setdefault(name, ModuleType(name))
    sys.path.insert(0, str(checkout))
    name = config.name.removeprefix("published_")
    module = {"cyclegan": "cycle_gan", "l2": "pix2pixl2"}.get(name, name)
    models = __import__(f"turbo.models.{module}_model", fromlist=["models"])
    kind = next(
        value for key, value in vars(models).items()
        if key.lower() == f"{module.replace('_', '')}model"
    )  # fmt: skip
    u_net = name in ("pix2pix", "l2")
    options = Namespace(
        gpu_ids=[], isTrain=True, checkpoints_dir="/nowhere", name="x", preprocess="none",
        input_nc=3, output_nc=3, ngf=config.model.decoder.width, ndf=64, direction="AtoB",
        netG="unet_256" if u_net else "resnet_9blocks", netD="basic", n_layers_D=3,
        norm="batch" if u_net else "instance", no_dropout=name in ("cyclegan", "turbo_one_cycle"),
        init_type="normal", init_gain=0.02, gan_mode="vanilla" if u_net else "lsgan", lr=2e-4,
        beta1=0.5, pool_size=50, lambda_A=10.0, lambda_B=10.0, lambda_identity=0.5,
        lambda_estimation=0.0, lambda_LPIPS=0.0, lambda_L1=100.0, lambda_L2=1.0, same_D=False,
        p_flip=0.0, p_noise=0.0, w_noise=0.0, G_threshold=math.inf, D_threshold=-math.inf,
        dataset_mode="space", amp=False,
    )  # fmt: skip
    model = kind(options)
    size = (config.data.batch_size, 3, crop, crop)
    model.set_input(
        {"A": torch.rand(size) * 2 - 1, "B": torch.rand(size) * 2 - 1, "A_paths": [], "B_paths": []}
    )
    return lambda: model.optimize_parameters()


def measured(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, tuple[float, float]]:
    """Least CPU seconds and least seconds of each, in turns, after one round that is not counted.

    The published code runs as it would by itself, without kept memory.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            with kept(name != "published"):
                cpu, wall = time.process_time(), time.perf_counter()
                step()
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if number:
                found[name].append((cpu, wall))
    return {
        name: (min(cpu for cpu, _ in pairs), min(wall for _, wall in pairs))
        for name, pairs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE")
    parser.add_argument("--variants", default=VARIANTS)
    parser.add_argument("--published", type=Path, help="a checkout of the published code")
    parser.add_argument("--crop", type=int, help="side of the crops; left out: the config's")
    parser.add_argument("--bands", type=int, nargs=2, default=(3, 3))
    parser.add_argument("--steps", type=int, default=3, help="rounds that count")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_intermixed_args()
    config = load_config(options.config, options.overrides)
    crop = options.crop or config.data.crop or config.prepare.tile.size
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "tiles", crop, tuple(options.bands))
        data = config.data.model_copy(update={"tiles": store, "crop": None, "pairing": "auto"})
        train = config.train.model_copy(update={"out": Path(folder) / "run", "init": None})
        config = config.model_copy(update={"data": data, "train": train})
        with StopSignal() as stop:
            pairs = [our_step(config, variant, stop) for variant in options.variants.split(",")]
            steps = {said: step for step, said in pairs}
            if options.published:
                steps = {"published": published_step(options.published, config, crop), **steps}
            found = measured(steps, options.steps)
    first = next(iter(found.values()))[0]
    for name, (cpu, wall) in found.items():
        print(f"{options.config.name} {crop}²: {name}: {1e3 * cpu:.0f} ms CPU, "
              f"{1e3 * wall:.0f} ms, {first / cpu:.2f} × the first")  # fmt: skip
    if options.json:
        from imgturbo.files import write_json

        write_json(options.json, {name: list(pair) for name, pair in found.items()})


if __name__ == "__main__":
    main()
