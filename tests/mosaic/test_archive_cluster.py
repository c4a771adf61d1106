"""On a cluster outputs are those of one process, whoever dies; a second run does nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import psutil
import pytest
from astropy.io import fits
from small_skies import noise_sky, rotated_wcs

from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_file, translate_manifest
from imgturbo.mosaic.archive import clusters
from imgturbo.mosaic.archive.clusters import cluster, slurm_keywords
from imgturbo.mosaic.archive.strips import translate_file_on
from imgturbo.mosaic.archive.tasks import BundleName, Unfit, passing

pytest.importorskip("distributed")
DATE = "1700000000"
SETTINGS = {"window": 40}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_same(out, plain):
    assert sorted(contents(out)) == sorted(contents(plain))
    for name, content in contents(plain).items():
        other = (out / name).read_bytes()
        if other != content:
            raise AssertionError(fits.FITSDiff(str(out / name), str(plain / name)).report())


def no_cluster():
    raise AssertionError("a cluster was opened for nothing")


@pytest.fixture(scope="module")
def client():
    """Of two workers on this machine, which write one date."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", DATE)
        with cluster("local", 2) as made:
            yield made


def test_two_clusters_at_a_time_have_nothing_to_say_of_each_other():
    """Nor do schedulers of other programs: under warnings as errors a port taken was no cluster."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # then somebody else has it, and that will do
            taken.bind(("0.0.0.0", 8787))
            taken.listen()
        with cluster("local", 1) as made:
            (place,) = made.scheduler_info()["services"].values()
            assert place != 8787


# ------------------------------------------------------------------- on two local workers


@pytest.mark.slow
@pytest.mark.filterwarnings("default::UserWarning")
def test_a_cluster_makes_the_archive_of_one_process(bundle, make_archive, tmp_path, dated, client):
    manifest = make_archive(["a", "b", "c", "d"], broken=["lost"])
    plain = translate_manifest(bundle, manifest, tmp_path / "plain", **SETTINGS)
    seen, lines, out = [], [], tmp_path / "out"
    summary = translate_manifest(
        bundle,
        manifest,
        out,
        client=client,
        progress=lambda what, fraction: seen.append((what, fraction)),
        log=lines.append,
        **SETTINGS,
    )
    assert sorted(summary.done) == plain.done
    assert summary.failed == plain.failed
    assert_same(out, tmp_path / "plain")
    assert [fraction for _, fraction in seen] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert len(lines) == 4, "each field's flags are told here"

    # Again, all but the broken one: nothing is done, and no cluster is needed.
    manifest.write_text("\n".join(r for r in manifest.read_text().split("\n") if "lost" not in r))
    again = translate_manifest(bundle, manifest, out, client=no_cluster, **SETTINGS)
    assert (again.done, again.skipped) == ([], ["a", "b", "c", "d"])
    assert_same(out, tmp_path / "plain")


@pytest.mark.slow
def test_a_worker_killed_in_a_field_loses_nothing(bundle, make_archive, tmp_path, dated, client):
    manifest, out = make_archive(["a", "b", "c"], size=(131, 97)), tmp_path / "out"
    translate_manifest(bundle, manifest, tmp_path / "plain", **SETTINGS)
    killed = []

    def kill():
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for lease in out.glob(".*.lease"):
                if (out / f"{lease.stem}.part").exists() and (text := lease.read_text()):
                    pid = json.loads(text)["pid"]
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    return
            time.sleep(0.002)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = translate_manifest(bundle, manifest, out, client=client, **SETTINGS)
    killer.join()
    assert killed
    assert sorted(summary.done) == ["a", "b", "c"]
    assert_same(out, tmp_path / "plain")


@pytest.mark.slow
def test_two_that_submit_the_same_share_the_tasks(bundle, make_archive, tmp_path, dated, client):
    import distributed

    manifest, out = make_archive(["a", "b", "c", "d"]), tmp_path / "out"
    with (
        distributed.Client(client.scheduler.address, set_as_default=False) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        jobs = [
            pool.submit(translate_manifest, bundle, manifest, out, client=each, **SETTINGS)
            for each in (client, other)
        ]
        for summary in (job.result() for job in jobs):
            assert sorted(summary.done + summary.skipped) == ["a", "b", "c", "d"]
            assert (summary.failed, summary.busy) == ({}, {})
    assert sorted(contents(out)) == ["a.fits", "b.fits", "c.fits", "d.fits"]


@pytest.mark.slow
def test_warnings_come_from_the_workers(bundle, make_archive, tmp_path, client):
    manifest = make_archive(["x"])
    manifest.write_text("field,F606W,F814W\nx,x_F814W.fits,x_F606W.fits\n")
    with pytest.warns(UserWarning, match="F606W") as caught:
        translate_manifest(bundle, manifest, tmp_path / "out", client=client, **SETTINGS)
    assert any("but F814W by its FILTER" in str(one.message) for one in caught)


@pytest.mark.slow
def test_workers_that_have_another_bundle_end_the_job(
    bundle, make_bundle, make_archive, tmp_path, client, monkeypatch
):
    other = make_bundle(identity=True)
    monkeypatch.setattr(BundleName, "of", lambda _: BundleName(str(other.path), bundle.hash))
    with pytest.raises(
        ImgturboError, match=f"is model {other.hash} on a worker, not {bundle.hash}"
    ):
        translate_manifest(bundle, make_archive(), tmp_path / "out", client=client, **SETTINGS)


# ------------------------------------------------------------------- one mosaic, by strips


@pytest.fixture
def sky(make_fits):
    planes = zip(("F606W", "F814W"), noise_sky(2, 151, 127), strict=True)
    return [make_fits(f"{b}.fits", p, b, wcs=rotated_wcs(151, 127)) for b, p in planes]


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"overlap": 8}])
def test_strips_of_a_mosaic_are_the_mosaic(bundle, sky, tmp_path, dated, client, more):
    (tmp_path / "alone").mkdir()
    (tmp_path / "strips").mkdir()
    translate_file(bundle, sky, tmp_path / "alone" / "x.fits", window=40, **more)
    out, seen = tmp_path / "strips" / "x.fits", []
    translate_file_on(
        lambda: nullcontext(client),
        bundle,
        sky,
        out,
        window=40,
        progress=lambda what, fraction: seen.append(fraction),
        **more,
    )
    assert len(seen) > 2, "one task did it all"
    assert seen[-1] == 1.0
    assert_same(tmp_path / "strips", tmp_path / "alone")


@pytest.mark.slow
def test_a_mosaic_by_strips_goes_on_where_it_was(bundle, sky, tmp_path, dated, client):
    (tmp_path / "alone").mkdir()
    (tmp_path / "strips").mkdir()
    translate_file(bundle, sky, tmp_path / "alone" / "x.fits", window=40)
    out, seen = tmp_path / "strips" / "x.fits", []

    def stop_at_once(what, fraction):
        raise KeyboardInterrupt

    def translate(progress):
        translate_file_on(
            lambda: nullcontext(client), bundle, sky, out, window=40, progress=progress
        )

    with pytest.raises(KeyboardInterrupt):
        translate(stop_at_once)
    assert not out.exists()
    translate(lambda what, fraction: seen.append(fraction))
    assert_same(tmp_path / "strips", tmp_path / "alone")


# ------------------------------------------------------------------- by the command line


def command(bundle, manifest, out, *words):
    program = "import sys; from imgturbo.cli.main import main\nif __name__ == '__main__': main()"
    given = ["translate", "--bundle", bundle.path, "--manifest", manifest, "--out-dir", out, *words]
    return [sys.executable, "-c", program, *map(str, given)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_driver_that_is_stopped_ends_its_workers(bundle, make_archive, tmp_path, dated, number):
    manifest, out = make_archive(["a", "b", "c", "d"], size=(131, 97)), tmp_path / "out"
    translate_manifest(bundle, manifest, tmp_path / "plain", window=40)
    words = command(bundle, manifest, out, "--window", 40, "--scheduler", "local", "--jobs", 2)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        own = psutil.Process(child.pid)
        deadline = time.monotonic() + 200
        while not list(out.glob(".*.part")) and time.monotonic() < deadline:
            time.sleep(0.01)
        children = own.children(recursive=True)
        child.send_signal(number)
        told, said = child.communicate(timeout=200)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert told == ""
    if number == signal.SIGINT:
        assert child.returncode == 130
        assert said.splitlines()[-1] == "stopped by SIGINT; the same command continues"
        assert "Traceback" not in said
    summary = translate_manifest(bundle, manifest, out, window=40)
    assert sorted(summary.done + summary.skipped) == ["a", "b", "c", "d"]
    assert_same(out, tmp_path / "plain")


SBATCH = """#!/bin/sh
# Stands in for Slurm: a job is a process of this machine.
n=$(cat "$FAKE/count" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > "$FAKE/count"
cp "$1" "$FAKE/job-$n.sh" 2>/dev/null || cat > "$FAKE/job-$n.sh"
setsid sh "$FAKE/job-$n.sh" > "$FAKE/job-$n.log" 2>&1 &
echo $! > "$FAKE/job-$n.pid"
echo "Submitted batch job $n"
"""
SCANCEL = """#!/bin/sh
for n in "$@"; do kill -TERM -- -$(cat "$FAKE/job-$n.pid") 2>/dev/null; done
true
"""


@pytest.mark.slow
def test_jobs_of_slurm_come_and_go(bundle, make_archive, tmp_path, dated, monkeypatch):
    fake = tmp_path / "fake"
    fake.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (fake / name).write_text(text)
        (fake / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(fake))
    manifest, out = make_archive(["a", "b"]), tmp_path / "out"
    translate_manifest(bundle, manifest, tmp_path / "plain", **SETTINGS)
    asked = "partition=gpu,gres=gpu:1,time=00:10:00,cores=1,memory=4GB,exclude=n1,n2"
    words = ("--window", 40, "--scheduler", "slurm", "--jobs", 1, "--slurm", asked)
    done = subprocess.run(
        command(bundle, manifest, out, *words),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 translated, 0 finished before, 0 failed\n"
    assert_same(out, tmp_path / "plain")
    script = (fake / "job-1.sh").read_text()
    for line in ("-p gpu", "-t 00:10:00", "--mem=4G", "--gres=gpu:1", "--exclude=n1,n2"):
        assert f"#SBATCH {line}\n" in script
    pids = [int(path.read_text()) for path in fake.glob("job-*.pid")]
    _, alive = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], 60)
    assert alive == []


# ------------------------------------------------------------------- words that do not fit


def test_what_a_job_of_slurm_asks_for():
    found = slurm_keywords("partition=gpu,--qos=low,cores=4,memory=8GB,nodelist=a,b")
    assert found["queue"] == "gpu"
    assert (found["cores"], found["job_cpu"], found["memory"]) == (1, 4, "8GB")
    assert found["job_extra_directives"] == ["--qos=low", "--nodelist=a,b"]
    assert found["job_script_prologue"] == ["export OMP_NUM_THREADS=4"]


@pytest.mark.parametrize(
    ("where", "jobs", "slurm", "message"),
    [
        ("slurm", 1, "gpu", "write KEY=VALUE, as in partition=gpu"),
        ("slurm", 1, "cores=many,memory=1GB", "cores=many: is no number"),
        ("slurm", 1, None, "says nothing of memory"),
        ("local", 1, "cores=4", "--slurm goes with --scheduler slurm"),
        ("tcp://127.0.0.1:9", 2, None, "has its own workers"),
        ("here", None, None, "write local, slurm, or an address"),
        ("tcp://127.0.0.1:9", None, None, "no scheduler answers there"),
        ("nonsense://x", None, None, "no scheduler answers there"),
    ],
)
def test_words_that_make_no_cluster_are_one_line(where, jobs, slurm, message, monkeypatch):
    monkeypatch.setattr("imgturbo.mosaic.archive.clusters._PATIENCE", 1)
    with pytest.raises(ImgturboError, match=message) as caught, cluster(where, jobs, slurm):
        pass
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_scheduler_s_is_named(tmp_path):
    (tmp_path / "s.json").write_text('{"id": 1}')
    with (
        pytest.raises(ImgturboError, match=r"s\.json: is no file of a scheduler"),
        cluster(str(tmp_path / "s.json")),
    ):
        pass


@pytest.mark.parametrize(("name", "where"), [("distributed", "local"), ("dask_jobqueue", "slurm")])
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, name, where):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"needs the package {name}: pip install 'imgturbo\[archive\]'"
    with pytest.raises(ImgturboError, match=message), cluster(where, 1, None):
        pass


def test_signals_stay_ours(monkeypatch):
    """dask_jobqueue, as it is imported, makes SIGINT a silent end with status 0."""
    for name in [name for name in sys.modules if name.startswith("dask_jobqueue")]:
        monkeypatch.delitem(sys.modules, name)
    before = signal.getsignal(signal.SIGINT)
    clusters._package("dask_jobqueue")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cluster_and_a_share_do_not_go_together(bundle, tmp_path):
    with pytest.raises(ImgturboError, match="divides the fields by itself"):
        translate_manifest(bundle, "m.csv", tmp_path / "out", share="1/2", client=no_cluster)


def test_workers_of_another_version_are_named():
    with pytest.raises(Unfit, match=r"a worker has imgturbo .*, not 0\.0\.1; install the same"):
        BundleName("b", "h", version="0.0.1").load()


def test_what_may_pass_is_told_from_what_stays():
    def within(error):
        outer = ImgturboError("x")
        outer.__cause__ = error
        return outer

    stale = OSError(116, "Stale file handle")
    assert passing(stale)
    assert passing(within(stale))
    assert not passing(within(FileNotFoundError(2, "No such file")))
    assert not passing(ImgturboError("x"))
