"""A ground truth is made once, known again, and says its own noise."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.errors import ImgturboError
from imgturbo.scoring.truth import FLOOR_TARGETS, Asked, GroundTruth, draw_targets, ground_truth
from imgturbo.simulators import Arm, Ballistics, Linear

SMALL = Asked("nearest", targets=12, keep=50, pool=20_000)


def test_it_is_read_as_it_was_made_and_not_made_again(tmp_path, monkeypatch):
    path = tmp_path / "t.safetensors"
    made = ground_truth(Arm(), SMALL, path)
    monkeypatch.setattr("imgturbo.scoring.truth.keep_nearest", None)  # is not asked for again
    read = ground_truth(Arm(), SMALL, path)
    for name in ("parameters", "observed", "draws", "count", "reach", "again"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert (read.problem, read.options, read.asked, read.digest) == (
        made.problem, made.options, made.asked, made.digest,
    )  # fmt: skip
    assert read.simulator().digest == Arm().digest
    assert made.draws.shape == (12, 50, 4)
    assert made.again.shape == (FLOOR_TARGETS, 50, 4)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_targets_are_a_function_of_the_seed_and_are_observed():
    class Dark(Ballistics):
        def observe(self, generator, parameters):
            landed = super().observe(generator, parameters)
            return np.where(parameters[:, :1] < 0, np.nan, landed)

    parameters, observed = draw_targets(Dark(), 30, 5)
    assert np.isfinite(observed).all()
    assert (parameters[:, 0] >= 0).all()
    np.testing.assert_array_equal(parameters, draw_targets(Dark(), 30, 5)[0])
    assert (parameters != draw_targets(Dark(), 30, 6)[0]).any()

    class Black(Ballistics):
        def observe(self, generator, parameters):
            return np.full((len(parameters), 1), np.nan)

    with pytest.raises(ImgturboError, match="ballistics: only 0 of 3000 draws"):
        draw_targets(Black(), 30, 0)


def test_the_floor_is_about_zero_and_the_biased_one_of_the_right_size():
    truth = ground_truth(Linear(), Asked("exact", targets=10, keep=400))
    floor = truth.floor()
    for row in floor.values():
        assert abs(row["unbiased"]) < 0.004
    assert 0.7 < floor["cauchy"]["biased"] / (2 * 3 / 400) < 1  # (k(0) − E k)·2/N, k(0) = 3
    assert np.isnan(truth.reach).all()
    assert truth.complete.all()


def test_another_wish_is_told_from_what_is_there(tmp_path):
    path = tmp_path / "t.safetensors"
    ground_truth(Arm(), SMALL, path)
    other = Asked("nearest", targets=12, keep=50, pool=20_000, seed=1)
    with pytest.raises(ImgturboError, match=r"t\.safetensors: holds another.*arm.*--overwrite"):
        ground_truth(Arm(), other, path)
    made = ground_truth(Arm(), other, path, overwrite=True)
    assert GroundTruth.read(path).digest == made.digest
    # What a method does not use does not tell apart.
    same = Asked("nearest", targets=12, keep=50, pool=20_000, seed=1, tolerance=7.0)
    assert ground_truth(Arm(), same, path).digest == made.digest


@pytest.mark.parametrize("content", [b"", b"not a tensor", b"\x10\0\0\0\0\0\0\0{}              "])
def test_other_files_are_named(tmp_path, content):
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(ImgturboError, match=r"t\.safetensors: .*imgturbo truth") as caught:
        GroundTruth.read(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImgturboError, match="no such file"):
        GroundTruth.read(tmp_path / "none")
    before = path.read_bytes()
    with pytest.raises(ImgturboError):
        ground_truth(Arm(), SMALL, path)
    assert path.read_bytes() == before


def test_what_is_not_known_in_closed_form_is_said():
    with pytest.raises(ImgturboError, match="arm: its posterior is not known"):
        ground_truth(Arm(), Asked("exact", targets=3, keep=5))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("tolerance", 3, 5, tolerance=0.0), "tolerance of 0.0 keeps nothing"),
        (Asked("tolerance", 3, 5, tolerance=float("nan")), "tolerance of nan"),
        (Asked("tolerance", 3, 5, tolerance=float("inf")), "tolerance of inf"),
        (Asked("exact", 3, 5, seed=-1), "a seed of 0 or more"),
        (Asked("nearest", 0, 5), "0 targets.*ask for 1 or more"),
        (Asked("nearest", 10**12, 1000), r"10+ × 1000 draws needs .* are left; ask for fewer"),
    ],
)
def test_what_can_give_no_truth_is_refused_before_any_work(tmp_path, asked, said):
    with pytest.raises(ImgturboError, match=said) as caught:
        ground_truth(Arm(), asked, tmp_path / "t.safetensors")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_arrays_that_do_not_belong_together_are_damage(tmp_path):
    from dataclasses import replace

    path = tmp_path / "t.safetensors"
    made = ground_truth(Arm(), SMALL)
    for change in ({"count": made.count[1:]}, {"again": made.again[:, 1:]}):
        replace(made, **change).write(path)
        with pytest.raises(ImgturboError, match=r"t\.safetensors: is no ground truth, or damaged"):
            GroundTruth.read(path)
