"""The hub loses its power at every step of a download, on the true radio path; nobody is the worse for it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from one_ppmid import one_ppmid

from han.facts import Fact
from hub.dcc.requests import UpdatePpmidFirmware
from hub.demo.stage import Stage

SIZE = 700
"""Octets of the image: eleven blocks, so that a cut at every step is affordable."""

STEPS = ("chunk.taken", "slot.stored", "ota.notify", "ota.query", "ota.started", "ota.block", "ota.completed")


class Cutter:
    """Cuts the hub's power at the n-th step after it was armed."""

    def __init__(self, stage: Stage) -> None:
        self._left = -1
        self.due = asyncio.Event()
        self.at: Fact | None = None
        stage.facts.subscribe(self._hear)

    def arm(self, steps: int) -> None:
        self._left, self.at = steps, None
        self.due.clear()

    def _hear(self, fact: Fact) -> None:
        if fact.who != "hub" or fact.what not in STEPS or self._left < 0:
            return
        if self._left == 0:
            self.at = fact
            self.due.set()
        self._left -= 1


@pytest.mark.usefixtures("rebound")
async def test_a_power_cut_at_any_step_loses_nothing_and_tells_nothing_twice():
    """One update for each step at which the power goes; each ends well, with one alert of each kind."""
    async with one_ppmid(seed=11) as (stage, ppmid):
        cutter = Cutter(stage)
        cuts = []
        for step in range(100):
            file = stage.image(ppmid, 0x00020000 + step, SIZE)
            with stage.facts.recorded() as told:
                cutter.arm(step)
                response = await stage.dsp.submit(
                    UpdatePpmidFirmware(image=file.data, devices=(ppmid.eui64,))
                )
                assert response.ok, response.reason
                ended = asyncio.ensure_future(stage.dsp.finished(response.request_id))
                due = asyncio.ensure_future(cutter.due.wait())
                await asyncio.wait({ended, due}, return_when=asyncio.FIRST_COMPLETED)
                if due.done():
                    await stage.mains.cut()
                    await asyncio.sleep(5)
                    await stage.mains.power_on()
                due.cancel()
                outcome = await ended
            assert outcome.devices[0].result is not None
            assert outcome.devices[0].result.value == "activated", (step, cutter.at)
            alerts = Counter(fact.code for fact in told if fact.what == "alert.received")
            assert alerts == {"0x8F8A": 1, "0x8F8B": 1}, (step, cutter.at)
            if cutter.at is None:
                break
            cuts.append(cutter.at.what)
            if cutter.at.what == "ota.block" and cutter.at.offset > 0:
                served = [fact.offset for fact in told if fact.what == "ota.block" and fact.who == "hub"]
                assert served.count(0) == 1, "the device goes on where it stood"
        else:
            pytest.fail("more steps than expected: was the cut ever due?")
        assert cuts.count("ota.block") >= SIZE // 65
        assert set(cuts) >= {"chunk.taken", "slot.stored", "ota.query", "ota.block"}
