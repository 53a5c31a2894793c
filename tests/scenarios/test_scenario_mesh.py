"""The whole bench over four hops: head end, broker, hub, bellows, dongle, three range extenders, a PPMID."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from han.clock import Utc, rebind_for_simulation, virtual_loop_factory
from han.facts import Facts
from han.sim.home import Kind, read_home
from han.sim.house import House
from hub.dcc.requests import UpdatePpmidFirmware
from hub.demo.images import Supplier
from hub.demo.report import Report
from hub.demo.stage import Chance, open_stage, prepared_home

HOMES = Path(__file__).parents[2] / "fixtures" / "homes"
NEW = 0x00020000


@asynccontextmanager
async def bench(home: str, *, seed: int = 7, loss: float = 0.0, capture: io.BytesIO | None = None):
    """The house of this file, moved into, with everything above it and a concentrator in its dongle."""
    loop = asyncio.get_running_loop()
    facts, supplier = Facts(loop.time), Supplier()
    told = []
    facts.subscribe(told.append)
    prepared = prepared_home(read_home(str(HOMES / home)), supplier, None)
    house = House(prepared, facts=facts, utc=Utc(loop).at, seed=seed, loss=loss)
    house.run_on(loop)
    if capture is not None:
        house.capture(capture)
    report = Report(seed=seed)
    async with open_stage(
        house, Chance(seed, loss), report=report, facts=facts, supplier=supplier, source_routing=True
    ) as stage:
        for device in stage.described.values():
            await stage.admit(device)
        house.power_on()
        await asyncio.sleep(240.0)
        assert all(device.is_attached for device in house.devices.values())
        yield stage, told
    house.stop()


async def update(stage, size: int):
    """Update the PPMID as the head end does, and give the outcome."""
    ppmid = stage.described["ppmid"]
    file = stage.image(ppmid, NEW, size)
    response = await stage.dsp.submit(UpdatePpmidFirmware(image=file.data, devices=(ppmid.eui64,)))
    assert response.ok, response.reason
    outcome = await stage.dsp.finished(response.request_id)
    return [device.result.value for device in outcome.devices]


@pytest.mark.usefixtures("rebound")
@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_a_ppmid_behind_three_range_extenders_is_updated_by_the_head_end(loss):
    async with bench("four-hops.toml", loss=loss) as (stage, told):
        assert stage.house.devices["ppmid"].node.store.depth == 4
        assert await update(stage, 20_000) == ["activated"]
        assert stage.house.devices["ppmid"].file_version == NEW

    # With three relays in the header and APS security 48 octets of image are left of 56.
    sizes = [fact.size for fact in told if fact.what == "ota.block" and fact.who == "hub"]
    assert min(sizes[-50:-1]) <= 48
    assert [fact.what for fact in told if fact.what in ("mqtt.lost", "radio.lost")] == []


@pytest.mark.usefixtures("rebound")
async def test_the_head_end_knows_nothing_of_range_extenders():
    async with bench("four-hops.toml") as (stage, _):
        routers = [device for device in stage.described.values() if device.kind is Kind.ROUTER]
        file = stage.image(stage.described["ppmid"], NEW, 2_000)
        request = UpdatePpmidFirmware(image=file.data, devices=(routers[0].eui64,))
        assert not (await stage.dsp.submit(request)).ok


async def recorded_update() -> bytes:
    """The capture of a short update over four lossy hops."""
    capture = io.BytesIO()
    async with bench("four-hops.toml", loss=0.03, capture=capture) as (stage, _):
        await update(stage, 3_000)
    return capture.getvalue()


def test_the_same_seed_gives_the_same_capture_over_four_hops():
    captures = []
    for _ in range(2):
        with rebind_for_simulation(seed=7), asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
            captures.append(runner.run(recorded_update()))
    assert len(captures[0]) > 100_000
    assert captures[0] == captures[1]
