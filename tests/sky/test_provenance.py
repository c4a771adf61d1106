"""What a prediction's header says: what was made, of what, and nothing of the observation."""

from __future__ import annotations

from astropy.io import fits

from imgturbo.sky.provenance import derived_header, history_of, predicted_by, prediction_cards

OBSERVED = {
    "TELESCOP": "HST",
    "INSTRUME": "ACS",
    "OBJECT": "M51",
    "DATE-OBS": "2005-01-18",
    "EXPTIME": 2720.0,
    "TEXPTIME": 2720.0,
    "EXPSTART": 53388.0,
    "EFFEXPTM": 1.0,
    "XPOSURE": 3.0,
    "MJD-AVG": 53388.1,
    "OBSGEO-X": 1.0,
    "PHOTFLAM": 1e-19,
    "PHOTMJSR": 2.0,
    "BUNIT": "ELECTRONS/S",
    "FILTER": "F606W",
    "ABZP": 26.5,
    "CHECKSUM": "abc",
    "CRPIX1": 3.0,
    "ROWORDER": "TOP-DOWN",
}


def test_what_is_true_of_the_observation_alone_is_told_as_history():
    header = fits.Header(OBSERVED)
    assert dict(derived_header(header)) == {"OBJECT": "M51", "ROWORDER": "TOP-DOWN"}
    assert "input TELESCOP = HST" in history_of(header)
    assert "input EXPTIME = 2720.0" in history_of(header)
    assert history_of(None) == []
    assert len(derived_header(None)) == 0


def test_who_made_an_image_is_read_back():
    header = fits.Header(prediction_cards("abc123", "forward"))
    assert predicted_by(header) == "by a network (model abc123), not observed"
    assert predicted_by(fits.Header(OBSERVED)) is predicted_by(None) is None
