"""What the hub tells of each image and each target, on the true radio path and across its power cuts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alert_promises import AlertsTold
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding
from one_ppmid import let_in, one_ppmid

from han.clock import Utc
from han.facts import Fact
from han.gbcs.parties import Purpose, lab_party
from hub.cli import main
from hub.demo.stage import Stage
from hub.demo.telling import Telling

SIZE = 2000
SUCCESS, DISCARDED, MISMATCH, FAILED = range(4)
"""The response codes of CCS08."""


def decoded(alert: Fact, certificate: Path) -> dict[str, Any]:
    """What ``gbhan gbcs decode`` makes of an alert's message, and of its signature."""
    shown = CliRunner().invoke(main, ["gbcs", "decode", "--json", "--signer", str(certificate), alert.gbcs])
    assert shown.exit_code == 0, shown.output
    document: dict[str, Any] = json.loads(shown.stdout)
    return document


async def reboot(stage: Stage) -> None:
    """Cut the hub's power for a moment."""
    await stage.mains.cut()
    await asyncio.sleep(5)
    await stage.mains.power_on()


async def each_trigger(stage: Stage) -> list[tuple[int, str]]:
    """Make each of the four happen, with a power cut after each; gives what is to be told of whom."""
    telling, house = Telling(stage), stage.house
    ppmid, silent, gsme = (stage.described[name] for name in ("ppmid", "ppmid-silent", "gsme"))
    await let_in(stage, "ppmid-silent", "gsme")

    await telling.update(stage.image(ppmid, 0x00020000, SIZE), ppmid)
    await reboot(stage)

    unfit = msgspec.structs.replace(ppmid, hardware_version=0x7700)
    await telling.update(stage.image(unfit, 0x00030000, SIZE), ppmid)
    await reboot(stage)

    begun = telling.fact("ota.block", ppmid)
    request = await telling.submit(stage.image(ppmid, 0x00040000, 20 * SIZE), ppmid)
    assert await telling.within(3600, begun) is not None
    await stage.give_up(ppmid.eui64)
    await telling.finished(request)
    await reboot(stage)

    # One image for two: one has it, the other is off, so that the gas image meets one unfinished target.
    house.devices["ppmid-silent"].power_off()
    file = stage.image(ppmid, 0x00050000, SIZE)
    first = await telling.submit(file, ppmid)
    second = await telling.submit(file, silent)
    await telling.finished(first)
    await reboot(stage)
    gas = await telling.submit(stage.image(gsme, 0x00020000, SIZE), gsme)
    await telling.finished(second)
    await reboot(stage)
    await telling.finished(gas)
    await asyncio.sleep(3600)
    assert telling.unmet == []
    return [
        (SUCCESS, str(ppmid.eui64)),
        (MISMATCH, str(ppmid.eui64)),
        (FAILED, str(ppmid.eui64)),
        (SUCCESS, str(ppmid.eui64)),
        (DISCARDED, str(silent.eui64)),
        (SUCCESS, str(gsme.eui64)),
    ]


@pytest.mark.usefixtures("rebound")
async def test_each_trigger_is_told_once_for_each_image_and_unfinished_target_and_gbcs_says_what_json_says(
    tmp_path,
):
    async with one_ppmid(seed=21) as (stage, _):
        told = AlertsTold(stage.hub_eui64, Utc(asyncio.get_running_loop()))
        stage.facts.subscribe(told.hear)
        expected = await each_trigger(stage)
        certificate = tmp_path / "hub.pem"
        party = lab_party(stage.hub_eui64)
        certificate.write_bytes(party.certificate(Purpose.SIGNING).public_bytes(Encoding.PEM))

    transfers = told.of_kind("firmware-transfer")
    assert [(alert.response, alert.device) for alert in transfers] == expected
    assert told.broken() == []
    counters = []
    for alert in transfers:
        document = decoded(alert, certificate)
        fields = document["fields"]
        assert document["signature_holds"] is True
        assert fields["originator"] == str(stage.hub_eui64)
        assert fields["device"] == alert.device
        assert fields["response code"].startswith(f"{alert.response} ")
        assert fields["alert code"].startswith(alert.code.lower())
        assert alert.file_version in fields["firmware version"].upper()
        counters.append(int(fields["originator counter"].split()[0]))
    assert counters == sorted(set(counters))
