"""Files in buckets of S3, on a server of its own on the loopback: read as everybody may."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from imgturbo.errors import ImgturboError
from imgturbo.remote import identity, server
from imgturbo.sky import open_sky, read_sky

BUCKET = "s3://stpubdata/hst/public"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """``(folder, put)``: what is put there is in the bucket."""
    import boto3
    from fsspec.config import conf
    from moto.server import ThreadedMotoServer

    folder = tmp_path_factory.mktemp("bucket")
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    endpoint = f"http://127.0.0.1:{moto.get_host_and_port()[1]}"
    words = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **words)
    client.create_bucket(Bucket="stpubdata")

    def put(path):
        client.upload_file(
            str(path), "stpubdata", f"hst/public/{path.name}", {"ACL": "public-read"}
        )
        return f"{BUCKET}/{path.name}"

    patch = pytest.MonkeyPatch()
    patch.setitem(conf, "s3", {"endpoint_url": endpoint})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    patch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    patch.setattr(server, "_WAIT", 0.01)
    server._anonymous.cache_clear()
    yield folder, put
    patch.undo()
    server._anonymous.cache_clear()
    moto.stop()


def test_windows_of_a_bucket_are_those_of_the_file(bucket):
    folder, put = bucket
    data = np.random.default_rng(0).normal(size=(47, 9001)).astype(np.float32)
    hdu = fits.ImageHDU(data, fits.Header({"BUNIT": "nJy", "FILTER": "F606W"}), name="SCI")
    weight = np.ones((47, 9001), np.float32)
    weight[20, 8010] = 0
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(folder / "x_drz.fits")
    fits.PrimaryHDU(weight).writeto(folder / "x_wht.fits")
    put(folder / "x_wht.fits")
    address = put(folder / "x_drz.fits")
    window = slice(11, 30), slice(8000, 8033)
    with open_sky(address) as there, open_sky(folder / "x_drz.fits") as here:
        assert there.masked_by == ("x_wht.fits",)
        np.testing.assert_array_equal(there.read(*window).data, here.read(*window).data)
    size = (folder / "x_drz.fits").stat().st_size
    assert identity(address).startswith(f"remote {size} bytes, ETag ")


@pytest.mark.parametrize("address", [f"{BUCKET}/none.fits", "s3://nobucket/x.fits"])
def test_what_is_not_there_is_one_line(bucket, address):
    with pytest.raises(ImgturboError) as error:
        read_sky(address)
    assert str(error.value) == f"{address}: no such file; check the path"


def test_a_folder_is_named(bucket):
    folder, put = bucket
    (folder / "y.txt").write_text("1")
    put(folder / "y.txt")
    with pytest.raises(ImgturboError, match=f"{BUCKET}: is a folder; name the files in it"):
        read_sky(BUCKET)


def test_all_companions_that_a_bucket_lists_are_known(bucket):
    folder, put = bucket
    data = np.ones((20, 30), np.float32)
    fits.PrimaryHDU(data, fits.Header({"BUNIT": "nJy"})).writeto(folder / "z_sci.fits")
    weight = np.ones((20, 30), np.float32)
    weight[3, 4] = 0
    fits.PrimaryHDU(weight).writeto(folder / "z.ivar.fits")
    put(folder / "z.ivar.fits")
    with open_sky(put(folder / "z_sci.fits")) as reader:
        assert reader.masked_by == ("z.ivar.fits",)
        assert np.isnan(reader.read().data[0, 3, 4])


@pytest.mark.slow
def test_commands_read_a_bucket(bucket, job, tmp_path, capsys):
    """Fields of a preparation, and the images of an evaluation."""
    import json

    from imgturbo.cli.main import main
    from imgturbo.data import TileStore

    _, put = bucket
    sides = [f"--source={put(path)}" for path in job.source]
    sides += [f"--target={put(path)}" for path in job.target]
    tile = ["prepare.tile.size=32", "prepare.tile.min_valid=0.5", "prepare.split.guard=0"]
    far = [put(path) for path in (job.prediction, job.aligned_target, job.aligned_source)]
    scores = tmp_path / "s.json"
    for words in (
        ["prepare", *sides, "--out", str(tmp_path / "t.zarr"), *tile],
        ["evaluate", far[0], far[1], "--source", far[2], "--json", str(scores)],
        ["inspect", far[0]],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, capsys.readouterr().err
    found, wanted = (
        TileStore.open(path).split("train") for path in (tmp_path / "t.zarr", job.tiles)
    )
    rows = np.arange(len(wanted))
    np.testing.assert_array_equal(found.target[rows], wanted.target[rows])
    scored = json.loads(scores.read_text())["prediction"]
    assert scored == json.loads(job.scores.read_text())["prediction"]
