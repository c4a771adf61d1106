"""The campaigns of damaged files, in short: fixed seeds, and every input ends as it should."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is not installed

from benchmarks.faults.campaign import last_line, report, run


@pytest.mark.parametrize(
    ("name", "count", "seed"), [("fits", 100, 7), ("pictures", 150, 8), ("bombs", 6, 2)]
)
def test_damaged_files_are_read_whole_or_refused_in_one_line(name, count, seed):
    results = run(f"benchmarks.faults.{name}", count, seed)
    assert not any(result.defect for result in results), report(results)
    assert len(results) == count
    assert last_line(f"benchmarks.faults.{name}", seed, results).endswith(
        " refused in one line, 0 defects in 0 groups"
    )
