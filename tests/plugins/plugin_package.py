"""A tiny package of someone else's, as pip leaves one: modules, and metadata with entry points."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
"""A generator, a simulator and two readers."""
from typing import Literal

import numpy as np
import torch
from torch import nn

from imgturbo.config import NetworkConfig
from imgturbo.engines import eight_terms
from imgturbo.nets import Generator
from imgturbo.side import Side
from imgturbo.simulators import Simulator
from imgturbo.sky.readers import ImageFile
from imgturbo.sky.stretch import Stretch
from imgturbo.tables.reader import Block, Column, TableReader


class BlurConfig(NetworkConfig):
    """One convolution."""

    kind: Literal["blur"] = "blur"
    width: int = 3
    """Side of its kernel."""


class Blur(Generator):
    def __init__(self, config, in_channels, out_channels):
        super().__init__(in_channels, out_channels)
        self.far = config.width // 2
        self.layer = nn.Conv2d(in_channels, out_channels, config.width, padding=self.far)

    def forward(self, u, noise=None):
        return self.layer(u)

    def reach(self):
        return self.far


blur = eight_terms(BlurConfig, Blur)


class Coin(Simulator):
    name = "coin"

    def __init__(self, **options):
        super().__init__(**options)
        self.parameters = Side(("p",), "", Stretch.linear(1), kind="table")
        self.observations = Side(("heads",), "", Stretch.linear(1), kind="table")

    def prior(self, generator, n):
        return generator.normal(size=(n, 1))

    def observe(self, generator, parameters):
        return parameters + generator.normal(size=parameters.shape)


class Npy(ImageFile):
    """numpy's own format, (C, H, W)."""

    def __init__(self, path):
        self.path = path
        self.data = np.load(path, allow_pickle=False)
        self.bands = tuple(f"B{k}" for k in range(len(self.data)))
        self.shape = self.data.shape[1:]
        self.unit = "MJy/sr"

    def read(self, band, rows, cols):
        return self.data[band, rows, cols]

    def close(self):
        pass


class Words(TableReader):
    """Numbers between blanks, under a line of names."""

    def __init__(self, path):
        self.path, self.meta = path, {}
        lines = path.read_text().split("\\n")
        self.columns = {name: Column(name, "GeV", np.dtype(float)) for name in lines[0].split()}
        self.rows = np.array([[float(w) for w in line.split()] for line in lines[1:] if line])

    @property
    def length(self):
        return len(self.rows)

    def _read(self, numbers, kept, rows, typed):
        own = list(self.columns)
        for first in range(0, len(self.rows), rows):
            part = self.rows[first : first + rows]
            yield Block(first, part[:, [own.index(n) for n in numbers]],
                        {n: part[:, own.index(n)] for n in kept})

    def types(self, names):
        return dict.fromkeys(names, np.dtype(float))

    def close(self):
        pass
'''

ENTRIES = {
    "imgturbo.generators": {"blur": "tinysky:blur"},
    "imgturbo.simulators": {"coin": "tinysky:Coin"},
    "imgturbo.readers": {"npy": "tinysky:Npy", "words": "tinysky:Words"},
}


def install(
    folder: Path,
    name: str = "tinysky",
    entries: dict[str, dict[str, str]] | None = None,
    module: str = MODULE,
) -> Path:
    """Lay a package into a folder, which then belongs on ``sys.path``."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = []
    for group, points in (ENTRIES if entries is None else entries).items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder
