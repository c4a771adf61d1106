"""Which source a config asks for; the one place that asks for its kind."""

from __future__ import annotations

from imgturbo.config import Config
from imgturbo.data.loader import StoreSource
from imgturbo.data.observed import ObservationSource
from imgturbo.data.online import SimulatorSource
from imgturbo.data.prior import PriorSource
from imgturbo.data.source import Source
from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError

__all__ = ["open_source"]


def open_source(config: Config, rank: int = 0, world: int = 1) -> Source:
    """Open what a config trains on: a tile store, a prior or an operator beside one, a simulator.

    Args:
        config: its ``data`` section, its seed, and where its tiles are.
        rank, world: this process, and how many there are.

    Raises:
        ImgturboError: no such tiles or simulator, or wishes that the data cannot fulfil.
    """
    wish, data, seed = config.data.source, config.data, config.seed
    if wish is not None and wish.kind == "simulator":
        return SimulatorSource(wish, data, seed, rank, world)
    store = TileStore.open(config.tiles)
    if wish is None:
        return StoreSource(store, data, seed, rank, world)
    if wish.kind == "observation":
        encoder = config.model.encoder
        if encoder is None or not encoder.physical:
            raise ImgturboError(
                "'data.source.kind: observation' makes z by the physical encoder, which the "
                "config has not; set model.encoder: {kind: operator, operator: …}"
            )
        return ObservationSource(wish, store, data, seed, rank, world)
    return PriorSource(wish, store, data, seed, rank, world)
