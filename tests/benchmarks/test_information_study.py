"""The problem of known information has the information that it says."""

from __future__ import annotations

import pytest

from benchmarks.information import NATS, Joint, jobs, trained
from imgturbo.metrics.information import information_of_normal


@pytest.mark.parametrize("nats", NATS)
def test_the_pair_shares_so_many_nats(nats):
    both, _ = Joint(nats).covariances
    assert information_of_normal(both, 4) == pytest.approx(nats, rel=1e-9)


def test_every_kind_of_job_trains(tmp_path):
    joint = Joint(1.0)
    for number, job in enumerate(jobs(0.5, eight=True)):
        assert trained(job, joint, tmp_path / str(number), 2).decoder is not None
