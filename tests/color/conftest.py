"""A colour flow for the tests of this room, with and without a dense backend."""

from __future__ import annotations

import pytest
from color_standins import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("flow") / "bundle")


@pytest.fixture(scope="session")
def dense_bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("dense") / "bundle", dense=True)
