"""Files at addresses: the disk's values, hardly more bytes, one line when it fails."""

from __future__ import annotations

import math
import pickle
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from refusals import in_one_line
from web_server import serving

from imgturbo.errors import ImgturboError
from imgturbo.remote import (
    Ranges,
    Remote,
    identity,
    is_remote,
    on_disk,
    readable,
    same_file,
    server,
)
from imgturbo.sky import open_sky, read_sky

HEAD = 1 << 16  # bytes of the first look


@pytest.fixture
def web(tmp_path):
    with serving(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(server, "_WAIT", 0.01)


def wide(path, shape=(61, 30_011), bands=1, **options):
    """A FITS file of one SCI a band, wide enough for its windows to be far apart in it."""
    random = np.random.default_rng(3)
    hdus = [fits.PrimaryHDU()]
    kind = options.pop("kind", fits.ImageHDU)
    for band in range(bands):
        data = (5 * random.random(shape)).astype(options.get("dtype", np.float32))
        packed = {"compression_type": options["packed"]} if "packed" in options else {}
        packed |= {"tile_shape": options["tiles"]} if "tiles" in options else {}
        cards = fits.Header({"BUNIT": "nJy", "FILTER": f"F{band}00W", "EXTVER": band + 1})
        hdus.append(kind(data, cards, name="SCI", **packed))
    fits.HDUList(hdus).writeto(path)
    return path


# ------------------------------------------------------------------------------ what it is


def test_an_address_is_a_path_with_a_name():
    path = readable("https://host/a//b/x_drz.fits?version=3")
    assert isinstance(path, Remote)
    assert isinstance(path, Path)
    assert str(path) == "https://host/a//b/x_drz.fits?version=3"
    assert (path.name, path.suffix, path.stem) == ("x_drz.fits", ".fits", "x_drz")
    assert str(readable("s3://bucket/a/x.fits").with_name("y.fits")) == "s3://bucket/a/y.fits"
    assert str(readable("s3://bucket/a/x.csv").parent / "y.fits") == "s3://bucket/a/y.fits"
    assert readable("https://host/file?uri=mast:HST/product/j_drz.fits").name == "j_drz.fits"
    assert pickle.loads(pickle.dumps(path)) == path  # as tasks travel
    assert readable(path) is path


def test_what_pathlib_made_of_an_address_is_understood(tmp_path):
    assert readable(Path("https://host/a/x.fits")) == readable("https://host/a/x.fits")
    assert readable(f"file://{tmp_path}/x.fits") == tmp_path / "x.fits"
    for local in ("a/b.fits", "./x:y.fits", "C:/x.fits", "mast:HST/x.fits", str(tmp_path)):
        assert not is_remote(local)
        assert readable(local) == Path(local)


# ------------------------------------------------------------------------- the same, by ranges


@given(data=st.data())
def test_a_stream_of_ranges_reads_what_a_file_reads(data):
    content = np.random.default_rng(1).bytes(data.draw(st.integers(0, 200_000)))
    stream = Ranges(lambda spans: [content[a:b] for a, b in spans], len(content), content[:65536])
    if data.draw(st.booleans()):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=9)))
        stream.want(list(pairwise(cuts)))
    for _ in range(5):
        place = data.draw(st.integers(0, len(content) + 10))
        length = data.draw(st.integers(0, 150_000))
        stream.seek(place)
        assert stream.read(length) == content[place : place + length]
        assert stream.tell() == place + len(content[place : place + length])


KINDS = [
    {},
    {"dtype": np.int16},
    {"kind": fits.CompImageHDU, "packed": "RICE_1"},
    {"kind": fits.CompImageHDU, "packed": "GZIP_2", "tiles": (10, 100)},
    {"kind": fits.CompImageHDU, "packed": "HCOMPRESS_1", "tiles": (31, 50)},
    {"kind": fits.CompImageHDU, "packed": "PLIO_1", "dtype": np.int16},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.get("packed", "plain"))
def test_windows_are_those_of_the_file_on_the_disk(web, tmp_path, kind):
    path = wide(tmp_path / "x.fits", (61, 6007), 2, **kind)
    with open_sky(path) as here, open_sky(web.url("x.fits")) as there:
        for rows, cols in (((7, 33), (5000, 5101)), ((0, 61), (0, 6007)), ((60, 61), (3, 4))):
            window = slice(*rows), slice(*cols)
            np.testing.assert_array_equal(here.read(*window).data, there.read(*window).data)
        assert there.read(slice(5, 5)).data.shape == (2, 0, 6007)


def test_a_cube_is_read_plane_by_plane(web, tmp_path):
    cube = np.random.default_rng(0).normal(size=(3, 41, 9001)).astype(np.float32)
    fits.PrimaryHDU(cube, fits.Header({"BUNIT": "nJy"})).writeto(tmp_path / "x.fits")
    with open_sky(web.url("x.fits")) as there:
        found = there.read(slice(3, 40), slice(8000, 8033)).data
    np.testing.assert_array_equal(found, cube[:, 3:40, 8000:8033])


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """1.07 GB, of which the disk holds the headers: 16 384² pixels, all of them 0."""
    folder = tmp_path_factory.mktemp("mosaic")
    side, path = 16_384, folder / "mosaic.fits"
    header = fits.ImageHDU(np.zeros((2, 2), np.float32), name="SCI").header
    header["NAXIS1"], header["NAXIS2"], header["BUNIT"] = side, side, "nJy"
    text = fits.PrimaryHDU().header.tostring() + header.tostring()
    with path.open("wb") as file:
        file.write(text.encode())
        file.truncate(len(text) + -(-4 * side * side // 2880) * 2880)
    with serving(folder) as running:
        yield running


@pytest.mark.parametrize("window", [(256, 256), (100, 16_384), (1, 1)])
def test_a_window_of_a_gigabyte_transfers_little_more_than_the_window(mosaic, window):
    wanted = 4 * math.prod(window)
    before = mosaic.sent.get("mosaic.fits", 0)
    with open_sky(mosaic.url("mosaic.fits")) as reader:
        opened = mosaic.sent["mosaic.fits"] - before
        left = 0 if window[1] == 16_384 else 9000
        data = reader.read(slice(5000, 5000 + window[0]), slice(left, left + window[1])).data
    assert data.shape[1:] == window
    assert opened < 1.2 * HEAD
    assert mosaic.sent["mosaic.fits"] - before - opened == wanted


def test_tiles_are_fetched_that_the_window_touches(web, tmp_path):
    path = wide(tmp_path / "x.fits", (800, 800), kind=fits.CompImageHDU, packed="RICE_1",
                tiles=(100, 100))  # fmt: skip
    with open_sky(web.url("x.fits")) as reader:
        before = web.sent["x.fits"]
        reader.read(slice(110, 190), slice(410, 590))
        assert web.sent["x.fits"] - before < 3.5 / 64 * path.stat().st_size


# ------------------------------------------------------------------------------ the door holds


def test_headers_are_looked_at_by_the_byte_before_a_library_sees_them(web, tmp_path):
    path = wide(tmp_path / "x.fits", (61, 5000))
    content = path.read_bytes()
    wider = content.replace(b"NAXIS1  =                 5000", b"NAXIS1  =           5000000000")
    assert wider != content
    path.write_bytes(wider)
    with pytest.raises(ImgturboError, match=r"http.*x\.fits: HDU 1 \(SCI\) is truncated"):
        open_sky(web.url("x.fits"))
    path.write_bytes(content[:-5760])
    with pytest.raises(ImgturboError, match=r"x\.fits: HDU 1 \(SCI\) is truncated"):
        open_sky(web.url("x.fits"))
    assert sum(web.sent.values()) < 3 * HEAD


@pytest.mark.parametrize("packed", ["GZIP_1", "HCOMPRESS_1"])
def test_a_tile_that_lies_is_refused_when_it_is_wanted(web, tmp_path, packed):
    path = wide(
        tmp_path / "x.fits", (120, 120), kind=fits.CompImageHDU, packed=packed, tiles=(20, 20)
    )
    with fits.open(path, disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()["datLoc"]
        start = place + hdus[1]._theap
        descriptors = np.frombuffer(
            path.read_bytes()[place : place + hdus[1].header["NAXIS1"] * 36], np.uint8
        ).reshape(36, -1)
    length, offset = descriptors[35, :8].copy().view(">i4")  # of the last tile
    content = bytearray(path.read_bytes())
    if packed == "GZIP_1":
        content[start + offset + length - 4 : start + offset + length] = b"\xff\xff\xff\x7f"
    else:
        content[start + offset + 2 : start + offset + 6] = (4000).to_bytes(4, "big")
    path.write_bytes(content)
    with open_sky(web.url("x.fits")) as reader:
        reader.read(slice(0, 100), slice(0, 120))
        with pytest.raises(ImgturboError, match="tile 35 does not hold what its header says"):
            reader.read(slice(100, 120), slice(100, 120))


def test_sums_of_data_are_not_claimed_to_be_verified(web, tmp_path):
    """DATASUM needs every byte: damage to pixels shows on the disk, not over the network."""
    path = tmp_path / "x.fits"
    data = np.ones((1, 50, 9000), np.float32)
    hdu = fits.ImageHDU(data[0], fits.Header({"BUNIT": "nJy"}), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, checksum=True)
    content = bytearray(path.read_bytes())
    content[-2880 * 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImgturboError, match="DATASUM"):
        read_sky(path)
    with open_sky(web.url("x.fits")) as reader:
        assert reader.read(slice(0, 4), slice(0, 4)).data.mean() == 1


# --------------------------------------------------------------------------------- what fails


def test_no_such_file(web):
    with pytest.raises(ImgturboError) as error:
        read_sky(web.url("none.fits"))
    in_one_line(error, web.url("none.fits"), "no such file")


def test_no_server(web):
    address = web.url("x.fits")
    web.shutdown()
    web.server_close()
    with pytest.raises(ImgturboError) as error:
        read_sky(address)
    in_one_line(error, address, "the connection has failed")


@pytest.mark.parametrize(("status", "words"), [(403, "does not let you"), (500, "has failed")])
def test_a_server_that_refuses(web, tmp_path, status, words):
    wide(tmp_path / "x.fits", (9, 9))
    web.status = status
    with pytest.raises(ImgturboError) as error:
        read_sky(web.url("x.fits"))
    in_one_line(error, words)


def test_a_server_without_ranges_is_refused_before_the_file_comes(web, tmp_path):
    path = wide(tmp_path / "x.fits", (2000, 2000))
    web.ranges = False
    with pytest.raises(ImgturboError) as error:
        read_sky(web.url("x.fits"))
    in_one_line(error, "sends whole files only", "fetch the file")
    assert web.sent.get("x.fits", 0) < path.stat().st_size


def test_a_connection_that_drops_is_tried_again(web, tmp_path):
    path = wide(tmp_path / "x.fits", (50, 9001))
    with open_sky(web.url("x.fits")) as reader:
        web.drops = 5
        found = reader.read(slice(10, 30), slice(8000, 8100)).data
        assert web.drops == 0
    np.testing.assert_array_equal(found, read_sky(path).data[:, 10:30, 8000:8100])


def test_a_connection_that_always_drops_is_one_line(web, tmp_path):
    wide(tmp_path / "x.fits", (50, 9001))
    with open_sky(web.url("x.fits")) as reader:
        web.drops = -1
        with pytest.raises(ImgturboError) as error:
            reader.read()
    in_one_line(error, "x.fits: the connection has failed", "try again")


def test_ranges_that_come_short_are_never_taken_for_pixels(web, tmp_path):
    wide(tmp_path / "x.fits", (50, 9001))
    with open_sky(web.url("x.fits")) as reader:
        web.short = True
        with pytest.raises(ImgturboError) as error:
            reader.read()
    in_one_line(error, "the server has sent", "truncated")


def test_a_server_that_says_nothing_is_given_up(web, tmp_path, monkeypatch):
    import fsspec

    wide(tmp_path / "x.fits", (9, 9))
    fsspec.get_filesystem_class("http").clear_instance_cache()
    monkeypatch.setattr(server, "TIMEOUT", 0.2)
    monkeypatch.setattr(server, "ATTEMPTS", 1)
    web.wait = 1.0
    with pytest.raises(ImgturboError) as error:
        read_sky(web.url("x.fits"))
    in_one_line(error, "does not answer within 0.2 s")
    fsspec.get_filesystem_class("http").clear_instance_cache()


@pytest.mark.parametrize("suffix", [".fits.gz", ".fits.bz2", ".fits.xz"])
def test_what_is_packed_as_a_whole_is_refused(web, tmp_path, suffix):
    from imgturbo.sky import SkyImage, write_sky

    write_sky(tmp_path / f"x{suffix}", SkyImage.from_array(np.ones((1, 9, 9)), unit="nJy"))
    with pytest.raises(ImgturboError) as error:
        read_sky(web.url(f"x{suffix}"))
    in_one_line(error, "is packed as a whole", "fetch the file")


def test_a_missing_package_is_named(monkeypatch):
    import fsspec

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(ImgturboError) as error:
        read_sky("s3://bucket/x.fits")
    in_one_line(error, "s3fs", "pip install 'imgturbo[remote]'")


def test_an_unknown_kind_of_address():
    with pytest.raises(ImgturboError) as error:
        read_sky("gopher://host/x.fits")
    in_one_line(error, "gopher:// are not known", "s3://")


def test_nothing_is_written_to_an_address(tmp_path):
    from imgturbo.places import free_folder, free_place

    for refuse in (free_place, free_folder):
        with pytest.raises(ImgturboError, match=r"s3://bucket/out: is an address"):
            refuse("s3://bucket/out", [tmp_path / "x", "https://host/x.fits"])
    free_place(tmp_path / "out.fits", ["https://host/x.fits"])


# ---------------------------------------------------------------------- beside it, and others


def test_weights_beside_a_file_count_there_too(web, tmp_path):
    wide(tmp_path / "x_drz.fits", (9, 31))
    weight = np.ones((9, 31), np.float32)
    weight[4, 5] = 0
    fits.PrimaryHDU(weight).writeto(tmp_path / "x_wht.fits")
    there, here = read_sky(web.url("x_drz.fits")), read_sky(tmp_path / "x_drz.fits")
    assert np.isnan(there.data[0, 4, 5])
    np.testing.assert_array_equal(there.data, here.data)


@pytest.mark.parametrize("name", ["x.weight.fits", "x_weight.fits", "x_drz_wht.fits"])
def test_other_names_of_weights_are_asked_for(web, tmp_path, name):
    wide(tmp_path / "x_drz.fits", (9, 31))
    weight = np.ones((9, 31), np.float32)
    weight[4, 5] = 0
    fits.PrimaryHDU(weight).writeto(tmp_path / name)
    assert np.isnan(read_sky(web.url("x_drz.fits")).data[0, 4, 5])


def test_where_files_are_listed_all_names_of_companions_are_known(tmp_path):
    """A web server lists nothing; buckets do, and what is in memory."""
    import fsspec

    weight = np.ones((9, 31), np.float32)
    weight[4, 5] = 0
    wide(tmp_path / "x_drz.fits", (9, 31))
    fits.PrimaryHDU(weight).writeto(tmp_path / "x-IVAR.fits")
    memory = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        memory.pipe(f"/beside/{path.name}", path.read_bytes())
    with open_sky("memory://beside/x_drz.fits") as reader:
        assert reader.masked_by == ("x-IVAR.fits",)
        assert np.isnan(reader.read().data[0, 4, 5])
    memory.rm("/beside", recursive=True)


def test_one_file_by_two_names(tmp_path):
    (tmp_path / "x").write_text("1")
    assert same_file(tmp_path / "x", f"{tmp_path}/../{tmp_path.name}/x")
    assert not same_file(tmp_path / "x", tmp_path / "y")
    assert same_file("https://h//x", readable("https://h//x"))
    assert not same_file("https://h//x", tmp_path / "x")


def test_pictures_and_tables_are_fetched_whole(web, tmp_path):
    from PIL import Image

    from imgturbo.tables import open_table

    Image.fromarray(np.arange(120, dtype=np.uint8).reshape(10, 12)).save(tmp_path / "x.png")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    np.testing.assert_array_equal(
        read_sky(web.url("x.png")).data, read_sky(tmp_path / "x.png").data
    )
    with open_table(web.url("x.csv")) as table:
        rows = np.concatenate([block.numbers for block in table.blocks(["a", "b"])])
    np.testing.assert_array_equal(rows, [[1, 2], [3, 4]])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImgturboError, match=web.url("bad.png")):  # and not some temporary name
        read_sky(web.url("bad.png"))


def test_identity_changes_with_the_file_and_fetches_nothing(web, tmp_path):
    path = wide(tmp_path / "x.fits", (300, 300))
    first = identity(web.url("x.fits"))
    assert first.startswith(f"remote {path.stat().st_size} bytes, ETag ")
    assert identity(web.url("x.fits")) == first
    assert web.sent["x.fits"] <= 2 * HEAD
    path.write_bytes(path.read_bytes())
    assert identity(web.url("x.fits")) != first
    assert identity(path).startswith("sha256 ")


def test_on_disk_of_a_local_file_is_the_file(tmp_path):
    (tmp_path / "x").write_text("1")
    with on_disk(tmp_path / "x") as here:
        assert here == tmp_path / "x"


def test_threads_share_a_reader(web, tmp_path):
    path = wide(tmp_path / "x.fits", (64, 9001), 2)
    truth = read_sky(path).data
    wrong = []
    with open_sky(web.url("x.fits")) as reader:

        def work(row):
            found = reader.read(slice(row, row + 16), slice(8000, 8050)).data
            if not np.array_equal(found, truth[:, row : row + 16, 8000:8050]):
                wrong.append(row)

        threads = [threading.Thread(target=work, args=(row,)) for row in range(0, 48, 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
