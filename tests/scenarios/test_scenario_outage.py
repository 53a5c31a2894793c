"""Days without a broker: the house goes on, what happens in it is kept in order, and told once afterwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from alert_promises import AlertsTold
from month_world import DAY, Wan
from one_ppmid import let_in, one_ppmid

from han.clock import Utc
from hub.dcc.lifecycle import Result
from hub.dcc.requests import ActivateFirmware, UpdatePpmidFirmware
from hub.demo.telling import Telling

SIZE = 4000
DAYS = 5
MEMORY = 16 * 1024
"""Octets that the hub's memory may need besides the images of both slots."""


@pytest.mark.usefixtures("rebound")
async def test_what_devices_do_in_an_outage_of_five_days_is_kept_in_order_and_told_once_when_it_is_over():
    wan = Wan()
    async with one_ppmid(seed=31, wan=wan.to) as (stage, ppmid):
        telling, house, utc = Telling(stage), stage.house, Utc(asyncio.get_running_loop())
        await let_in(stage, "ppmid-silent", "gsme")
        silent, gsme = stage.described["ppmid-silent"], stage.described["gsme"]

        gas = stage.image(gsme, 0x00020000, SIZE)
        telling.expect_result(await telling.update(gas, gsme), Result.TRANSFERRED)
        due = (utc.now() + timedelta(days=DAYS, hours=-2)).replace(microsecond=0)
        dated = await stage.dsp.submit(
            ActivateFirmware(
                device=gsme.eui64, manufacturer_image_hash=gas.manufacturer_image_hash, execution_time=due
            )
        )
        for name in ("ppmid", "ppmid-silent"):
            house.devices[name].power_off()
        stored = telling.fact("slot.stored", None)
        both = await stage.dsp.submit(
            UpdatePpmidFirmware(
                image=stage.image(ppmid, 0x00020000, SIZE).data, devices=(ppmid.eui64, silent.eui64)
            )
        )
        assert await telling.within(DAY, stored) is not None
        await asyncio.sleep(60)

        told = AlertsTold(stage.hub_eui64, utc)
        stage.facts.subscribe(told.hear)
        wan.cut()
        sizes = []
        for day in range(DAYS):
            match day:
                case 1:
                    house.devices["ppmid"].power_on()
                case 2:
                    await stage.mains.cut()
                    await asyncio.sleep(60)
                    await stage.mains.power_on()
                case 3:
                    house.devices["ppmid-silent"].power_on()
                case _:
                    pass
            await asyncio.sleep(DAY)
            sizes.append(sum(each.stat().st_size for each in stage.state.iterdir()))
        assert told.received == []
        assert len(told.raised) == 4
        await wan.mend()
        updated = await telling.finished(both.request_id)
        telling.expect_result(await telling.finished(dated.request_id), Result.ACTIVATED)
        await asyncio.sleep(DAY)

    assert telling.unmet == []
    assert {part.device: part.result for part in updated.devices} == {
        ppmid.eui64: Result.ACTIVATED,
        silent.eui64: Result.UNREPORTED,
    }
    assert told.broken() == []
    assert [(alert.kind, alert.code, alert.device) for alert in told.received] == [
        ("firmware-transfer", "0x8F8A", str(ppmid.eui64)),
        ("ppmid-activation", "0x8F8B", str(ppmid.eui64)),
        ("firmware-transfer", "0x8F8A", str(silent.eui64)),
        ("activation", "0x8F66", str(gsme.eui64)),
    ]
    assert max(sizes) < 2 * SIZE + MEMORY
