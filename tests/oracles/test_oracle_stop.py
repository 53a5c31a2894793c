"""``gbhan hub`` told to stop in the middle of its work, on a bench of processes of their own."""

from __future__ import annotations

import asyncio
import signal

import pytest
from bench_world import bench, upgrade_file

from hub.disk import held_alone

pytestmark = [pytest.mark.bench, pytest.mark.oracle]

AT_MOST = 10.0
"""Seconds that a stop may take on a busy machine; by itself it takes a fifth of one."""


async def stopped_in_order(hub) -> None:
    async with asyncio.timeout(AT_MOST):
        hub.send(signal.SIGTERM)
        assert await hub.ended() == 0
    assert hub.facts[-1].what == "hub.down"


async def test_a_hub_stops_in_order_whatever_it_is_doing_and_goes_on_where_it_stood(program, tmp_path):
    async with bench(tmp_path, program("mosquitto"), 1) as built:
        hub = built.hub
        await built.join_all()
        await built.submit("R-1", upgrade_file(0x00020000, 30_000))

        # In mid-download.
        await hub.says("ota.block", times=20)
        await stopped_in_order(hub)
        with held_alone(tmp_path / "hub"):
            pass

        # While the broker is away; the download goes on meanwhile.
        since = len(hub.facts)
        await hub.start()
        await hub.says("ota.block", since=since)
        await built.broker.kill()
        await hub.says("mqtt.unreachable", since=since)
        await stopped_in_order(hub)

        # While the dongle is frozen: it answers nothing, and its serial line stays open.
        since = len(hub.facts)
        await built.broker.start()
        await hub.start()
        built.dongle.send(signal.SIGSTOP)
        try:
            await stopped_in_order(hub)
        finally:
            built.dongle.send(signal.SIGCONT)

        # Nothing of it was lost: the request comes to its end, and the image is taken once.
        await hub.start()
        standing = await built.finished("R-1")
        assert standing.ok
        assert hub.count("ota.completed") == 1
