"""Fine-tuning from files to a bundle, and what came of it.

    OUT/prepared.zarr   tiles of the user's files, as ``imgturbo prepare`` cuts them
    OUT/tiles.zarr      the same in the bundle's numbers, where those are others
    OUT/checkpoints, …  the run, which goes on where it stopped
    OUT/bundle          the best weights by the held-out score, the start's included
    OUT/finetune.json   both tables, how it was done, what could not be had

Held-out sky chose the weights that it then scores; with a few pairs that flatters them a little. A
field that neither training nor choice has seen says more (``imgturbo evaluate``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.prepare import prepare
from imgturbo.bundle import Bundle, load_bundle, save_bundle
from imgturbo.config import Config, PrepareConfig
from imgturbo.data.choice import open_source
from imgturbo.data.source import Source
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.finetuning.compare import Scored, score_bundle
from imgturbo.finetuning.settings import Given, settings_for
from imgturbo.finetuning.tiles import onto_sides
from imgturbo.losses import CYCLE_SCORES, UNPAIRED_SCORES
from imgturbo.places import free_folder, free_place
from imgturbo.remote import local, readable
from imgturbo.report.progress import task
from imgturbo.sky import open_sky
from imgturbo.training import TrainResult, train

__all__ = ["MARK", "FineTuned", "finetune"]

MARK = (b'"fine-tuned from"',)
"""How ``finetune.json`` is known (:mod:`imgturbo.places`)."""


@dataclass(frozen=True)
class FineTuned:
    """What came of a fine-tuning.

    Attributes:
        bundle: the new bundle's folder; None where a signal stopped the training.
        run: how the training ended.
        before, after: scores on held-out sky; None where it was stopped.
        start: hash of the bundle that was tuned.
    """

    bundle: Path | None
    run: TrainResult
    start: str
    before: Scored | None = None
    after: Scored | None = None

    @property
    def improved(self) -> bool:
        """Whether any weights were better on held-out sky than those that were given."""
        return bool(self.run.best_step)

    @property
    def message(self) -> str:
        """The result in a line or two."""
        if self.bundle is None:
            return self.run.message
        end = f"{self.run.step} steps in {self.run.seconds:.0f} s"
        if not self.improved:
            said = f"nothing was better on held-out sky than the bundle that was given ({end}): "
            return f"{said}the new one has the same weights\nbundle: {self.bundle}"
        return f"best at step {self.run.best_step} of {end}\nbundle: {self.bundle}"

    def content(self) -> dict[str, Any]:
        """What ``finetune.json`` and the bundle's record hold."""
        assert self.before is not None
        assert self.after is not None
        return {
            "fine-tuned from": self.start,
            "improved": self.improved,
            "best_step": self.run.best_step,
            "steps": self.run.step,
            "seconds": round(self.run.seconds, 1),
            "held_out": self.before.samples,
            "before": self.before.content(),
            "after": self.after.content(),
            "notes": list(dict.fromkeys([*self.before.notes, *self.after.notes, *self._worse()])),
        }

    def _worse(self) -> list[str]:
        """Fluxes that are further off than before, which the score that chose did not see."""
        assert self.before is not None
        assert self.after is not None
        old, new = self.before.scores, self.after.scores
        lines = []
        for name in (name for name in new if "/flux_bias/" in name and name in old):
            error = name.replace("flux_bias", "flux_error")
            if abs(new[name]) - abs(old[name]) > 2 * math.hypot(new[error], old[error]):
                lines.append(
                    f"{name.replace('/flux_bias/', ': flux bias ')} went from {old[name]:+.1%} to "
                    f"{new[name]:+.1%}, which the score that chose does not see; more pairs help, "
                    "or a distance of fluxes (objective.distance.x_tilde='{flux: 1}')"
                )
        return lines


def finetune(
    bundle: Bundle,
    out: Path | str,
    source: Sequence[Path | str] = (),
    target: Sequence[Path | str] = (),
    *,
    tiles: Path | str | None = None,
    unpaired: bool = False,
    source_bands: Sequence[str] = (),
    target_bands: Sequence[str] = (),
    source_unit: str = "",
    target_unit: str = "",
    config: Path | str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = True,
) -> FineTuned:
    """Train a bundle on with a few pairs of one's own, so that it cannot get worse on held-out sky.

    The networks, the objective, bands, units, stretches and the pixel scale are the bundle's; the
    files are brought to them. A fifth of the sky is held out, in blocks, as in ``prepare``.

    Args:
        bundle: the start, loaded.
        out: a folder for tiles, run and the new bundle; an interrupted run in it goes on.
        source, target: files of one patch of sky, one a band, or pictures; of a bundle of tables,
            tables; of one that colours pictures, colour pictures.
        tiles: a finished tile store instead of files.
        unpaired: source and target are not the same sky.
        source_bands, target_bands: names of the bands, where headers lie.
        source_unit, target_unit: of files whose headers state none, such as ``"electron/s"``.
        config: YAML laid over the defaults; its ``prepare.fields`` may name more pairs.
        overrides: ``section.key=value``.
        resume: go on with an interrupted run.

    Raises:
        ImgturboError: files that do not fit the bundle, no held-out sky, or what preparing and
            training refuse.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ImgturboError(
            "finetune: runs in one process; for more of them train with what it leaves in "
            "OUT/config.yaml (accelerate launch scripts/train.py OUT/config.yaml)"
        )
    out = Path(out)
    given = Given(
        [readable(path) for path in source],
        [readable(path) for path in target],
        None if tiles is None else local(tiles),
        not unpaired,
        source_bands,
        target_bands,
        source_unit,
        target_unit,
    )
    settings = settings_for(bundle, given, out, config, overrides)
    stores = [path for path in (given.tiles, settings.data.tiles) if path is not None]
    free_folder(out, [*given.source, *given.target], folders=[bundle.path, *stores])
    free_place(out / "finetune.json", mark=MARK)
    store = _tiles(bundle, given, settings)
    _refuse_unscored(store)
    settings = _on(store, settings)
    opened = open_source(settings)
    run = train(settings, resume=resume, source=opened)
    if run.bundle is None:
        return FineTuned(None, run, bundle.hash)
    return _finish(bundle, settings, opened, run)


def _tiles(bundle: Bundle, given: Given, settings: Config) -> TileStore:
    """Tiles in the bundle's numbers, made of what was given."""
    there = given.tiles or settings.data.tiles
    if there is None:
        wish = settings.prepare
        if bundle.target.pixel_scale and wish.pixel_scale is None and _on_the_sky(wish):
            wish = wish.model_copy(update={"pixel_scale": bundle.target.pixel_scale})
        with task("preparing") as progress:
            there = prepare(wish, progress=progress).out
    return onto_sides(TileStore.open(there), bundle, settings.train.out / "tiles.zarr")


def _on(store: TileStore, settings: Config) -> Config:
    """The settings for these tiles; where none is a pair, with a score that needs no pairs.

    Without a score the newest weights would be the best, and could be worse than the first.
    """
    train, both = settings.train, settings.model.encoder is not None
    update: dict[str, object] = {"data": settings.data.model_copy(update={"tiles": store.path})}
    select = train.select or ""
    unpaired = select in CYCLE_SCORES or select.split("/")[-1] in UNPAIRED_SCORES
    if not store.split("validation").paired.any() and not unpaired:
        chosen = next(iter(CYCLE_SCORES)) if both else "mmd"
        update["train"] = train.model_copy(update={"select": chosen})
    return settings.model_copy(update=update)


def _on_the_sky(wish: PrepareConfig) -> bool:
    """Whether the files of the fields have coordinates, of which a pixel scale can be asked."""
    files = [field.target or field.source for field in wish.fields]
    if not files:
        return False
    with open_sky(files[0]) as reader:
        return reader.pixel_scale is not None


def _refuse_unscored(store: TileStore) -> None:
    if not len(store.split("validation")):
        raise ImgturboError(
            f"{store.path}: no sky was held out, so that nobody could tell whether fine-tuning "
            "helps; give more sky, smaller tiles (prepare.tile.size=64) or hold out more "
            "(prepare.split.fraction=0.3)"
        )
    if not len(store.split("train")):
        raise ImgturboError(
            f"{store.path}: no sky is left to train on; give more sky, smaller tiles "
            "(prepare.tile.size=64) or hold out less (prepare.split.fraction=0.1)"
        )


def _finish(bundle: Bundle, settings: Config, source: Source, run: TrainResult) -> FineTuned:
    """Score both, and write the new bundle once more, with the comparison in its record."""
    assert run.bundle is not None
    made = load_bundle(run.bundle)
    before, after = (score_bundle(one, settings, source) for one in (bundle, made))
    result = FineTuned(run.bundle, run, bundle.hash, before, after)
    save_bundle(
        run.bundle,
        decoder=made.decoder,
        encoder=made.encoder,
        config=made.config,
        sides={"source": made.source, "target": made.target},
        record={**made.record, "finetuned": result.content()},
    )
    write_json(run.out / "finetune.json", result.content())
    return result
