"""Fields of an archive stand on their own: done, skipped, failed and named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from small_skies import noise_sky, rotated_wcs

from imgturbo.errors import ImgturboError
from imgturbo.mosaic import read_manifest, translate_file, translate_manifest
from imgturbo.sky import read_sky
from imgturbo.sky.fits_file import FitsFile

H, W = 83, 61


@pytest.fixture
def archive(make_archive):
    """Three good fields and one whose second band is missing, in a CSV."""
    return make_archive(broken=["broken"], size=(H, W))


def test_a_failed_field_does_not_stop_the_others(bundle, archive, tmp_path):
    summary = translate_manifest(bundle, archive, tmp_path / "out", window=48)
    assert summary.done == ["a1", "b2", "c3"]
    assert list(summary.failed) == ["broken"]
    assert "nowhere.fits: no such file" in summary.failed["broken"]
    assert str(summary).splitlines()[-1] == "3 translated, 0 finished before, 1 failed"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a1.fits",
        "b2.fits",
        "c3.fits",
    ]


def test_finished_fields_are_skipped(bundle, archive, tmp_path):
    translate_manifest(bundle, archive, tmp_path / "out", window=48)
    before = (tmp_path / "out" / "a1.fits").stat().st_mtime_ns
    (tmp_path / "out" / "b2.fits").unlink()
    summary = translate_manifest(bundle, archive, tmp_path / "out", window=48)
    assert (summary.done, summary.skipped) == (["b2"], ["a1", "c3"])
    assert (tmp_path / "out" / "a1.fits").stat().st_mtime_ns == before


def test_each_file_is_opened_once(bundle, make_archive, tmp_path, monkeypatch):
    """Small fields are many: opening one costs as much as translating it."""
    opened: Counter[str] = Counter()
    begin = FitsFile.__post_init__

    def counted(file: FitsFile) -> None:
        opened[file.path.name] += 1
        begin(file)

    monkeypatch.setattr(FitsFile, "__post_init__", counted)
    translate_manifest(bundle, make_archive(size=(H, W)), tmp_path / "out", window=48)
    names = {f"{field}_{band}.fits" for field in ("a1", "b2", "c3") for band in ("F606W", "F814W")}
    assert opened == dict.fromkeys(names, 1)


def test_a_field_equals_its_files(bundle, archive, tmp_path):
    translate_manifest(bundle, archive, tmp_path / "out")
    files = [tmp_path / "a1_F606W.fits", tmp_path / "a1_F814W.fits"]
    alone = translate_file(bundle, files, tmp_path / "alone.fits")
    made = read_sky(tmp_path / "out" / "a1.fits").data
    np.testing.assert_array_equal(made, read_sky(alone).data)


def test_columns_name_the_bands(bundle, make_fits, tmp_path):
    """Headers without FILTER, columns in another order than the bundle's."""
    data = noise_sky(2, H, W)
    for name, plane in zip(("blue", "red"), data, strict=True):
        make_fits(f"{name}.fits", plane, None, wcs=rotated_wcs(H, W))
    manifest = tmp_path / "m.csv"
    manifest.write_text("F814W,field,F606W\nred.fits,x,blue.fits\n")
    assert not translate_manifest(bundle, manifest, tmp_path / "out").failed
    with pytest.warns(UserWarning, match="no FILTER in the headers; taken to be F606W, F814W"):
        right = translate_file(
            bundle, [tmp_path / "blue.fits", tmp_path / "red.fits"], tmp_path / "r.fits"
        )
    np.testing.assert_array_equal(read_sky(tmp_path / "out" / "x.fits").data, read_sky(right).data)


def test_one_file_may_hold_all_bands(tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("name,file\nx,all.fits\n")
    (field,) = read_manifest(manifest)
    assert (field.name, field.files, field.bands) == ("x", (tmp_path / "all.fits",), None)


def test_progress_names_the_field(bundle, archive, tmp_path):
    seen = []
    translate_manifest(
        bundle, archive, tmp_path / "out", window=48, progress=lambda w, f: seen.append((w, f))
    )
    assert seen[0][0].startswith("a1: ")
    assert ("broken: failed", 0.5) in seen
    assert seen[-1][1] == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has a header"),
        ("field,F606W\n", "has a header"),
        ("field\nx\n", "has a header"),
        ("field,F606W\nx,1.fits,2.fits\n", "line 2 has 3 columns"),
        ("field,F606W\n,1.fits\n", "line 2: ''"),
        ("field,F606W\n../x,1.fits\n", "cannot be the name"),
        ("field,F606W\nx,1.fits\nx,2.fits\n", "named twice"),
    ],
)
def test_bad_manifests_are_named(tmp_path, text, message):
    manifest = tmp_path / "m.csv"
    manifest.write_text(text)
    with pytest.raises(ImgturboError, match=message) as error:
        read_manifest(manifest)
    assert str(manifest) in str(error.value)


def test_a_missing_manifest_is_named(bundle, tmp_path):
    with pytest.raises(ImgturboError, match="no such manifest"):
        translate_manifest(bundle, tmp_path / "none.csv", tmp_path / "out")


def test_an_output_folder_that_is_a_file_is_named(bundle, archive, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ImgturboError, match=r"taken: cannot be made a folder .* choose another"):
        translate_manifest(bundle, archive, tmp_path / "taken")


def test_the_header_speaks_against_the_manifest(bundle, archive, tmp_path):
    manifest = tmp_path / "swapped.csv"
    manifest.write_text("field,F606W,F814W\nx,a1_F814W.fits,a1_F606W.fits\n")
    with pytest.warns(UserWarning, match="F606W") as caught:
        assert translate_manifest(bundle, manifest, tmp_path / "out", window=48).done == ["x"]
    said = [str(one.message) for one in caught]
    assert any("a1_F814W.fits: is F606W in the manifest, but F814W" in line for line in said)


def test_errors_name_the_line_of_the_file(tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text('field,F606W\n\n"a",1.fits\n\nb,1.fits,2.fits\n')
    with pytest.raises(ImgturboError, match="line 5 has 3 columns"):
        read_manifest(manifest)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"field,file\naux\0,a.fits\n", r"line 2: 'aux\\x00' cannot be the name"),
        (b"field,file\n" + b"x" * 201 + b",a.fits\n", r"line 2: 'x+…' cannot be the name of .*200"),
        ("field,file\n\u202eabc,a.fits\n".encode(), "cannot be the name of a field"),
        (b"field,file\na,b\x01.fits\n", r"line 2: 'b\\x01\.fits' is no file's name"),
        (b'field,file\na,"b.fits\nc,d.fits\n', "cannot be read as CSV .*unexpected end"),
        (b"field,file\na,\xff.fits\n", r"cannot be read as CSV \('utf-8'"),
        ("field,file\na,b.fits\n".encode("utf-16"), "cannot be read as CSV"),
        (b"field,file\na," + b"x" * 200_000, r"cannot be read as CSV \(field larger"),
    ],
)
def test_what_cannot_be_a_manifest_is_one_line(bundle, tmp_path, content, reason):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(ImgturboError, match=reason) as caught:
        translate_manifest(bundle, path, tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert not list((tmp_path / "out").glob("*"))
