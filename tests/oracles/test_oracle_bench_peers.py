"""The benchmark has zigbee-herdsman, which we did not write, download an image on the virtual air."""

from __future__ import annotations

import pytest

from han.sim.home import Profile
from hub.bench.herdsman_peer import measure_herdsman, missing
from hub.bench.setup import Setup

pytestmark = [pytest.mark.bench, pytest.mark.oracle]


def test_herdsmans_session_is_measured_in_real_time_and_heard_on_the_air(node):
    assert missing() == ""
    outcome = measure_herdsman(Setup(size=1000, profile=Profile.HOME_AUTOMATION, is_secured=False))

    assert outcome.blocks == 20, "it sends fifty octets at a time"
    assert len(outcome.asked) >= 20
    assert outcome.virtual > 19 * 0.2, "four blocks a second"
