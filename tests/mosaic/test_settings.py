"""One list of settings: for files, images, arrays, manifests, and for the terminal."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import Enum
from typing import get_type_hints

import numpy as np
import pytest
import typer
from small_skies import noise_sky

from imgturbo.bundle import Translation
from imgturbo.bundle.settings import Computing, Settings, SettingsDict
from imgturbo.cli.main import app
from imgturbo.mosaic import translate_sky
from imgturbo.mosaic.reducers import Reduction
from imgturbo.sky import SkyImage

ARRAY = noise_sky(2, 40, 30)


def test_the_dictionaries_are_the_same_list():
    ours = get_type_hints(Settings)
    assert get_type_hints(SettingsDict) == ours
    assert get_type_hints(Computing).items() <= ours.items()
    assert all(field.default is not MISSING for field in fields(Settings))


def test_the_command_line_has_the_same_defaults():
    options = {p.name: p.default for p in typer.main.get_command(app).commands["translate"].params}
    shared = [field for field in fields(Settings) if field.name in options]
    assert {field.name for field in fields(Settings)} - {"batch", "precision"} == {
        field.name for field in shared
    }
    for field in shared:
        given = options[field.name]
        given = given.value if isinstance(given, Enum) else given
        assert (given or None) == (field.default or None), field.name


@pytest.mark.parametrize("call", ["array", "image", "bundle", "file", "manifest"])
def test_a_setting_that_there_is_not_is_named(bundle, tmp_path, call):
    from imgturbo.mosaic import translate_array, translate_file, translate_manifest

    calls = {
        "array": lambda **s: translate_array(bundle.decoder, ARRAY, **s),
        "image": lambda **s: translate_sky(bundle, ARRAY, **s),
        "bundle": lambda **s: bundle.translate(ARRAY, **s),
        "file": lambda **s: translate_file(bundle, "in.fits", tmp_path / "out.fits", **s),
        "manifest": lambda **s: translate_manifest(bundle, "in.csv", tmp_path / "out", **s),
    }
    with pytest.raises(TypeError, match="'smaples'"):
        calls[call](smaples=3)
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize("kind", ["array", "image"])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"samples": 1},
        {"samples": 3},
        {"samples": 4, "quantiles": (0.75, 0.25)},
        {"samples": 2, "quantiles": (0.5,), "keep_draws": True},
    ],
)
def test_whatever_is_asked_for_the_answer_has_one_shape(make_bundle, kind, asked):
    bundle = make_bundle(noise=2)
    given = ARRAY
    if kind == "image":
        side = bundle.source
        given = SkyImage.from_array(
            ARRAY, unit=side.unit, bands=side.names, zeropoints=side.zeropoints
        )
    found = bundle.translate(given, seed=3, **asked)
    assert isinstance(found, Translation)
    assert isinstance(found.mean, SkyImage if kind == "image" else np.ndarray)
    assert (found.std is None) == (asked.get("samples", 1) < 2)
    assert list(found.quantiles) == sorted(asked.get("quantiles", ()))
    assert len(found.draws) == asked.get("samples", 0) * asked.get("keep_draws", False)
    parts = found if kind == "array" else found.map(lambda image: image.data)
    assert parts.mean.dtype == np.float32
    if found.draws:
        mean = np.mean(parts.draws, axis=0, dtype=np.float64)
        np.testing.assert_allclose(parts.mean, mean, rtol=1e-4, atol=1e-6)
        one = bundle.translate(given, seed=3, samples=1)
        first = one.mean if kind == "array" else one.mean.data
        np.testing.assert_allclose(parts.draws[0], first, rtol=1e-4, atol=1e-6)


def test_an_answer_has_every_plane_that_a_file_would_have():
    for reduction in (Reduction(), Reduction(1), Reduction(3, (0.05, 0.5, 0.975), True)):
        answer = reduction.translation({name: name for name in reduction.extensions})
        parts = [answer.mean, answer.std, *answer.quantiles.values(), *answer.draws]
        assert tuple(part for part in parts if part is not None) == reduction.extensions
