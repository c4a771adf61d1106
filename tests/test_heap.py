"""Kept memory is not asked of the system twice, and is given back in the end."""

from __future__ import annotations

import resource
import threading

import numpy as np
import pytest

from imgturbo import heap

BLOCK = 48 << 20  # more than the C library keeps by itself
needs_glibc = pytest.mark.skipif(heap._library() is None, reason="another C library")


def faults_of_blocks(count: int) -> int:
    """Pages that the system had to give for blocks that are made one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        np.ones(BLOCK // 8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@needs_glibc
def test_freed_blocks_are_used_again():
    pages = BLOCK // resource.getpagesize()
    outside = faults_of_blocks(3)
    with heap.kept():
        faults_of_blocks(1)
        inside = faults_of_blocks(3)
    if outside > 2 * pages:  # huge pages come in fewer faults
        assert inside < pages / 10
    assert faults_of_blocks(3) > 0.8 * outside  # as before


def test_blocks_within_blocks_and_threads_end_together(monkeypatch):
    told: list[dict[int, int]] = []
    monkeypatch.setattr(heap, "_set", told.append)
    elsewhere = heap.kept()
    with heap.kept():
        other = threading.Thread(target=elsewhere.__enter__)
        other.start()
        other.join()
        with heap.kept():
            pass
    assert told == [heap._KEPT]  # the thread's block is still open
    elsewhere.__exit__(None, None, None)
    assert told == [heap._KEPT, heap._USUAL]


def test_what_is_not_worth_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap, "_set", lambda options: pytest.fail("asked"))
    with heap.kept(False):
        pass


def test_an_error_ends_it(monkeypatch):
    told: list[dict[int, int]] = []
    monkeypatch.setattr(heap, "_set", told.append)
    with pytest.raises(ValueError, match="inside"), heap.kept():
        raise ValueError("inside")
    assert told == [heap._KEPT, heap._USUAL]
