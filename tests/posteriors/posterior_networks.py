"""Small networks of every kind, shaken, for the tests of this folder."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch
from shaken import shaken

from imgturbo.config import Config
from imgturbo.engines import build_network, build_trainable, settle

SUMMARY = {"kind": "dense", "hidden": [6], "features": 5}
COUPLINGS = {"blocks": 2, "layers": 1, "width": 8}
KINDS = {
    "flow": {"kind": "flow", **COUPLINGS, "condition": SUMMARY},
    "spline": {"kind": "flow", **COUPLINGS, "law": "spline", "bins": 4, "condition": SUMMARY},
    "mdn": {"kind": "mdn", "components": 3, "hidden": [7], "condition": SUMMARY},
    "flow_matching": {
        "kind": "flow_matching", "width": 8, "blocks": 1, "frequencies": 2, "steps": 4,
        "condition": SUMMARY,
    },
    "augmented_inn": {"kind": "augmented_inn", **COUPLINGS},
    "mixture_inn": {"kind": "mixture_inn", **COUPLINGS, "condition": SUMMARY},
    "labels": {"kind": "mixture_inn", **COUPLINGS, "labels": True, "spread": 1},
    "zuko": {"kind": "zuko", "transforms": 2, "hidden": [8], "condition": SUMMARY},
}  # fmt: skip
WITH_DENSITY = [name for name in KINDS if name != "augmented_inn"]
ONE_COLUMN = ["flow", "spline", "mdn", "flow_matching", "zuko"]


def config(name: str, decoder: dict | None = None, **objective) -> Config:
    tree = {"model": {"decoder": KINDS[name] | (decoder or {})}, "objective": objective}
    return settle(Config.model_validate(tree))


def needs(name: str) -> None:
    if name == "zuko" and importlib.util.find_spec("zuko") is None:
        pytest.skip("the package zuko is not installed")


def network(name: str, columns=3, of=4, size=0.3, **decoder):
    needs(name)
    torch.manual_seed(0)
    section = config(name, decoder).model.decoder
    with warnings.catch_warnings():
        warnings.filterwarnings("error")
        return shaken(build_network(section, columns, of), size)


def trainable(name: str, columns=3, of=4, decoder=None, **objective):
    needs(name)
    torch.manual_seed(0)
    return build_trainable(config(name, decoder, **objective), columns, of)
