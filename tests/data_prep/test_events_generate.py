"""Generated events: blocks that are functions of their numbers, killed jobs, physics."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.events import generate, generate_block, simulate_events
from imgturbo.errors import ImgturboError
from imgturbo.events import SELECTION, invariant_mass, momenta, read_events, write_events
from imgturbo.events.masses import resonances

FEW = 6


def fake_block(seed, number, size=FEW):
    """In the place of Pythia: quick, and a function of seed and number."""
    return np.random.default_rng([seed, number]).normal(0, 50, (size, 2, 24))


def few(path, **settings):
    """A file in small blocks."""
    return simulate_events(path, block=FEW, **settings)


@pytest.fixture
def quick(monkeypatch):
    """Blocks without physics, made in this process."""
    pytest.importorskip("h5py")
    made = []

    class Pool:
        def submit(self, function, *words):
            made.append(words[2])
            function(*words)
            return Done()

    class Done:
        def result(self):
            return None

    class Workers:
        def __init__(self, count):
            self.count = count

        def __enter__(self):
            return Pool()

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(generate, "generate_block", fake_block)
    monkeypatch.setattr(generate, "require_generators", lambda: None)
    monkeypatch.setattr(generate, "workers", Workers)
    monkeypatch.setattr(generate, "as_completed", lambda jobs: jobs)
    monkeypatch.setattr(generate.importlib.metadata, "version", lambda name: "0")
    return made


def rows_of(path):
    events = read_events(path)
    return np.stack([events.z, events.x], 1)


def test_the_first_events_are_the_same_in_every_file(tmp_path, quick):
    small, large = tmp_path / "small.h5", tmp_path / "large.h5"
    few(small, events=8, seed=4)
    few(large, events=20, seed=4)
    np.testing.assert_array_equal(rows_of(small), rows_of(large)[:8])
    np.testing.assert_array_equal(rows_of(large)[:FEW], fake_block(4, 0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large.h5", "small.h5"]


def test_a_file_grows(tmp_path, quick):
    path, once = tmp_path / "a.h5", tmp_path / "once.h5"
    for events in (7, 20, 5):
        few(path, events=events, seed=1)
    assert quick == [0, 1, 1, 2, 3]  # the block that was cut is made again, whole ones are not
    few(once, events=20, seed=1)
    np.testing.assert_array_equal(rows_of(path), rows_of(once))


def test_a_killed_job_goes_on(tmp_path, quick, monkeypatch):
    path, once = tmp_path / "a.h5", tmp_path / "once.h5"
    few(once, events=20, seed=1)
    quick.clear()

    def killed(seed, number, size):
        if number == 2:
            raise KeyboardInterrupt
        return fake_block(seed, number)

    monkeypatch.setattr(generate, "generate_block", killed)
    with pytest.raises(KeyboardInterrupt):
        few(path, events=20, seed=1)
    assert not path.exists()
    monkeypatch.setattr(generate, "generate_block", fake_block)
    quick.clear()
    few(path, events=20, seed=1)
    assert quick == [2, 3]
    assert path.read_bytes() == once.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "once.h5"]


def test_other_events_are_not_mixed(tmp_path, quick):
    path = tmp_path / "a.h5"
    few(path, events=8, seed=1)
    before = path.read_bytes()
    with pytest.raises(ImgturboError, match="of other settings"):
        few(path, events=8, seed=2)
    assert path.read_bytes() == before
    few(path, events=8, seed=2, overwrite=True)
    np.testing.assert_array_equal(rows_of(path)[:FEW], fake_block(2, 0))


def test_a_file_that_is_none_of_events_stays(tmp_path, quick):
    path = tmp_path / "a.h5"
    path.write_text("mine")
    with pytest.raises(ImgturboError, match=r"a\.h5"):
        few(path, events=8, seed=2)
    assert path.read_text() == "mine"


def test_blocks_of_other_settings_or_damaged_are_named(tmp_path, quick, monkeypatch):
    path = tmp_path / "a.h5"
    folder = tmp_path / ".a.h5.blocks"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    with pytest.raises(ImgturboError, match=r"blocks of other settings; remove the folder"):
        few(path, events=8, seed=2)
    (folder / "settings.json").unlink()
    monkeypatch.setattr(generate, "_write_block", lambda f, s, n, b: (f / f"{n:05d}.npy").touch())
    with pytest.raises(ImgturboError, match=r"00000\.npy.*remove the folder"):
        few(path, events=8, seed=2)


@pytest.mark.parametrize(("events", "seed"), [(0, 1), (-3, 1), (10, -1), (10, 9000), (10**9, 1)])
def test_numbers_beyond_what_there_is_are_refused(tmp_path, quick, events, seed):
    with pytest.raises(ImgturboError, match="choose 1 to"):
        few(tmp_path / "a.h5", events=events, seed=seed)


def test_without_pythia_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    with pytest.raises(ImgturboError, match=r"pythia8mc.*pip install 'imgturbo\[hep\]'"):
        simulate_events(tmp_path / "a.h5", events=8)


# ------------------------------------------------------------------------------- with Pythia


@pytest.fixture(scope="module")
def block():
    pytest.importorskip("pythia8mc", reason="collisions need Pythia (the extra 'hep')")
    pytest.importorskip("fastjet", reason="jets need fastjet (the extra 'hep')")
    return generate_block(7, 3, 40)


@pytest.mark.slow
def test_a_block_is_a_function_of_its_numbers(block):
    np.testing.assert_array_equal(generate_block(7, 3, 3), block[:3])
    assert not np.array_equal(generate_block(7, 4, 3), block[:3])
    assert not np.array_equal(generate_block(8, 3, 3), block[:3])


@pytest.mark.slow
def test_partons_obey_their_physics(block):
    """Masses of particles, of W bosons and, but for radiation, of tops."""
    z = block[:, 0]
    p = momenta(z)
    for number, mass in enumerate((0.000511, 0, 4.8, 4.8, 0.33, 0.33)):
        np.testing.assert_allclose(invariant_mass(p[:, number]), mass, atol=0.05)
    found = resonances(z)
    for name in ("m_W_lep", "m_W_had"):
        assert abs(np.median(found[name]) - 80.4) < 2
        assert np.mean(np.abs(found[name] - 80.4) < 10) > 0.8
    for name in ("m_t_lep", "m_t_had"):
        assert abs(np.median(found[name]) - 172.5) < 4
    # The tops balance, but for what the beams have radiated.
    assert np.median(np.hypot(*p.sum(1)[:, :2].T)) < 100


@pytest.mark.slow
def test_observed_events_pass_and_follow_their_partons(block):
    z, x = momenta(block[:, 0]), momenta(block[:, 1])
    assert SELECTION.passes(block[:, 1]).all()
    pt = np.hypot(x[:, 2:, 0], x[:, 2:, 1])
    assert (np.diff(pt, axis=1) <= 0).all()
    np.testing.assert_array_equal(x[:, 1, 2], 0)
    np.testing.assert_allclose(np.hypot(x[:, 1, 0], x[:, 1, 1]), x[:, 1, 3])
    assert (invariant_mass(x[:, 2:]) > -0.1).all()
    ratio = x[:, 0, 3] / z[:, 0, 3]
    assert abs(np.median(ratio) - 1) < 0.02
    assert np.median(np.abs(x[:, 1, :2] - z[:, 1, :2])) < 15


@pytest.mark.slow
def test_processes_are_no_matter(tmp_path, block):
    pytest.importorskip("h5py")
    path = tmp_path / "two.h5"
    simulate_events(path, events=5, seed=7, processes=2, block=3)
    expected = np.concatenate([generate_block(7, 0, 3), generate_block(7, 1, 3)])[:5]
    np.testing.assert_array_equal(rows_of(path), expected)
    assert read_events(path).settings["seed"] == 7


@pytest.mark.slow
def test_events_are_those_of_the_shared_sample(real_data, block):
    """No KS distance beyond what 40 events have by chance once in 10⁵; 48 are looked at."""
    stats = pytest.importorskip("scipy.stats")
    sample = real_data / "hep" / "ttbar_seed1.h5"
    if not sample.is_file():
        pytest.skip("the shared sample of events is not beside this checkout")
    truth = read_events(sample)
    for mine, theirs in ((block[:, 0], truth.z), (block[:, 1], truth.x)):
        for column in range(24):
            assert stats.ks_2samp(mine[:, column], theirs[:, column]).pvalue > 1e-5, column


def test_files_written_elsewhere_do_not_grow(tmp_path, quick):
    """A file without settings is somebody else's."""
    path = tmp_path / "a.h5"
    few(path, events=8, seed=1)
    events = read_events(path)
    write_events(path, type(events)(events.z, events.x))
    with pytest.raises(ImgturboError, match="exists already"):
        few(path, events=9, seed=1)
