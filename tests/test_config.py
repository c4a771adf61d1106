"""Laws of the configuration: every shipped file loads, and every mistake is named in one line."""

from pathlib import Path

import pytest
import yaml

from imgturbo.config import Config, load_config
from imgturbo.config.section import Section
from imgturbo.engines import load_settled, settle
from imgturbo.errors import ImgturboError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("**/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_shipped_config_loads_and_survives_a_round_trip(path, tmp_path):
    for config in (load_config(path), load_settled(path)):
        copy = tmp_path / "copy.yaml"
        copy.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
        assert load_config(copy) == config
    assert settle(config) == config


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stepz=3", ["train.stepz", "'steps'"]),
        ("trian.steps=3", ["'trian'", "'train'"]),
        ("model.decoder.widht=3", ["'model.decoder.widht'", "'width'"]),
        ("model.decoder.unet=3", ["'model.decoder.unet'", "did you mean"]),
        ("model.encoder={kind: resnet, widht: 3}", ["'model.encoder.widht'", "'width'"]),
        (
            "model.decoder={kind: cinn, condition: {kind: convnext, widht: 3}}",
            ["'model.decoder.condition.widht'", "'width'"],
        ),
        (
            "model.decoder={kind: cinn, stages: [{}, {blocks: few}]}",
            ["model.decoder.stages.1.blocks: ", "few"],
        ),
        ("prepare.register.metod=none", ["prepare.register.metod", "'method'"]),
        ("train.steps=-1", ["train.steps", "-1"]),
        ("train.steps=many", ["train.steps", "many"]),
        ("objective.marginal={x_tilde: much}", ["objective.marginal.x_tilde:", "much"]),
        ("objective.marginal={x_tilde: {mmd: much}}", ["objective.marginal.x_tilde.mmd:", "much"]),
        ("objective.marginal={x_tilda: 1}", ["objective.marginal.x_tilda", "'x_tilde'"]),
        ("objective.mmd_scales=[0.1, 0]", ["objective.mmd_scales.1", "0"]),
        ("model.critics.y={kind: mlp}", ["model.critics.y", "valid keys"]),
        ("model.critics.z={widht: 4}", ["model.critics.z.widht", "'width'"]),
        ("train.steps", ["section.key=value"]),
        ("train.steps.more=1", ["'steps'", "not a section"]),
        ("prepare.fields=[{name: a}]", ["'a'", "neither"]),
        ("prepare.fields=[{name: a, sorce: [b]}]", ["sorce", "'source'"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, override, words):
    path = tmp_path / "c.yaml"
    path.write_text("train: {steps: 10}\nmodel: {decoder: {kind: unet}}\n")
    with pytest.raises(ImgturboError) as caught:
        load_config(path, [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("content", "word"), [(None, "no such"), ("a: [", "not valid YAML"), ("- 1", "mapping")]
)
def test_unreadable_files_are_named(tmp_path, content, word):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ImgturboError, match=word) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_overrides_replace_what_the_file_says(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("train: {steps: 10, lr: 0.5}\n")
    config = load_config(
        path, ["train.steps=20", "model.decoder={kind: resnet, blocks: 3}", "seed=4"]
    )
    assert (config.train.steps, config.train.lr, config.seed) == (20, 0.5, 4)
    assert config.model.decoder.kind == "resnet"


def test_tiles_default_to_what_prepare_writes():
    assert Config().tiles == Config().prepare.out
    assert Config.from_overrides(["data.tiles=x.zarr"]).tiles == Path("x.zarr")


@pytest.mark.parametrize("word", ["no", "'no'", "bf16"])
def test_no_is_a_precision_and_not_yaml_s_false(word):
    config = load_config(CONFIGS[0], [f"train.precision={word}"])
    assert config.train.precision == word.strip("'")


@pytest.mark.parametrize("section", Section.__subclasses__(), ids=lambda s: s.__name__)
def test_every_key_is_described_by_the_docstring_below_it(section):
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name} has no docstring"
        assert field.description.endswith("."), f"{section.__name__}.{name}: {field.description}"


def test_a_marginal_term_is_kept_as_it_was_written():
    """A bare number, as configs and checkpoints before the mixes have it, or a mix."""
    written = {"x_tilde": 1, "z_tilde": {"critic": 1, "mmd": 1e-2}, "x_hat": "1e-3"}
    config = Config.model_validate({"objective": {"marginal": written}})
    dumped = config.model_dump(mode="json")
    assert dumped["objective"]["marginal"] == written | {"x_hat": 1e-3}
    assert Config.model_validate(dumped) == config


@pytest.mark.parametrize(
    "text",
    [
        "train: {lr: 1.0e-3, steps: 50}\ndata: {batch_size: 4}\ntrain: {out: runs/x}\n",
        "data:\n  crop: 16\n  crop: 16\n",
        "model: {decoder: {kind: unet, width: 3, kind: unet}}\n",
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(
        ImgturboError, match=r"the key '\w+' of line \d stands again at line"
    ) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImgturboError, match=r"the key 'lr' of line 1 stands again at line 1"):
        Config.from_overrides(["train={lr: 1, lr: 2}"])


def test_what_an_anchor_brings_may_be_replaced(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "model:\n  encoder: &net {kind: unet, width: 3}\n  decoder: {<<: *net, width: 5}\n"
    )
    model = load_config(path).model
    assert (model.encoder.width, model.decoder.width) == (3, 5)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.lr=yes", "train.lr: YAML reads yes"),
        ("train.steps=true", "train.steps: YAML reads"),
        ("train.betas=[on, 0.9]", "train.betas: YAML reads"),
        ("objective.paired={x_tilde: yes}", "objective.paired: YAML reads"),
        ("model.decoder={kind: unet, width: on}", "model.decoder.width: YAML reads"),
        ("data.crop=no", "data.crop: YAML reads"),
        ("train.betas=[1.5, 2]", "train.betas.0"),
        ("train.betas=[0.5, 1]", "train.betas.1"),
        ("train.lr=.inf", "train.lr"),
        ("train.ema=.nan", "train.ema"),
        ("model.critic.hidden=[0]", "model.critic.hidden.0"),
        ("model.decoder={kind: mlp, hidden: [-1]}", "model.decoder.hidden.0"),
        ("prepare.tile.stride=-5", "prepare.tile.stride"),
        ("train.critic_steps=0", "train.critic_steps"),
    ],
)
def test_truth_values_and_numbers_out_of_bounds_are_refused(override, named):
    with pytest.raises(ImgturboError) as caught:
        Config.from_overrides([override])
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truth_values_stay_where_they_belong():
    config = Config.from_overrides(["train.compile=yes", "train.lr=1e-3", "train.steps=5"])
    assert (config.train.compile, config.train.lr, config.train.steps) == (True, 1e-3, 5)


def test_a_shipped_config_is_found_from_any_folder_and_never_before_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/demo.yaml").name == "demo"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text("name: mine\n")
    assert load_config("configs/demo.yaml").name == "mine"
    with pytest.raises(ImgturboError, match=r"configs/none.yaml: no such config file"):
        load_config("configs/none.yaml")
    with pytest.raises(ImgturboError, match="no such config file"):
        load_config("demo.yaml")
