"""Several processes share the windows of a field, or the fields of a manifest (CPU, gloo)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from small_skies import noise_sky, rotated_wcs

from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_file
from imgturbo.sky import read_sky
from imgturbo.team import Team

pytestmark = pytest.mark.slow
H, W = 151, 127


def launch(program: str, *arguments: str, world: int = 2) -> list[subprocess.CompletedProcess]:
    """Run a program as `accelerate launch` would, one process a rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }
        children.append(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(program), *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    results = []
    for child in children:
        out, err = child.communicate(timeout=240)
        results.append(subprocess.CompletedProcess(child.args, child.returncode, out, err))
    return results


@pytest.fixture
def sky(make_fits):
    return [
        make_fits(f"{band}.fits", plane, band, wcs=rotated_wcs(H, W))
        for band, plane in zip(("F606W", "F814W"), noise_sky(2, H, W), strict=True)
    ]


@pytest.mark.parametrize("overlap", ["", "8"])
def test_two_processes_make_the_file_of_one(bundle, sky, tmp_path, overlap):
    settings = {"window": 40} | ({"overlap": int(overlap)} if overlap else {})
    alone = translate_file(bundle, sky, tmp_path / "alone.fits", **settings)
    program = """
        import sys
        from imgturbo.bundle import load_bundle
        from imgturbo.mosaic import translate_file
        from imgturbo.sky import SkyWriter

        plain, count = SkyWriter.write, 0

        def write(self, *arguments):
            global count
            count += 1
            plain(self, *arguments)

        SkyWriter.write = write
        bundle, out, overlap, *files = sys.argv[1:]
        more = {"overlap": int(overlap)} if overlap else {}
        translate_file(load_bundle(bundle), files, out, window=40, **more)
        print(count)
    """
    out = tmp_path / "out.fits"
    results = launch(program, str(bundle.path), str(out), overlap, *map(str, sky))
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    assert all(int(result.stdout) > 3 for result in results), "one process did all the work"
    np.testing.assert_allclose(read_sky(out).data, read_sky(alone).data, rtol=1e-4, atol=1e-5)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_error_in_one_process_stops_both(bundle, sky, tmp_path):
    program = """
        import os, sys
        from imgturbo.bundle import load_bundle
        from imgturbo.errors import ImgturboError
        from imgturbo.mosaic import translate_file
        from imgturbo.sky import SkyWriter

        if os.environ["RANK"] == "1":
            def write(self, *arguments):
                raise ImgturboError("the disk is full")
            SkyWriter.write = write
        bundle, out, *files = sys.argv[1:]
        try:
            translate_file(load_bundle(bundle), files, out, window=40)
        except ImgturboError as error:
            print(error)
            sys.exit(2)
    """
    out = tmp_path / "out.fits"
    results = launch(program, str(bundle.path), str(out), *map(str, sky))
    assert [result.returncode for result in results] == [2, 2], results[0].stderr
    assert [result.stdout.strip() for result in results] == ["the disk is full"] * 2
    assert results[1].stdout.strip() == "the disk is full"
    assert not out.exists()
    translate_file(bundle, sky, out, window=40)  # what both of them did is continued by one
    alone = translate_file(bundle, sky, tmp_path / "alone.fits", window=40)
    np.testing.assert_allclose(read_sky(out).data, read_sky(alone).data, rtol=1e-4, atol=1e-5)


def test_two_processes_share_the_fields(bundle, sky, tmp_path):
    manifest = tmp_path / "fields.csv"
    files = ",".join(path.name for path in sky)
    rows = [f"f{k},{files}" for k in range(3)]
    manifest.write_text("\n".join(["field,F606W,F814W", *rows, "bad,F606W.fits,none.fits"]))
    program = """
        import sys
        from imgturbo.bundle import load_bundle
        from imgturbo.mosaic import translate_manifest

        summary = translate_manifest(load_bundle(sys.argv[1]), sys.argv[2], sys.argv[3], window=64)
        print(sorted(summary.done), sorted(summary.failed))
    """
    results = launch(program, str(bundle.path), str(manifest), str(tmp_path / "out"))
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    for result in results:
        assert result.stdout.strip() == "['f0', 'f1', 'f2'] ['bad']"


def test_a_lone_process_is_a_team_of_one():
    team = Team.current()
    assert (team.rank, team.size, team.first) == (0, 1, True)
    assert team.portion(range(5)) == range(5)
    with pytest.raises(ImgturboError, match="its own"), team.together():
        raise ImgturboError("its own")


def test_shares_are_contiguous_and_complete():
    items = list(range(11))
    shares = [Team(rank, 4).portion(items) for rank in range(4)]
    assert [item for share in shares for item in share] == items
    assert {len(share) for share in shares} == {2, 3}
