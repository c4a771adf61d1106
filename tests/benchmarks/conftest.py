"""The benchmark's folder as its own preparation leaves it, on a small made-up field."""

from __future__ import annotations

import pytest
from smacs0723_standins import HEIGHT, ROWS, make_work

from benchmarks.smacs0723 import field
from imgturbo.config import load_config


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A field of 96 × 83 pixels whose last 61 rows are the strip."""
    real = load_config

    def smaller(path, overrides=()):
        config = real(path, overrides)
        if path.name == "smacs0723.yaml":
            config.prepare.split.rows = (ROWS - HEIGHT, ROWS)
        return config

    monkeypatch.setattr(field, "load_config", smaller)
    return make_work(tmp_path / "work")


@pytest.fixture
def strip(work):
    return field.load_strip(work)
