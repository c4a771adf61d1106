"""Short forms of the campaigns of damaged tile stores, bundles and checkpoints, in this process."""

from __future__ import annotations

import random
import shutil
import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is not installed

from benchmarks.faults import bundles, checkpoints, tables, tiles
from benchmarks.faults.campaign import Limits, one, report
from benchmarks.faults.edits import JUNK, edit_json
from benchmarks.faults.wholes import Tree
from imgturbo.data import store
from imgturbo.nets import receptive

NO_LIMIT = Limits(seconds=60, growth=4000)  # a busy machine is no defect


@pytest.mark.parametrize(
    ("campaign", "count"), [(tiles, 16), (bundles, 30), (checkpoints, 24), (tables, 60)]
)
def test_damage_is_one_line_and_never_read_as_good(campaign, count, tmp_path, monkeypatch):
    for name in ("_CHUNK_BYTES", "_SHARD_BYTES"):  # which the campaign makes small
        monkeypatch.setattr(store, name, getattr(store, name))
    monkeypatch.setattr(receptive, "_reach", receptive._reach)  # which it remembers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = campaign.build(tmp_path)
        found = [one(campaign, state, 12, number, tmp_path, NO_LIMIT) for number in range(count)]
    assert not [each for each in found if each.defect], report(found)
    assert {"ok", "clean"} == {each.outcome for each in found}


@pytest.mark.parametrize("seed", range(3))
def test_an_edit_is_a_function_of_its_seed(seed):
    def edited() -> tuple[str, object]:
        tree = {"a": [1, {"b": 2.5}], "c": "text"}
        return edit_json(tree, random.Random(seed), junk=[j for j in JUNK if j == j]), tree

    assert edited() == edited()


@pytest.mark.parametrize("linked", ["weights.safetensors", "manifest.json"])
def test_nothing_is_damaged_through_a_link(linked, tmp_path):
    """A link that one harm made must not lead the next one out of the campaign's folder."""
    precious, place = tmp_path / "precious.json", tmp_path / "run" / "checkpoints"
    precious.write_text('{"files": {"weights.safetensors": {}}}')
    for seed in range(60):
        for step in checkpoints.STEPS:
            here = place / f"step-{step:08d}"
            here.mkdir(parents=True, exist_ok=True)
            for name in ("state.json", "weights.safetensors", "manifest.json"):
                (here / name).unlink(missing_ok=True)
                (here / name).write_text('{"files": {}, "a": [1, 2]}')
            (here / linked).unlink()
            (here / linked).symlink_to(precious)
        checkpoints.harm(place, random.Random(seed))
        shutil.rmtree(place)
    assert precious.read_text() == '{"files": {"weights.safetensors": {}}}'


def test_a_folder_is_put_anew_whatever_became_of_it(tmp_path):
    (tmp_path / "whole/a/b").mkdir(parents=True)
    (tmp_path / "whole/empty").mkdir()
    (tmp_path / "whole/a/b/x").write_bytes(b"x")
    (tmp_path / "whole/y").write_bytes(b"y")
    whole, place = Tree.of(tmp_path / "whole"), tmp_path / "place"
    assert whole.names == [Path("a/b/x"), Path("y")]
    for _ in range(2):
        whole.put(place)
        assert Tree.of(place) == whole
        (place / "y").write_bytes(b"damaged")
        (place / "z").write_bytes(b"added")
        shutil.rmtree(place / "a")
        (place / "a").symlink_to(tmp_path / "whole/a")
    assert Tree.of(tmp_path / "whole") == whole
