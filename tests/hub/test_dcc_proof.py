"""The head end believes what is signed, for whom it should be, and says what the JSON beside it says."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from dcc_world import (
    FAST,
    GSME,
    HASH,
    HCALCS,
    HUB,
    NEW,
    OTHER_HUB,
    PPMID,
    World,
    only,
    upgrade_file,
    world,
)

from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, Purpose, lab_party
from han.gbcs.protection import signed
from hub.dcc.lifecycle import Result
from hub.dcc.proof import Belief, Trust, examine
from hub.dcc.requests import ActivateFirmware, ReadFirmwareVersion, UpdateFirmware, UpdatePpmidFirmware
from hub.errors import OurError
from hub.messages import ActivationOutcome, Alert, PpmidActivationAlert, encode, open_message, topic_of
from hub.parties import AUTHORITY_FILE, read_parties, write_parties
from ota.eui64 import Eui64

IMAGE = upgrade_file()
UPDATE = UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,))


async def alerts_of_every_kind() -> list[Alert]:
    """CCS08, CS09, a receipt, a CS06 response, its NULL, and the alert after it: as the hub sent them."""
    async with world() as w:
        await w.run(UPDATE)
        await w.run(UpdateFirmware(image=IMAGE, devices=(HCALCS,)))
        w.hub.alert_receipt(HCALCS, HASH)
        await w.run(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        dated = ActivateFirmware(
            device=HCALCS, manufacturer_image_hash=HASH, execution_time=w.hub.now + timedelta(hours=1)
        )
        await w.dsp.submit(dated)
        await asyncio.sleep(5)
        w.hub.outcome(w.hub.commands[1], 2, code="0x8F67")
        messages = [open_message(topic, payload)[1] for topic, payload in w.broker.carried]
        return [each for each in messages if isinstance(each, Alert)]


def resigned(message: Envelope, by: Eui64 | None = None) -> Envelope:
    return signed(replace(message, signature=None), lab_party(by or message.originator).signing)


async def test_what_a_hub_sends_is_proven_and_a_flipped_bit_anywhere_is_not():
    dice = random.Random(7)
    alerts = await alerts_of_every_kind()
    assert len({(type(alert), alert.code, alert.response is None) for alert in alerts}) == 6
    for alert in alerts:
        assert examine(alert, HUB, None, Trust()).belief is Belief.PROVEN, alert
        whole = bytes.fromhex(alert.gbcs)
        for bit in {dice.randrange(8 * len(whole)) for _ in range(60)}:
            octets = bytearray(whole)
            octets[bit // 8] ^= 1 << bit % 8
            spoilt = msgspec.structs.replace(alert, gbcs=octets.hex())
            assert examine(spoilt, HUB, None, Trust()).belief is Belief.REFUSED, bit


SPOILT = {
    "another's signature": (lambda m: resigned(m, by=HCALCS), "not by the lab's key"),
    "no signature": (lambda m: replace(m, signature=None), "missing"),
    "another originator": (lambda m: resigned(replace(m, originator=OTHER_HUB)), "comes from"),
    "another recipient": (lambda m: resigned(replace(m, recipient=SUPPLIER)), "is for"),
    "another kind": (lambda m: resigned(replace(m, kind=MessageKind.RESPONSE)), "another kind"),
    "another use case": (lambda m: resigned(replace(m, code=0x1000)), "another kind"),
    "a payload cut short": (lambda m: resigned(replace(m, payload=m.payload[:-1])), "cannot be read"),
    "another version": (
        lambda m: resigned(replace(m, payload=m.payload.replace(bytes.fromhex(NEW), b"\3\0\0\0"))),
        "version: its GBCS message says 03000000, the hub 02000000",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
async def test_nothing_is_concluded_from_an_alert_that_does_not_hold(how):
    spoil, why = SPOILT[how]
    async with world() as w:
        w.hub.spoil = spoil
        response = await w.dsp.submit(UPDATE)
        await asyncio.sleep(10)

        assert only(w.dsp.outcome(response.request_id)) is None
        refused = [line for line in w.dsp.story(response.request_id) if line.event == "alert refused"]
        assert [line.code for line in refused] == ["0x8F8A", "0x8F8B"]
        assert all(why in line.text for line in refused), refused
        assert [fact.why for fact in w.said("alert.refused")] == [line.text for line in refused]
        assert w.said("alert.received") == []
        assert w.dsp.devices()[PPMID].version == "01000000"


async def test_a_forgery_does_not_keep_the_true_alert_out():
    async with world() as w:
        w.hub.spoil = lambda message: resigned(message, by=HCALCS)
        response = await w.dsp.submit(UPDATE)
        await asyncio.sleep(10)
        w.hub.spoil = lambda message: message
        w.hub.alert_transfer(w.hub.offers[0], PPMID)
        w.hub.alert_activation(PPMID, NEW, about=response.request_id)

        assert only(await w.dsp.finished(response.request_id)) is Result.ACTIVATED


async def test_a_forgery_that_repeats_is_told_once():
    async with world() as w:
        w.hub.spoil = lambda message: replace(message, signature=None)
        response = await w.dsp.submit(UPDATE)
        await asyncio.sleep(10)
        payloads = [p for topic, p in w.broker.carried if topic.endswith("alert/firmware-transfer")]
        for _ in range(3):
            await w.dsp._heard(topic_of(HUB, open_transfer(payloads[0])), payloads[0])
        assert w.story(response.request_id).count("alert refused 0x8F8A") == 1


def open_transfer(payload: bytes) -> Alert:
    message = open_message(f"gbhan/v1/hub/{HUB.hex}/alert/firmware-transfer", payload)[1]
    assert isinstance(message, Alert)
    return message


async def test_an_answer_to_another_command_ends_nothing():
    async with world() as w:
        w.hub.activation_response = None
        first = await w.dsp.submit(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        await asyncio.sleep(5)
        w.hub.spoil = lambda message: resigned(replace(message, counter=message.counter + 1))
        w.hub.outcome(w.hub.commands[0], 0)
        await asyncio.sleep(5)
        assert only(w.dsp.outcome(first.request_id)) is None
        assert "counter" in w.said("alert.refused")[0].why


async def test_without_a_message_an_alert_counts_only_where_the_user_says_so_and_is_marked():
    for is_required, result in ((True, None), (False, Result.ACTIVATED)):
        settings = replace(FAST, trust=Trust(is_required=is_required))
        async with world(settings) as w:
            w.hub.holds = True
            response = await w.dsp.submit(UPDATE)
            await asyncio.sleep(10)
            bare = PpmidActivationAlert(
                device=str(PPMID),
                file_version=NEW,
                code="0x8F8B",
                response=0,
                at=0.0,
                **w.hub.envelopes.stamp("bare"),
            )
            await w.dsp._heard(topic_of(HUB, bare), encode(bare))
            assert only(w.dsp.outcome(response.request_id)) is result
            marked = [
                line.text for line in w.dsp.story(response.request_id) if "no GBCS message" in line.text
            ]
            assert len(marked) == 1
            assert ("unverified" in marked[0]) is (not is_required)


def certificates(folder, *parties: Eui64) -> Trust:
    write_parties(folder, parties)
    return Trust(keys=read_parties(folder, Purpose.SIGNING))


async def test_certificates_that_were_given_decide_and_nobody_elses_word_counts(tmp_path):
    trust = certificates(tmp_path, HUB, ACCESS_CONTROL_BROKER)
    for is_required, result in ((True, None), (False, Result.ACTIVATED)):
        async with world(replace(FAST, trust=replace(trust, is_required=is_required))) as w:
            response = await w.dsp.submit(UPDATE)
            await asyncio.sleep(10)
            story = {line.event: line.text for line in w.dsp.story(response.request_id)}
            assert "unverified" not in story["Firmware Transfer Alert"]
            assert only(w.dsp.outcome(response.request_id)) is result
            told = story["alert refused" if is_required else "PPMID Activation Alert"]
            assert f"no certificate of {PPMID}" in told


async def test_a_signature_that_contradicts_a_given_certificate_is_refused_even_where_doubts_are_allowed(
    tmp_path,
):
    trust = replace(certificates(tmp_path, HUB, PPMID), is_required=False)
    async with world(replace(FAST, trust=trust)) as w:
        w.hub.spoil = lambda message: resigned(message, by=HCALCS)
        response = await w.dsp.submit(UPDATE)
        await asyncio.sleep(10)
        assert only(w.dsp.outcome(response.request_id)) is None
        assert len(w.said("alert.refused")) == 2


async def test_a_device_with_keys_of_its_own_counts_as_unverified_where_that_is_allowed():
    async with world(replace(FAST, trust=Trust(is_required=False))) as w:
        w.hub.spoil = lambda message: resigned(message, by=HCALCS)
        _, outcome = await w.run(UPDATE)
        assert only(outcome) is Result.ACTIVATED
        received = w.said("alert.received")
        assert all("not by the lab's key" in fact.unverified for fact in received)
        assert len(received) == 2


# --- 11.2 by CS08 ----------------------------------------------------------------------------------------


READ = ReadFirmwareVersion(device=PPMID)


def lines(w: World, request_id: str) -> list[tuple[str, str]]:
    return [(line.event, line.text) for line in w.dsp.story(request_id)]


async def test_a_version_read_by_cs08_is_proven_by_its_mac_and_says_where_it_comes_from():
    async with world() as w:
        w.hub.versions = {str(PPMID): NEW, str(GSME): NEW}
        response, outcome = await w.run(READ)
        assert only(outcome) is Result.VERSION_READ
        assert ("Communications Hub: version read", "by CS08") in lines(w, response.request_id)
        response, outcome = await w.run(ReadFirmwareVersion(device=GSME))
        assert only(outcome) is Result.VERSION_READ
        assert w.hub.commands[1].gbcs == "", "a meter has no CS08"
        told = ("Communications Hub: version read", "from the OTA cluster's attribute")
        assert told in lines(w, response.request_id)
        assert [fact.why for fact in w.said("csp.finished")] == [
            "by CS08",
            "from the OTA cluster's attribute",
        ]


async def test_the_counters_of_cs08_and_cs06_only_grow():
    async with world() as w:
        w.hub.versions = {str(PPMID): NEW}
        for _ in range(3):
            await w.run(READ)
            await w.run(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        counters = [Envelope.parse(bytes.fromhex(each.gbcs)).counter for each in w.hub.commands]
        assert counters == sorted(set(counters))
        assert len(counters) == 6


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda m: replace(m, mac=bytes(12)), "the MAC is missing, or not by the lab's key"),
        (lambda m: replace(m, mac=None), "the MAC is missing"),
        (lambda m: replace(m, originator=HCALCS), "originator"),
        (lambda m: replace(m, recipient=SUPPLIER), "recipient"),
        (lambda m: replace(m, counter=m.counter - 1), "counter"),
        (lambda m: replace(m, payload=m.payload.replace(bytes.fromhex(NEW), bytes(4))), "version"),
        (lambda m: replace(m, kind=MessageKind.COMMAND), "cannot be read"),
    ],
)
async def test_an_answer_to_cs08_that_does_not_hold_is_told_and_another_is_waited_for(spoil, why):
    async with world() as w:
        w.hub.versions = {str(PPMID): NEW}
        w.hub.spoil = spoil
        response = await w.dsp.submit(READ)
        await asyncio.sleep(30)
        assert only(w.dsp.outcome(response.request_id)) is None
        assert any(event == "answer refused" and why in text for event, text in lines(w, response.request_id))
        assert why in w.said("alert.refused")[0].why
        assert w.dsp.devices()[PPMID].version == "01000000"
        w.hub.spoil = lambda message: message
        assert only(await w.dsp.finished(response.request_id)) is Result.VERSION_READ
        assert w.dsp.devices()[PPMID].version == NEW


async def test_an_answer_under_a_key_that_nobody_knows_counts_only_as_unverified(tmp_path):
    for is_required, result in ((True, None), (False, Result.VERSION_READ)):
        async with world(replace(FAST, trust=Trust(agreement={}, is_required=is_required))) as w:
            w.hub.versions = {str(PPMID): NEW}
            response = await w.dsp.submit(READ)
            await asyncio.sleep(30)
            assert only(w.dsp.outcome(response.request_id)) is result
            assert any("no certificate of" in text for _, text in lines(w, response.request_id))


async def test_an_11_3_for_a_device_that_was_removed_ends_so():
    async with world() as w:
        w.hub.activation_response = None
        response = await w.dsp.submit(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        await asyncio.sleep(5)
        w.hub.say(
            ActivationOutcome(
                device=str(HCALCS),
                file_version="FFFFFFFF",
                code="removed",
                response=None,
                at=0.0,
                request_id=response.request_id,
                **w.hub.envelopes.stamp("removed"),
            )
        )
        assert only(await w.dsp.finished(response.request_id)) is Result.REMOVED


def test_certificates_come_back_as_they_were_written(tmp_path):
    write_parties(tmp_path, (HUB, PPMID))
    keys = read_parties(tmp_path, Purpose.SIGNING)
    assert {eui64: key.public_numbers() for eui64, key in keys.items()} == {
        each: lab_party(each).signing.public_key().public_numbers() for each in (HUB, PPMID)
    }


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder, file: file.write_text("nonsense"), "no certificate in PEM"),
        (lambda folder, file: file.rename(folder / "me-signing.pem"), "me"),
        (lambda folder, file: [each.unlink() for each in folder.glob("*-signing.pem")], "has no certificate"),
        (
            lambda folder, file: file.with_name(AUTHORITY_FILE).write_bytes(file.read_bytes()),
            "not issued by|issuer",
        ),
    ],
)
def test_a_folder_of_certificates_that_does_not_hold_is_refused_by_name(tmp_path, spoil, why):
    write_parties(tmp_path, (PPMID,))
    spoil(tmp_path, tmp_path / f"{PPMID.hex}-signing.pem")
    with pytest.raises(OurError, match=why):
        read_parties(tmp_path, Purpose.SIGNING)
