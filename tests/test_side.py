"""Laws of Side: JSON and back, the keys that bundles and stores have always had."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.side import Side
from imgturbo.sky.bijection import Bijection
from imgturbo.sky.stretch import Stretch

names = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=5, unique=True)
numbers = st.floats(-1e6, 1e6)


@st.composite
def sides(draw):
    given_names = tuple(draw(names))
    n = len(given_names)
    kind = draw(st.sampled_from(["image", "table", "latent"]))
    maps = st.sampled_from([Bijection(), Bijection("log", -2.0), Bijection("angle", -3.0, 3.5)])
    before = (
        st.just([]) if kind == "image" else st.just([]) | st.lists(maps, min_size=n, max_size=n)
    )
    stretch = Stretch(
        np.array(draw(st.lists(numbers, min_size=n, max_size=n))),
        np.array(draw(st.lists(st.floats(1e-6, 1e6) | st.just(np.inf), min_size=n, max_size=n))),
        np.array(draw(st.lists(st.floats(1e-6, 1e6), min_size=n, max_size=n))),
        tuple(draw(before)),
    )
    return Side(
        given_names,
        draw(st.sampled_from(["", "MJy/sr", "electron/s"])),
        stretch,
        kind,
        draw(st.none() | st.floats(1e-3, 10)),
        tuple(draw(st.lists(st.none() | st.floats(-99, 99), min_size=n, max_size=n))),
    )


@given(sides())
def test_json_and_back(side):
    assert Side.from_dict(json.loads(json.dumps(side.to_dict()))) == side


@given(sides())
def test_an_image_has_the_keys_of_version_0_1_0(side):
    keys = ["bands", "unit", "pixel_scale", "zeropoints", "stretch"]
    assert [k for k in side.to_dict() if k != "kind"] == keys
    assert ("kind" in side.to_dict()) == (side.kind != "image")


def test_what_old_files_leave_out_is_unknown():
    side = Side.from_dict({"bands": ["A"], "unit": None, "stretch": Stretch.linear(1).to_dict()})
    assert (side.unit, side.pixel_scale, side.zeropoints, side.kind) == ("", None, (None,), "image")


@pytest.mark.parametrize(
    "wrong",
    [{"stretch": Stretch.linear(3)}, {"zeropoints": (1.0,)}, {"kind": "sound"}],
)
def test_what_makes_no_side_is_refused(wrong):
    with pytest.raises(ValueError, match="side"):
        Side(**({"names": ("A", "B"), "unit": "", "stretch": Stretch.linear(2)} | wrong))


WHOLE = Side(("A", "B"), "nJy", Stretch.linear(2), pixel_scale=0.04, zeropoints=(25.0, None))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("bands",), "AB"),
        (("bands",), ["A"]),
        (("bands",), []),
        (("bands", 0), None),
        (("unit",), 3),
        (("kind",), "sound"),
        (("pixel_scale",), -0.04),
        (("pixel_scale",), float("nan")),
        (("pixel_scale",), True),
        (("zeropoints", 0), float("inf")),
        (("zeropoints", 0), 1e6),
        (("stretch",), None),
        (("stretch", "offset", 0), "0"),
        (("stretch", "scale", 0), 0.0),
        (("stretch", "scale", 0), float("nan")),
        (("stretch", "softening", 0), -1.0),
        (("stretch", "softening", 0), "none"),
        (("stretch", "scale"), [1.0]),
        (("stretch", "before"), [{"kind": "square"}]),
        (("stretch", "before"), [{"kind": "logit", "low": 1.0, "high": 1.0}]),
        (("stretch", "before"), [{"kind": "log", "low": float("nan")}]),
        (("stretch", "before"), [{"kind": "log"}, {"kind": "log"}]),
        (("stretch", "before"), [{"kind": "log"}]),
    ],
)
def test_what_describes_no_side_is_refused_by_its_key(keys, value):
    content = WHOLE.to_dict()
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    with pytest.raises(ValueError, match=rf"{keys[0]}|make no side|a band|bijection"):
        Side.from_dict(content)


def test_columns_have_units_of_their_own():
    table = Side(("E", "angle"), "", Stretch.linear(2), kind="table", units=("GeV", "rad"))
    assert table.to_dict()["units"] == ["GeV", "rad"]
    assert Side.from_dict(table.to_dict()) == table
    alike = Side(("E", "m"), "GeV", Stretch.linear(2), kind="table")
    assert alike.units == ("GeV", "GeV")
    assert "units" not in alike.to_dict()  # what earlier versions wrote, and hashed
    with pytest.raises(ValueError, match="2 names and 1 units make no side"):
        Side(("E", "m"), "", Stretch.linear(2), units=("GeV",))
