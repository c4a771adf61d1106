"""Draws, noise and sources that were put in: what was planted is what is said."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from trust_standins import BANDS, NOISE, SIZE, fluxes_of, painted, places, sky

from imgturbo.errors import ImgturboError
from imgturbo.scoring.trust.drawn import against_truth, look_at_draws, reliability
from imgturbo.scoring.trust.nulls import blank, injected
from imgturbo.scoring.trust.scene import bring_together
from imgturbo.scoring.trust.sources import catalogue_of

WHERE = places()
FLUXES = fluxes_of(len(WHERE))
FLUXES = np.maximum(FLUXES, 5.0)  # all of them well above the noise


def noisy(image, seed, noise=NOISE):
    return image + noise * np.random.default_rng(seed).normal(size=image.shape)


@pytest.fixture(scope="module")
def uncertain():
    """Each source of the prediction exists with a probability of its own, in truth and draws."""
    random = np.random.default_rng(3)
    probable = random.choice([0.1, 0.5, 0.9], len(WHERE))
    exists = random.random(len(WHERE)) < probable
    scene = bring_together(
        sky(painted(WHERE, FLUXES), 0.3 * NOISE, 5), sky(painted(WHERE[exists], FLUXES[exists]))
    )
    draws = []
    for seed in range(8):
        there = random.random(len(WHERE)) < probable
        draws.append(noisy(painted(WHERE[there], FLUXES[there]), 100 + seed))
    _, found = catalogue_of(scene)
    return scene, found, draws


def test_existence_is_reliable_where_draws_are(uncertain):
    scene, found, draws = uncertain
    drawn = look_at_draws(scene, found, draws)
    rows = reliability(drawn.exists, found)
    assert sum(row["n"] for row in rows) == len(found)
    assert rows[0]["to"] == 0.2
    assert rows[-1]["to"] == 1.0
    for row in rows:
        assert row["from"] <= row["said"] <= row["to"]
    # Of few draws the share is a coarse estimate of the probability, and drawn to the mean by it:
    # in the middle it is what it says, and it rises from end to end.
    middle = [row for row in rows if row["from"] == 0.4]
    assert abs(middle[0]["real"] - middle[0]["said"]) < 3 * middle[0]["error"] + 0.05
    assert rows[0]["real"] < 0.3
    assert rows[-1]["real"] > 0.75


def test_the_deviation_is_that_of_the_draws(uncertain):
    scene, found, draws = uncertain
    drawn = look_at_draws(scene, found, iter(draws))
    np.testing.assert_allclose(drawn.std, np.std(draws, axis=0, ddof=1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("spread", "covered"), [(1.0, 0.5), (0.5, 0.28)])
def test_ranks_and_patches_tell_a_right_spread_from_a_small_one(spread, covered):
    base = painted(WHERE, FLUXES)
    scene = bring_together(sky(base, 0.0), sky(base, NOISE, 7))
    _, found = catalogue_of(scene)
    draws = [noisy(base, 50 + seed, spread * NOISE) for seed in range(12)]
    said = against_truth(scene, look_at_draws(scene, found, draws))
    for band in BANDS:
        rows = said["bands"][band]
        assert rows["coverage"]["0.5"] == pytest.approx(covered, abs=0.03)
        assert sum(rows["ranks"]) == said["patches"] * 64
        assert rows["crps"]["error"] < 0.05 * rows["crps"]["value"]
    tarp = np.array([said["tarp"]["level"], said["tarp"]["coverage"]])
    apart = np.abs(tarp[0] - tarp[1]).max()
    assert (apart < 0.08) == (spread == 1.0)


def test_one_draw_has_no_ranks(uncertain):
    scene, found, draws = uncertain
    assert against_truth(scene, look_at_draws(scene, found, draws[:1])) is None


def scene_of(noise):
    """A sky whose source image and truth are alike: what is put in comes out."""
    base = painted(WHERE[::4], FLUXES[::4])
    seen = sky(base, noise, 3)
    return bring_together(seen, sky(base, noise, 8), seen)


def test_injected_sources_are_found_down_to_the_noise():
    depths = {}
    for noise in (NOISE, 2 * NOISE):
        scene, rows = scene_of(noise), []
        for seed in range(3):  # one has some seventy sources, too few for a depth
            found = injected(scene, lambda image: image, 2.5, (24.0, 31.0), seed)
            assert found["placed"] > 60
            for kind in ("stars", "galaxies"):
                of_kind = found[kind]["completeness"]
                assert of_kind[0]["share"] == 1.0
                assert of_kind[-1]["share"] < 0.3
                rows += of_kind
        share = sum(row["n"] * row["share"] for row in rows) / sum(row["n"] for row in rows)
        depths[noise] = 7 * share  # magnitudes are flat over seven
    assert 0.3 < depths[NOISE] - depths[2 * NOISE] < 1.2  # 2.5 log 2 = 0.75


def test_a_translator_without_light_finds_none_of_them():
    scene = scene_of(NOISE)
    dark = sky(np.zeros((2, SIZE, SIZE)), NOISE, 9)
    found = injected(scene, lambda image: dark, 2.5, (24.0, 31.0))
    assert {row["share"] for row in found["stars"]["completeness"]} == {0.0}
    assert found["stars"]["complete_to"] is None


def test_injected_sources_need_zero_points():
    scene = scene_of(NOISE)
    bare = replace(scene.images["source"], zeropoints=(None, None))
    scene = replace(scene, images={**scene.images, "source": bare})
    with pytest.raises(ImgturboError, match="no AB zero point"):
        injected(scene, lambda image: image, 2.5, (24.0, 31.0))


def test_what_is_made_of_noise_is_counted():
    scene = scene_of(NOISE)
    more = painted(WHERE[1::40], np.full((len(WHERE[1::40]), 2), 8.0))

    def inventing(image):
        # As a translation says it of any image of noise; nobody is to be told so of a null test.
        warnings.warn("source.fits: its sky is not the training's: …", stacklevel=1)
        return replace(image, data=(image.data + more).astype(np.float32))

    honest, inventive = (blank(scene, f) for f in (lambda image: image, inventing))
    for band in BANDS:
        assert honest["noise"][band]["value"] < 1 / scene.area
        planted = len(WHERE[1::40]) / scene.area
        assert inventive["noise"][band]["value"] == pytest.approx(planted, rel=0.2)
