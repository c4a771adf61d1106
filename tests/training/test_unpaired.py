"""Scores without pairs: formulas, masks, several processes, and what may select by them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from training_standins import make_tiles, tiny

from imgturbo.data.batch import Batch
from imgturbo.errors import ImgturboError
from imgturbo.metrics.frechet import FeatureMoments
from imgturbo.team import Team
from imgturbo.training import train
from imgturbo.training.unpaired import UnpairedScores, _Moments, squared_mmd
from imgturbo.turbo.divergences import kernel

ALONE = Team(0, 1, torch.device("cpu"))


class Times(nn.Module):
    """u ↦ factor · u."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, u, noise=None):
        return self.factor * u


def batch(seed=0, n=5, paired=False):
    torch.manual_seed(seed)
    z, x = torch.randn(2, n, 2, 6, 7).unbind()
    valid = torch.rand(2, n, 1, 6, 7) < 0.8
    index = torch.arange(n)
    return Batch(z, x, *valid.unbind(), torch.full((n,), paired), index, index)


NETWORKS = {"decoder": Times(1.5), "encoder": Times(0.5)}


def test_the_psnr_of_what_comes_back_is_that_of_all_valid_pixels():
    scores = UnpairedScores(NETWORKS, None)
    batches = [batch(0), batch(1, n=3)]
    for number, one in enumerate(batches):
        scores.update(one, number)
    found = scores.scores(ALONE)
    for name, space in (("direct/psnr", "x"), ("reverse/psnr", "z")):
        pixels = torch.cat(
            [getattr(b, space)[getattr(b, f"{space}_valid").expand(-1, 2, -1, -1)] for b in batches]
        )
        error = float((0.25 * pixels).square().mean())  # 1.5 · 0.5 = 1 − 0.25
        assert found[name] == pytest.approx(-10 * math.log10(error), abs=1e-4)


def test_mmd_is_its_formula_and_falls_where_distributions_agree():
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 3).unbind()
    total, scales = 0.0, (0.05, 0.2, 0.9)
    for i in range(4):
        for j in range(4):
            if i != j:
                for u, v, share in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
                    d = float((u[i] - v[j]).square().sum()) / 3
                    total += share * sum(h * h / (h * h + d) for h in scales)
    assert float(squared_mmd(a, b)) == pytest.approx(total / 12, rel=1e-6)
    same = torch.stack([squared_mmd(*torch.randn(2, 30, 3).unbind()) for _ in range(200)])
    assert abs(float(same.mean())) < 3 * float(same.std()) / 200**0.5
    moved = squared_mmd(torch.randn(300, 3), torch.randn(300, 3) + 1)
    assert float(moved) > 5 * float(same.std())
    assert kernel(a, a, scales).diagonal().allclose(torch.full((4,), 3.0, dtype=torch.float64))


def test_holes_are_no_clue():
    """Outputs equal to the data elsewhere: only what both measured is compared."""
    one = batch(3, n=40)
    one = replace(one, z=one.x.roll(1, 0), z_valid=one.x_valid.roll(1, 0))
    scores = UnpairedScores({"decoder": Times(1.0)}, None)
    scores.update(one, 0)
    clean = scores.scores(ALONE)["forward/mmd"]
    spoiled = UnpairedScores({"decoder": Times(1.0)}, None)
    dirty = torch.where(one.x_valid, one.x, 99.0), torch.where(one.z_valid, one.z, -99.0)
    spoiled.update(replace(one, x=dirty[0], z=dirty[1]), 0)
    assert spoiled.scores(ALONE)["forward/mmd"] == pytest.approx(clean, abs=1e-6)


def test_pairs_are_not_scored_so_unless_it_is_asked_for():
    quiet, asked = (UnpairedScores(NETWORKS, select) for select in ("forward/psnr", "direct/psnr"))
    for scores in (quiet, asked):
        scores.update(batch(paired=True), 0)
    assert quiet.scores(ALONE) == {}
    assert {"direct/psnr", "reverse/psnr", "forward/mmd", "backward/mmd"} == set(
        asked.scores(ALONE)
    )
    alone = UnpairedScores({"decoder": Times(1.0)}, None)
    alone.update(batch(), 0)
    assert set(alone.scores(ALONE)) == {"forward/mmd"}


def test_sums_of_features_are_their_mean_and_covariance():
    ours, theirs = _Moments(), FeatureMoments()
    for seed in range(3):
        torch.manual_seed(seed)
        features = torch.randn(4, 5)
        ours.update(features)
        theirs.update(features)
    mean, covariance = ours.fitted()
    assert torch.allclose(mean, theirs.mean)
    assert torch.allclose(covariance, theirs.covariance)


def test_a_run_without_pairs_may_select_by_them(tmp_path):
    config = tiny(tmp_path, make_tiles(tmp_path / "t", paired=False), select="direct/psnr", steps=8)
    config = config.model_copy(
        update={"objective": config.objective.model_copy(update={"preset": "cyclegan"})}
    )
    result = train(config)
    assert set(result.scores) >= {"direct/psnr", "reverse/psnr", "forward/mmd", "backward/mmd"}
    assert all(map(math.isfinite, result.scores.values()))


def test_what_cannot_select_is_refused(tmp_path, monkeypatch):
    tiles = make_tiles(tmp_path / "t")
    one_way = tiny(tmp_path, tiles, select="direct/psnr")
    one_way.objective.preset = "pix2pix"
    with pytest.raises(ImgturboError, match=r"no score 'direct/psnr'.*forward/mmd"):
        train(one_way)

    def missing(images):
        from imgturbo.metrics.perceptual import Unavailable

        raise Unavailable("skipped: install the extra")

    monkeypatch.setattr("imgturbo.training.unpaired.frechet_features", missing)
    with pytest.raises(ImgturboError, match=r"train.select forward/frechet: .*install the extra"):
        train(tiny(tmp_path, tiles, select="forward/frechet"))
