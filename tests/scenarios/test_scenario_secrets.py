"""No key leaves where it is kept: not as a fact, a log line, a report, a payload, a state file, or a repr."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Self

import msgspec
import pytest
from one_ppmid import one_ppmid

from han.security.install_code import link_key
from han.security.lab_authority import lab_authority, lab_credentials
from han.security.suite import Suite
from hub import messages
from hub.dcc.requests import UpdatePpmidFirmware


class Listening(logging.Handler):
    """Everything that our own code logs, however unimportant."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.exc_text or ''}")

    def __enter__(self) -> Self:
        for name in ("han", "hub", "ota"):
            logging.getLogger(name).addHandler(self)
            logging.getLogger(name).setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("han", "hub", "ota"):
            logging.getLogger(name).removeHandler(self)
            logging.getLogger(name).setLevel(logging.NOTSET)


def spellings(secret: bytes) -> list[str]:
    """The ways in which octets end up in a text."""
    spelt = []
    for octets in (secret, secret[::-1]):
        spelt += [octets.hex(), octets.hex(":"), octets.hex("-"), octets.hex(" ")]
        spelt += [repr(octets)[2:-1], repr(list(octets))[1:-1], str(int.from_bytes(octets, "big"))]
    return [spelling.lower() for spelling in spelt]


@pytest.fixture
async def told(rebound, tmp_path):
    """The secrets of a run, and all that it told, by where it was told."""
    with Listening() as log:
        async with one_ppmid(5) as (stage, ppmid):
            facts, payloads = [], []
            stage.facts.subscribe(lambda fact: facts.append(f"{fact!r} {fact.to_json()}"))

            async def hear(topic: str, payload: bytes) -> None:
                payloads.append(f"{topic} {payload.decode()}")

            await stage._user.on(f"{messages.ROOT}/{stage.hub_eui64.hex}/#", hear)
            device = stage.house.devices["ppmid"]
            first = device.node.store.link_keys[stage.hub_eui64].key
            await stage.mains.hub._house.establish(ppmid.eui64)
            await asyncio.sleep(30)
            file = stage.image(ppmid, 0x00020000, 4096)
            answer = await stage.dsp.submit(UpdatePpmidFirmware(image=file.data, devices=(ppmid.eui64,)))
            outcome = await stage.dsp.finished(answer.request_id)
            await stage.mains.cut()
            await stage.mains.power_on()
            await asyncio.sleep(60)
            second = device.node.store.link_keys[stage.hub_eui64].key
            hub = stage.mains.hub
            coordinator = hub._house
            secrets = {
                "network key": stage.house.node.network.network_key,
                "link key of the install code": link_key(ppmid.install_code),
                "first established link key": first,
                "second established link key": second,
            }
            for suite in Suite:
                for holder in (stage.hub_eui64, ppmid.eui64):
                    private = lab_credentials(holder, suite).keys.private
                    secrets[f"private key of {holder}, {suite}"] = suite.curve.encode_scalar(private)
                private = lab_authority(suite)._keys.private
                secrets[f"private key of the authority of {suite}"] = suite.curve.encode_scalar(private)
            memory, node = stage.house.memory.dongle, device.node
            everything = [
                *(
                    hub,
                    stage,
                    stage.house,
                    device,
                    ppmid,
                    lab_authority(Suite.TWO),
                    lab_credentials(ppmid.eui64),
                ),
                *(coordinator, coordinator.network, coordinator.devices, coordinator._link.stack),
                *(coordinator._settings, coordinator._network_settings, coordinator._security),
                *(coordinator._establishment, coordinator._establishment._machine, coordinator._roll),
                *(node.store, node.store.link_keys, node.network, memory.store.link_keys),
                *(memory.store.network, memory, stage.house.memory, memory.flash.security),
            ]
            disk = hub.custody._flash._disk
            told = {
                "facts": facts,
                "log": log.lines,
                "payloads": [payload for payload in payloads if "/request/join " not in payload],
                "report": [json.dumps(msgspec.to_builtins(stage.report), default=str), repr(outcome)],
                "state": [(disk.read(name) or b"").decode("latin-1") for name in disk.names()],
                "reprs": [repr(each) for each in everything],
            }
            yield secrets, told


async def test_no_key_is_told_anywhere(told):
    secrets, places = told

    assert len(set(secrets.values())) == len(secrets), "the second key is another than the first"
    for place in ("facts", "payloads", "report", "state", "reprs"):
        assert places[place], f"{place}: nothing to look at proves nothing"
    for place, texts in places.items():
        whole = "\n".join(texts).lower()
        for name, secret in secrets.items():
            found = [spelling for spelling in spellings(secret) if spelling in whole]
            assert not found, f"the {name} is in the {place}"


async def test_the_search_finds_a_key_that_is_told(told):
    secrets, _ = told
    key = secrets["network key"]

    for text in (key.hex().upper(), repr(key), repr({"key": list(key)}), key.hex(":"), key[::-1].hex()):
        assert any(spelling in text.lower() for spelling in spellings(key)), text
