"""Exporting gives a new bundle, and leaves the old one and its networks as they are."""

from __future__ import annotations

import pytest
import torch
from color_standins import make_bundle
from safetensors.torch import load_file

from imgturbo.bundle import export, load_bundle
from imgturbo.errors import ImgturboError


def weights(bundle):
    return [parameter.clone() for parameter in bundle.decoder.parameters()]


def test_half_of_a_bundle_is_half_its_size_and_says_where_it_is_from(tmp_path):
    given = make_bundle(tmp_path / "given")
    whole, half = export(given, tmp_path / "whole"), export(given, tmp_path / "half", half=True)
    assert whole.hash == given.hash != half.hash
    assert 0.4 < half.bytes / whole.bytes < 0.7
    again = load_bundle(half.path)
    assert (again.hash, again.record["exported_from"]) == (half.hash, given.hash)
    assert str(half) == f"{half.path}: {half.hash}, {half.bytes / 1e6:.2f} MB of weights"


def test_moving_towards_another_moves_neither(tmp_path):
    one, other = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", shake=0.2)
    before = weights(one), weights(other)
    made = export(one, tmp_path / "c", toward=other, share=0.25)
    for bundle, kept in zip((one, other), before, strict=True):
        assert all(map(torch.equal, weights(bundle), kept))
    for a, b, c in zip(*before, weights(load_bundle(made.path)), strict=True):
        torch.testing.assert_close(c, 0.75 * a + 0.25 * b)


def test_a_bundle_is_not_written_over_itself(tmp_path):
    given = make_bundle(tmp_path / "given")
    with pytest.raises(ImgturboError, match="is the bundle itself; name another folder"):
        export(given, tmp_path / "." / "given")
    assert load_bundle(tmp_path / "given").hash == given.hash


def test_half_of_a_flow_still_inverts_itself(tmp_path):
    """Orthogonal matrices stay what they are; rounded ones leave errors of 1e-2."""
    given = make_bundle(tmp_path / "given", shake=0.05)
    half = load_bundle(export(given, tmp_path / "half", half=True).path)
    flow = half.decoder.flow
    x = torch.randn(2, flow.channels, 16, 16)
    y = torch.randn(2, flow.condition_channels, 16 * flow.scale, 16 * flow.scale)
    with torch.no_grad():
        latents, _ = flow(x, y)
        assert (flow.inverse(latents, y) - x).abs().max() < 1e-4
    stored = load_file(half.path / "decoder.safetensors")
    matrices = {name for name in stored if name.endswith(".matrix")}
    assert matrices
    assert all((t.dtype == torch.float32) == (name in matrices) for name, t in stored.items()
               if t.is_floating_point())  # fmt: skip
