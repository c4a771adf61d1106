"""Is the light of a translation right? Fluxes of the sources of several simulated skies together.

    python -m benchmarks.known_skies --bundle demo/run/bundle [--fields 6] [--seed 300] [--out DIR]

The demo judges fluxes in one field, in which a bin has as few as four sources. Here more fields of
the same kind, which no training saw, are simulated, registered, translated and judged together, and
two without a source.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import load_config
from imgturbo.config.shipped import config_path
from imgturbo.demos.skies import Sky, align
from imgturbo.mosaic import translate_file
from imgturbo.report.tables import known_sky_table
from imgturbo.scoring.known_sky import KnownSky, fluxes_of_known, made_up

STARS = 100.0  # a square arcmin, as the demo's field of fluxes has
EMPTY = 2  # fields without sources, for what is made up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--fields", type=int, default=6)
    parser.add_argument("--seed", type=int, default=300, help="of the first field")
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--out", type=Path, help="keep the skies here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = judge(arguments, load_bundle(arguments.bundle), arguments.out or Path(folder))
    known_sky_table(found)
    print(json.dumps(found))


def judge(arguments: argparse.Namespace, bundle: Bundle, out: Path) -> dict[str, Any]:
    """What is made up in empty fields, and the light of all others together."""
    config = load_config(config_path("demo.yaml")).prepare
    seeds = range(arguments.seed, arguments.seed + arguments.fields + EMPTY)
    full = [
        Sky(f"sky-{n}", arguments.pixels, n, star_density=STARS, noiseless=True)
        for n in seeds[: arguments.fields]
    ]
    none = [
        Sky(f"sky-{n}", arguments.pixels, n, star_density=0, density=0, cluster=False)
        for n in seeds[arguments.fields :]
    ]
    pairs = {sky.name: sky.simulate(out, 0) for sky in (*full, *none)}
    aligned = align(config, pairs, [*full, *none], out)
    predictions = {
        name: translate_file(bundle, [files["source"]], out / f"{name}.fits", overwrite=True)
        for name, files in aligned.items()
    }
    empty = [made_up(predictions[sky.name], aligned[sky.name]["target"]) for sky in none]
    skies = [
        KnownSky(predictions[sky.name], list(pairs[sky.name].noiseless), pairs[sky.name].truth)
        for sky in full
    ]
    bands = bundle.source.names
    invented = {band: sum(one[band] for one in empty) / len(empty) for band in empty[0]}
    return {"made_up": invented, **fluxes_of_known(skies, (bands[0], bands[-1]))}


if __name__ == "__main__":
    main()
