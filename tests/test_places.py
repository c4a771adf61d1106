"""An output takes no input's place, and that of a file only which a job like it has made."""

from __future__ import annotations

import os

import pytest

from imgturbo.errors import ImgturboError
from imgturbo.places import free_folder, free_place, made_so

MARK = (b"made", b"by us")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.fits"
    path.write_bytes(b"made by us")  # were it not an input, it might be replaced
    return path


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link", "another spelling"])
def test_an_input_is_never_replaced_under_whatever_name(tmp_path, source, way):
    out = tmp_path / "out.fits"
    if way == "symlink":
        out.symlink_to(source)
    elif way == "hard link":
        os.link(source, out)
    else:
        out = source if way == "itself" else tmp_path / ".." / tmp_path.name / source.name
    with pytest.raises(ImgturboError, match="is one of the inputs; choose"):
        free_place(out, [None, tmp_path / "missing", source], mark=MARK, overwrite=True)


def test_nothing_is_written_into_a_folder_that_is_read(tmp_path):
    (tmp_path / "bundle" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    for out in ("bundle/x.fits", "bundle/deep/new/x.fits", "link/x.fits"):
        with pytest.raises(ImgturboError, match="which is read; choose another place"):
            free_place(tmp_path / out, folders=[tmp_path / "bundle"], overwrite=True)
        with pytest.raises(ImgturboError, match="which is read"):
            free_folder(tmp_path / out, folders=[tmp_path / "bundle"])
    free_place(tmp_path / "x.fits", folders=[tmp_path / "bundle", tmp_path / "none"])


def test_a_file_makes_way_for_its_like_or_when_the_user_says_so(tmp_path):
    out = tmp_path / "scores.json"
    free_place(out, mark=MARK)
    out.write_bytes(b"... by us ... made ...")
    free_place(out, mark=MARK)
    with pytest.raises(ImgturboError, match=r"scores\.json: exists already; choose .*--overwrite"):
        free_place(out)
    out.write_bytes(b"made by me")
    with pytest.raises(ImgturboError, match=r"scores\.json: exists, and this command did not"):
        free_place(out, mark=MARK)
    free_place(out, mark=MARK, overwrite=True)
    assert not made_so(out, MARK)
    assert not made_so(tmp_path / "none", MARK)


def test_folders_and_files_are_told_apart(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ImgturboError, match="is a folder; name a file in it"):
        free_place(tmp_path, overwrite=True)
    with pytest.raises(ImgturboError, match="is a file; name a folder"):
        free_folder(tmp_path / "file")


def test_a_folder_that_is_replaced_holds_no_input(tmp_path, source):
    with pytest.raises(ImgturboError, match=r"holds .*source\.fits, which is read"):
        free_folder(tmp_path, [source], replaced=True)
    free_folder(tmp_path, [source])


def test_a_link_that_leads_nowhere_is_in_the_way(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "none")
    with pytest.raises(ImgturboError, match="exists already"):
        free_place(tmp_path / "link")


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    with pytest.raises(ImgturboError, match=r"cannot be written \(File name too long\)"):
        free_place(tmp_path / ("a" * 300))
