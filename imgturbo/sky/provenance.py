"""What a made image says of its making, and what it must not repeat of the observation.

A prediction has the place of an observation, and its object, but not its exposure: no photon of it
was counted at DATE-OBS by a camera in orbit. So what stays is a list of what stays true, and all
else is told as history of the input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from astropy.io import fits

__all__ = [
    "PREDICTED",
    "derived_header",
    "history_of",
    "object_cards",
    "predicted_by",
    "prediction_cards",
]

PREDICTED = "PREDICTD"
"""The card of an image that was never observed."""

_OBJECT = ("OBJECT", "TARGNAME", "FIELD", "RA_TARG", "DEC_TARG")
_STAYS_TRUE = re.compile("|".join((*_OBJECT, "ROWORDER", "COMMENT", "HISTORY")))
_TOLD = ("TELESCOP", "INSTRUME", "DETECTOR", "OBJECT", "TARGNAME", "DATE-OBS", "EXPTIME")


def prediction_cards(model: str, way: str) -> list[tuple[str, Any, str]]:
    """Cards of every image that a network has made.

    Args:
        model: hash of the bundle.
        way: the direction, or what else was done.
    """
    return [
        (PREDICTED, True, "made by a network, not observed"),
        ("MODEL", model, "hash of the model that made it"),
        ("DIRECTN", way, "forward: source to target"),
    ]


def predicted_by(header: Mapping[str, Any] | None) -> str | None:
    """What made an image, in words; None for one that was observed, for all that is said."""
    if header is None or not header.get(PREDICTED):
        return None
    return f"by a network (model {header.get('MODEL', 'unknown')}), not observed"


def object_cards(header: fits.Header | None) -> list[tuple[str, Any, str]]:
    """Cards of what an observation was of, which its prediction is of too."""
    return [
        (card.keyword, card.value, card.comment)
        for card in derived_header(header).cards
        if card.keyword in _OBJECT and not isinstance(card.value, fits.card.Undefined)
    ]


def history_of(header: Mapping[str, Any] | None) -> list[str]:
    """Lines of HISTORY on the observation that an image was made from."""
    given = header if header is not None else {}
    return [f"input {key} = {given[key]}" for key in _TOLD if key in given]


def derived_header(header: fits.Header | None) -> fits.Header:
    """Of an observation's header what is still true of an image made from it.

    The object and the order of rows. Dates, exposures, the observer's place, the detector's
    properties and the calibration of its counts are the observation's alone, and so are sums,
    masks' bits and coordinates, which an image has beside its header.
    """
    kept = fits.Header()
    for card in header.cards if header is not None else ():
        if _STAYS_TRUE.fullmatch(card.keyword):
            kept.append(card, end=True)
    return kept
