"""Shared settings of the suite: small thread pools, deterministic hypothesis, no network."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "imgturbo",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("imgturbo")

# A developer's copy of the real data, beside the checkout; absent elsewhere.
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    """Real Hubble and Webb files; tests that need them skip where they are absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real Hubble/Webb files are not beside this checkout")
    return REAL_DATA
