"""Whatever a config says: it is one, or its mistake is one line that names the file and the key."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.config import Config, load_config
from imgturbo.engines import load_settled
from imgturbo.errors import ImgturboError

SCALARS = (
    None, True, False, 0, 1, -1, 3, 7, 0.5, -0.5, 1e308, 10**400, float("inf"), float("nan"),
    "", "x", "no", "1e-3", "é☃", "a\nb", "a\x07", "0x10", b"abc", datetime.date(2020, 1, 1),
    "x_tilde", "critic", "l1", "cinn", "mlp", "hinge",
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*(s for s in SCALARS if isinstance(s, str | int)), "kind"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=4,
)


def places(tree, before=()):
    """Where something stands in a tree of sections and lists."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inner:
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from places(value, (*before, key))


def whole(**sections):
    return yaml.safe_load(Config.model_validate(sections).to_yaml())


TREES = [
    whole(
        prepare={
            "fields": [{"name": "a", "source": ["x.fits"], "register": {}}],
            "pictures": {"files": ["x.png"]},
        },
        model={"encoder": {"kind": "nafnet"}, "critics": {"z": {"kind": "mlp"}}},
        objective={
            "paired": {"x_tilde": 1},
            "marginal": {"x_tilde": {"critic": 1, "mmd": 2}, "z_hat": 1},
            "distance": {"x_tilde": {"l1": 1}},
            "identity": {"x": 1},
        },
        data={"source": {"kind": "prior"}},
    ),
    whole(model={"decoder": {"kind": "cinn", "dense": {}}}),
    whole(model={"decoder": {"kind": "cinn", "condition": {"kind": "zhang"}}}),
    whole(model={"decoder": {"kind": "diffusion"}}),
    whole(model={"decoder": {"kind": "mlp"}}, data={"source": {"kind": "simulator", "name": "a"}}),
]
PLACES = [(tree, place) for tree in TREES for place in places(tree)]


def one_line(error, path):
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 800


@settings(max_examples=400)
@given(
    where=st.sampled_from(range(len(PLACES))),
    value=VALUES,
    as_key=st.booleans(),
)
def test_any_value_anywhere_is_a_config_or_one_line(where, value, as_key, tmp_path_factory):
    tree, place = PLACES[where]
    node = tree = copy.deepcopy(tree)
    for key in place[:-1]:
        node = node[key]
    if as_key and isinstance(node, dict) and isinstance(value, str | int | float):
        node[value] = node.pop(place[-1])
    else:
        node[place[-1]] = value
    path = tmp_path_factory.getbasetemp() / "c.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    try:
        config = load_settled(path)
    except ImgturboError as error:
        one_line(error, path)
    else:
        path.write_text(config.to_yaml())
        assert load_config(path) == config


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: !!int x", "'x' is no int at line 1, column 7"),
        ("train:\n  lr: !!float a", "'a' is no float at line 2, column 7"),
        ("name: 2020-99-99", "'2020-99-99' is no timestamp"),
        ("name: !!timestamp abc", "'abc' is no timestamp"),
        ("seed: " + "9" * 5000, "is no int"),
        ("seed: 010", "010 reads as 8"),
        ("train: {lr: 1:30.5}", "1:30.5 reads as 90.5"),
        ("train: {steps: 1:00:00}", "reads as 3600"),
        ('train: {out: "a\\0b"}', "code 0"),
        ("[" * 5000, "too many"),
        ("{a: " * 5000, "too many"),
        ("seed: *a", "undefined alias"),
        ("seed: &a [*a]", "an alias stands within what it stands for at line 1"),
        ('!!python/object/apply:os.system ["true"]', "could not determine a constructor"),
        ("seed: 3\0", "unacceptable character"),
        ("objective: {r1: .inf}", "objective.r1"),
        ("objective: {signal: .inf}", "objective.signal"),
        ("objective: {mmd_scales: [.inf]}", "objective.mmd_scales.0"),
        ("model: {decoder: {kind: cinn}}\nobjective: {noise: .inf}", "objective.noise"),
        ("objective: {adversarial: wgan-gp, gradient_penalty: .inf}", "gradient_penalty"),
    ],
)
def test_what_yaml_reads_as_something_else_is_named_with_its_place(tmp_path, text, named):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ImgturboError) as caught:
        load_settled(path)
    one_line(caught.value, path)
    assert named in str(caught.value)


def test_numbers_that_only_look_like_octals_stay(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text('name: "010"\nseed: 0x10\ntrain: {lr: 0.05, final_lr: 0, warmup: 0}\n')
    config = load_config(path)
    assert (config.name, config.seed, config.train.lr, config.train.warmup) == ("010", 16, 0.05, 0)


@pytest.mark.parametrize(
    ("objective", "named"),
    [
        ("{paired: {x_tilde: 1}, adversarial: hinge}", "objective.adversarial"),
        ("{paired: {x_tilde: 1}, conditional: true}", "objective.conditional"),
        ("{paired: {x_tilde: 1}, shared_critics: true}", "objective.shared_critics"),
        ("{paired: {x_tilde: 1}, r1: 1}", "objective.r1"),
        ("{paired: {x_tilde: 1}, mmd_scales: [1]}", "objective.mmd_scales"),
        ("{marginal: {x_tilde: 1}, distance: {x_tilde: {l2: 1}}}", "objective.distance.x_tilde"),
        ("{marginal: {x_tilde: 1}, signal: 1}", "objective.signal"),
        ("{paired: {x_tilde: 1}, distance: {x_tilde: {fourier: 1}}, signal: 1}", "signal"),
    ],
)
def test_settings_that_nothing_reads_are_refused(tmp_path, objective, named):
    path = tmp_path / "c.yaml"
    path.write_text(f"objective: {{preset: custom, {objective[1:]}")
    with pytest.raises(ImgturboError, match=named) as caught:
        load_settled(path)
    one_line(caught.value, path)
    assert "leave it out" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.critic={kind: mlp, layers: 2}", "model.critic.layers goes with kind patchgan"),
        ("model.critics.x={kind: patchgan, hidden: [3]}", "model.critics.x.hidden goes with kind"),
        ("train.critic_lr=1", "train.critic_lr"),
    ],
)
def test_a_critic_s_keys_of_another_kind_are_refused(tmp_path, override, named):
    path = tmp_path / "c.yaml"
    path.write_text("objective: {preset: custom, paired: {x_tilde: 1}}")
    with pytest.raises(ImgturboError, match=named):
        load_settled(path, [override])


def aliases(deep: int, wide: int, first: str = "[lol]") -> str:
    """Aliases of aliases: a few hundred bytes that mean wide ** deep values."""
    lines = [f"lol0: &lol0 {first}"]
    lines += [f"lol{i}: &lol{i} [{', '.join([f'*lol{i - 1}'] * wide)}]" for i in range(1, deep)]
    return "\n".join([*lines, f"name: *lol{deep - 1}"])


@pytest.mark.parametrize(
    "text",
    [
        aliases(9, 10),
        aliases(60, 2),
        aliases(6, 6, repr("x" * 10_000)),
        "a0: &a0 {x: 1}\n"
        + "\n".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40)),
    ],
    ids=["wide", "deep", "long", "merged"],
)
def test_aliases_that_mean_more_than_a_config_can_are_refused_before_they_are_made(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ImgturboError, match="more than 200000 values, aliases written out") as bad:
        load_settled(path)
    one_line(bad.value, path)


def test_a_file_that_is_no_config_by_its_length_is_not_read(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("# a line\n" * 500_000)
    with pytest.raises(ImgturboError, match="longer than the 4 MB") as caught:
        load_settled(path)
    one_line(caught.value, path)
    with pytest.raises(ImgturboError, match=r"^a\?b: cannot be read"):
        load_settled(Path("a\0b"))
