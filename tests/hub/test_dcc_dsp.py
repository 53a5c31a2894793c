"""The DSP stub with the CSP model, against hubs that keep the contract and hubs that do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from dcc_world import (
    FAR_PPMID,
    FAST,
    GSME,
    HASH,
    HCALCS,
    HUB,
    IHD,
    INVENTORY,
    NEW,
    OTHER_HUB,
    PPMID,
    SECOND_PPMID,
    STRANGER,
    Broker,
    Hub,
    PowerCut,
    make_dsp,
    only,
    upgrade_file,
    world,
)

from han.clock import Utc
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of, require_protected_command
from hub.dcc.controls import DAY, HOUR, BatchSettings, InProgress, Milestone, Service
from hub.dcc.dsp import Dsp
from hub.dcc.lifecycle import Result
from hub.dcc.outcomes import Outcome
from hub.dcc.requests import (
    ActivateFirmware,
    BadRequestError,
    ReadFirmwareVersion,
    Rules,
    UpdateFirmware,
    UpdatePpmidFirmware,
)
from hub.dcc.settings import DspSettings
from hub.dcc.store import Change, Store
from hub.errors import OurError
from hub.messages import ROOT, DeviceEntry, ImageOffer, MessageError
from ota.gbcs_image import GbcsImage, authorise, layout_for
from ota.image import Header

IMAGE = upgrade_file()


def signed_file(version: int, force_replace: int = 0) -> bytes:
    """An upgrade file as an 11.1 carries it."""
    header = Header(manufacturer=0x121D, image_type=0x85, file_version=version, total_size=0)
    body = bytes((version,)) * 700
    return GbcsImage.build(header, body, authorise(body, None, force_replace=force_replace)).to_bytes()


def with_control_1(**changes) -> DspSettings:
    return replace(FAST, rules=Rules(in_progress=InProgress(**changes)))


async def test_an_11_4_ends_when_the_ppmid_reports_its_activation():
    async with world() as w:
        response, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert response.code == "I99"
        assert only(outcome) is Result.ACTIVATED
        assert outcome.devices[0].version_before == "01000000"
        assert outcome.devices[0].version_after == NEW
        assert w.dsp.devices()[PPMID].version == NEW
        assert list(w.hub.stored.values()) == [IMAGE]
        assert w.story(response.request_id) == [
            "accepted I99",
            "Communications Hub: delivered N60",
            "Firmware Transfer Alert 0x8F8A",
            "PPMID Activation Alert 0x8F8B",
            "ended",
        ]
        assert [fact.dcc_alert for fact in w.said("alert.received")] == ["N62", "N39"]


async def test_an_11_1_ends_with_the_transfer_and_an_11_3_activates():
    async with world() as w:
        _, transferred = await w.run(UpdateFirmware(image=IMAGE, devices=(HCALCS,)))
        assert only(transferred) is Result.TRANSFERRED
        assert w.dsp.devices()[HCALCS].version == "01000000"

        _, activated = await w.run(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        assert only(activated) is Result.ACTIVATED
        message = Envelope.parse(bytes.fromhex(w.hub.commands[0].gbcs))
        require_protected_command(message, HCALCS)
        assert payload_of(message).manufacturer_image_hash == HASH
        assert w.dsp.devices()[HCALCS].version == NEW


@pytest.mark.parametrize(("octet", "forced"), [(0, False), (1, True), (2, False)])
async def test_the_hub_is_told_beforehand_what_stands_in_the_files_last_octets(octet, forced):
    async with world() as w:
        await w.run(UpdateFirmware(image=signed_file(2, octet), devices=(HCALCS,)))
        assert [offer.force_replace for offer in w.hub.offers] == [forced]


async def test_a_ppmids_image_forces_nothing_though_it_ends_as_a_forced_one_does():
    async with world() as w:
        await w.run(UpdatePpmidFirmware(image=signed_file(2, force_replace=1), devices=(PPMID,)))
        assert [offer.force_replace for offer in w.hub.offers] == [False]


async def test_the_image_spends_its_time_on_the_wan():
    async with world() as w:
        await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        # 1000 octets at 1000 octets a second in three chunks, each with 0.1 s of latency.
        assert asyncio.get_running_loop().time() == pytest.approx(0.01 + 1.0 + 0.3, abs=0.05)


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (1, Result.DISCARDED),
        (2, Result.HARDWARE_MISMATCH),
        (3, Result.TRANSFER_FAILED),
    ],
)
async def test_each_failing_transfer_alert_has_its_outcome(response, result):
    async with world() as w:
        w.hub.transfer_response = response
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert only(outcome) is result
        assert not outcome.ok


@pytest.mark.parametrize(
    ("response", "result"),
    [(1, Result.NO_IMAGE_HELD), (2, Result.HASH_MISMATCH), (3, Result.ACTIVATION_FAILED)],
)
async def test_each_failing_activation_has_its_outcome(response, result):
    async with world() as w:
        w.hub.activation_response = response
        _, outcome = await w.run(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))

        assert only(outcome) is result
        assert w.dsp.devices()[HCALCS].version == "01000000"


async def test_a_silent_ppmid_ends_as_unreported_and_an_11_2_confirms_it():
    async with world(with_control_1(activation_wait=2 * DAY)) as w:
        w.hub.silent = frozenset({PPMID})
        response, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        assert only(outcome) is Result.UNREPORTED
        assert outcome.devices[0].version_after is None
        assert w.dsp.devices()[PPMID].version == "01000000"
        assert asyncio.get_running_loop().time() == pytest.approx(2 * DAY, abs=5)

        _, read = await w.run(ReadFirmwareVersion(device=PPMID))
        assert only(read) is Result.VERSION_READ
        assert read.devices[0].version_after == NEW
        confirmed = w.dsp.outcome(response.request_id)
        assert only(confirmed) is Result.UNREPORTED
        assert confirmed.devices[0].version_after == NEW
        assert w.story(response.request_id)[-1] == "confirmed"
        assert w.dsp.devices()[PPMID].version == NEW


async def test_a_report_after_the_end_changes_no_outcome():
    async with world(with_control_1(activation_wait=HOUR)) as w:
        w.hub.silent = frozenset({PPMID})
        response, _ = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        w.hub.alert_activation(PPMID, NEW, about="late")
        await asyncio.sleep(1)

        assert only(w.dsp.outcome(response.request_id)) is Result.UNREPORTED
        assert w.story(response.request_id)[-1] == "PPMID Activation Alert (after the end) 0x8F8B"
        assert w.dsp.devices()[PPMID].version == NEW


async def test_an_alert_that_comes_twice_counts_once():
    async with world() as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10)
        for _ in range(3):
            w.hub.alert_transfer(w.hub.offers[0], PPMID, alert_id="the-same")
        await asyncio.sleep(1)

        assert w.story(response.request_id).count("Firmware Transfer Alert 0x8F8A") == 1
        assert len(w.said("alert.repeated")) == 2


async def test_an_activation_alert_may_overtake_the_transfer_alert():
    async with world() as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10)
        w.hub.alert_activation(PPMID, NEW)
        w.hub.alert_transfer(w.hub.offers[0], PPMID)

        assert only(await w.dsp.finished(response.request_id)) is Result.ACTIVATED


async def test_an_activation_of_another_version_ends_nothing():
    async with world() as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10)
        w.hub.alert_activation(PPMID, "01500000")
        await asyncio.sleep(1)

        assert only(w.dsp.outcome(response.request_id)) is None
        assert w.dsp.devices()[PPMID].version == "01500000"


async def test_an_alert_from_the_wrong_hub_ends_nothing():
    async with world() as w:
        w.hub.holds = True
        impostor = Hub(w.broker, OTHER_HUB)
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10)
        impostor.alert_transfer(w.hub.offers[0], PPMID)
        impostor.alert_activation(PPMID, NEW)
        await asyncio.sleep(1)

        assert only(w.dsp.outcome(response.request_id)) is None
        assert w.dsp.devices()[PPMID].version == "01000000"


async def test_an_alert_with_an_unknown_response_is_told_and_concludes_nothing():
    async with world() as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10)
        w.hub.alert_transfer(w.hub.offers[0], PPMID, response=77)
        await asyncio.sleep(1)

        assert only(w.dsp.outcome(response.request_id)) is None
        assert w.story(response.request_id)[-1] == "alert refused 0x8F89"


# --- control 1 ---------------------------------------------------------------------------------------------


async def test_a_second_update_of_a_device_is_refused_while_the_first_is_in_progress():
    async with world() as w:
        w.hub.holds = True
        await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        refused = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        partly = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID, SECOND_PPMID)))

        assert (refused.ok, refused.code) == (False, "E110405")
        assert refused.lists == {"OtherRequestInProgressList": (str(PPMID),)}
        assert (partly.ok, partly.code) == (True, "W110401")
        assert partly.accepted == (SECOND_PPMID,)
        assert not (await w.dsp.finished(refused.request_id)).ok


async def test_an_11_4_stays_in_progress_between_transfer_and_activation():
    async with world() as w:
        w.hub.silent = frozenset({PPMID})
        await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(60)

        refused = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        assert refused.lists == {"OtherRequestInProgressList": (str(PPMID),)}


async def test_what_completes_an_update_is_a_setting():
    early = {
        Service.UPDATE_FIRMWARE: Milestone.ACTIVATED,
        Service.UPDATE_PPMID_FIRMWARE: Milestone.TRANSFERRED,
    }
    async with world(with_control_1(completes=early)) as w:
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        assert only(outcome) is Result.TRANSFERRED

        update = await w.dsp.submit(UpdateFirmware(image=IMAGE, devices=(HCALCS,)))
        await w.run(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        assert only(await w.dsp.finished(update.request_id)) is Result.ACTIVATED


async def test_an_update_that_nobody_collects_expires_and_frees_its_device():
    async with world(with_control_1(expiry=28 * DAY)) as w:
        w.hub.holds = True
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert only(outcome) is Result.EXPIRED
        assert asyncio.get_running_loop().time() == pytest.approx(28 * DAY, abs=1)
        assert (await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))).ok


async def test_a_failure_frees_the_device_and_guidance_advises_to_wait():
    async with world() as w:
        w.hub.transfer_response = 3
        await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        again = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert again.ok
        assert "5 days between attempts" in again.advice[0]


# --- control 2 ---------------------------------------------------------------------------------------------


async def test_a_busy_hub_gets_the_image_at_the_next_hourly_attempt():
    async with world() as w:
        w.hub.busy = 3
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert only(outcome) is Result.ACTIVATED
        assert [round(fact.next_in) for fact in w.said("csp.postponed")] == [0, 3600, 3600]
        assert asyncio.get_running_loop().time() == pytest.approx(2 * HOUR, abs=10)


async def test_a_hub_that_stays_busy_for_a_day_ends_the_request():
    async with world() as w:
        w.hub.busy = 1000
        response, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert only(outcome) is Result.NOT_DELIVERED
        assert len(w.hub.offers) == 26
        assert w.story(response.request_id)[1] == "Communications Hub: not delivered N61"
        assert asyncio.get_running_loop().time() == pytest.approx(DAY, abs=10)


async def test_a_hub_that_comes_back_is_tried_at_once():
    async with world() as w:
        w.hub.appear(online=False)
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10 * 60)
        w.hub.appear()
        await w.dsp.finished(response.request_id)

        assert asyncio.get_running_loop().time() == pytest.approx(10 * 60, abs=10)


async def test_a_hub_that_does_not_answer_is_not_available():
    async with world() as w:
        w.hub.is_on = False
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert only(outcome) is Result.NOT_DELIVERED
        assert {fact.code for fact in w.said("csp.postponed")} == {"not-available"}


async def test_a_command_is_repeated_with_its_id_until_the_hub_answers_and_anew_after_that():
    async with world() as w:
        w.hub.is_on = False
        response = await w.dsp.submit(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))
        await asyncio.sleep(90)
        w.hub.busy, w.hub.is_on = 1, True
        await w.dsp.finished(response.request_id)

        busy, taken = w.hub.commands
        assert busy.id != taken.id
        assert busy.gbcs == taken.gbcs


# --- control 3 ---------------------------------------------------------------------------------------------


async def test_delivery_notices_come_in_batches_when_that_is_set():
    async with world(replace(FAST, batch=BatchSettings(size=10, interval=HOUR))) as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(60)
        assert w.story(response.request_id) == ["accepted I99"]

        await asyncio.sleep(HOUR)
        assert w.story(response.request_id)[-1] == "Communications Hub: delivered N60"


async def test_a_batch_that_waits_survives_a_restart(tmp_path):
    url = f"sqlite:///{tmp_path}/dsp.db"
    settings = replace(FAST, batch=BatchSettings(size=10, interval=DAY))
    async with world(settings, Store(url)) as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(60)
    async with world(settings, Store(url)) as w:
        assert w.story(response.request_id)[-1] == "Communications Hub: delivered N60"


# --- the image's way ---------------------------------------------------------------------------------------


async def test_a_hub_that_lost_what_had_arrived_gets_it_again():
    async with world() as w:
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(1.0)
        w.hub.forget_chunk(w.hub.offers[0].image_id)
        await w.dsp.finished(response.request_id)

        assert list(w.hub.stored.values()) == [IMAGE]


async def test_a_spoilt_chunk_is_sent_again():
    async with world() as w:
        w.hub.spoilt = 1
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert outcome.ok
        assert list(w.hub.stored.values()) == [IMAGE]


async def test_a_hub_that_spoils_every_chunk_is_given_up_after_a_day():
    async with world() as w:
        w.hub.spoilt = 100_000
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert only(outcome) is Result.NOT_DELIVERED
        assert asyncio.get_running_loop().time() < DAY + HOUR


async def test_an_image_preempted_on_the_wan_ends_with_the_hubs_discard_alert():
    async with world() as w:
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(0.7)
        w.hub.discard(w.hub.offers[0].image_id)
        outcome = await w.dsp.finished(response.request_id)
        chunks = len(w.said("csp.chunk"))
        await asyncio.sleep(DAY)

        assert only(outcome) is Result.DISCARDED
        assert len(w.said("csp.chunk")) == chunks
        again, ended = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        assert again.ok
        assert only(ended) is Result.ACTIVATED


async def test_a_hub_that_stops_and_never_alerts_leaves_no_outcome_after_a_day():
    async with world() as w:
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(0.7)
        w.hub.want(w.hub.offers[0].image_id, 0, code="discarded")

        assert only(await w.dsp.finished(response.request_id)) is Result.NO_OUTCOME


async def test_one_request_serves_two_hubs_and_ends_when_both_have():
    async with world() as w:
        far = Hub(w.broker, OTHER_HUB, holds=True)
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID, FAR_PPMID)))
        await asyncio.sleep(60)
        first, second = w.dsp.outcome(response.request_id).devices
        assert (first.result, second.result) == (Result.ACTIVATED, None)

        far.transfer(far.offers[0], FAR_PPMID)
        assert (await w.dsp.finished(response.request_id)).ok


async def test_an_11_3_for_later_waits_for_the_outcome_beyond_its_time():
    async with world() as w:
        later = Utc(asyncio.get_running_loop()).now() + timedelta(days=3)
        response = await w.dsp.submit(
            ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH, execution_time=later)
        )
        await asyncio.sleep(3 * DAY + 60)
        assert only(w.dsp.outcome(response.request_id)) is None
        w.hub.outcome(w.hub.commands[0], 0)

        assert only(await w.dsp.finished(response.request_id)) is Result.ACTIVATED


async def test_an_11_3_whose_outcome_never_comes_ends_without_one():
    async with world() as w:
        w.hub.activation_response = None
        _, outcome = await w.run(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH))

        assert only(outcome) is Result.NO_OUTCOME


async def test_an_11_2_of_a_device_that_does_not_answer_says_so():
    async with world() as w:
        _, outcome = await w.run(ReadFirmwareVersion(device=GSME))

        assert only(outcome) is Result.UNREACHABLE


@pytest.mark.parametrize(
    ("code", "verdict"), [("0x8F72", "good"), ("0x8F1C", "bad: the device has discarded")]
)
async def test_a_receipt_is_told_in_the_story_of_the_request_that_brought_the_image(code, verdict):
    async with world() as w:
        first, second = signed_file(2), signed_file(3)
        ids = [
            (await w.run(UpdateFirmware(image=each, devices=(HCALCS,))))[0].request_id
            for each in (first, second)
        ]
        digest = GbcsImage.read(first, layout_for("HCALCS")).manufacturer_image_hash
        w.hub.alert_receipt(HCALCS, digest, code)
        w.hub.alert_receipt(HCALCS, digest, code)  # the broker may say it twice
        await asyncio.sleep(1)

        (line,) = [line for line in w.dsp.story(ids[0]) if "Receipt" in line.event]
        assert line.code == code
        assert verdict in line.text
        assert digest.hex() in line.text
        assert not [line for line in w.dsp.story(ids[1]) if "Receipt" in line.event]
        assert [fact.code for fact in w.said("alert.received") if fact.kind == "firmware-verification"] == [
            code
        ]
        assert only(w.dsp.outcome(ids[0])) is Result.TRANSFERRED


async def test_a_receipt_for_another_image_is_told_as_such_and_one_for_no_request_is_said():
    async with world() as w:
        response, _ = await w.run(UpdateFirmware(image=signed_file(2), devices=(HCALCS,)))
        w.hub.alert_receipt(HCALCS, HASH)
        w.hub.alert_receipt(GSME, HASH)
        await asyncio.sleep(1)

        assert "not the image of this request" in w.dsp.story(response.request_id)[-1].text
        assert [fact.device for fact in w.said("alert.unmatched")] == [str(GSME)]


async def test_a_receipt_ends_an_11_1_behind_a_hub_that_sends_no_transfer_alert():
    for is_old, result in ((True, Result.TRANSFERRED), (False, None)):
        async with world() as w:
            w.dsp.enrol_hub(HUB, is_old=is_old)
            w.hub.holds = True
            file = signed_file(2)
            response = await w.dsp.submit(UpdateFirmware(image=file, devices=(GSME,)))
            await asyncio.sleep(10)
            w.hub.alert_receipt(GSME, HASH)
            w.hub.alert_receipt(GSME, HASH, "0x8F1C")
            await asyncio.sleep(1)
            assert only(w.dsp.outcome(response.request_id)) is None, "that is another image"
            digest = GbcsImage.read(file, layout_for("GSME")).manufacturer_image_hash
            w.hub.alert_receipt(GSME, digest)
            await asyncio.sleep(1)
            assert only(w.dsp.outcome(response.request_id)) is result


# --- bad input ---------------------------------------------------------------------------------------------


async def test_a_malformed_payload_is_refused_and_changes_nothing():
    async with world() as w:
        w.hub.holds = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(10)
        before = w.story(response.request_id)
        for payload in (b"", b"{", b"[]", b'{"id":"x"}', b"\xff\xfe", b"null"):
            with pytest.raises(MessageError):
                await w.dsp._heard(f"{ROOT}/{HUB.hex}/alert/firmware-transfer", payload)
        with pytest.raises(MessageError):
            await w.dsp._heard(f"{ROOT}/nonsense/alert/firmware-transfer", b"{}")

        assert w.story(response.request_id) == before
        with w.store.change() as change:
            assert [notice.kind for notice in change.notices.all()] == ["delivery"]


async def test_answers_that_nobody_waits_for_are_ignored():
    async with world() as w:
        stray = ImageOffer(
            request_id="nobody",
            service_request="11.4",
            image_id="0" * 64,
            size=100,
            chunk_size=10,
            targets=(),
            **w.hub.envelopes.stamp(),
        )
        w.hub.want("0" * 64, 50)
        w.hub._answer("offer", stray, ok=True)
        w.hub.alert_transfer(stray, PPMID)
        await asyncio.sleep(1)

        assert [fact.what for fact in w.said("alert.unmatched")] == ["alert.unmatched"]
        assert w.dsp.request_ids() == []


async def test_a_hub_that_wants_what_lies_beyond_the_image_is_asked_again():
    async with world() as w:
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        await asyncio.sleep(0.3)
        w.hub.want(w.hub.offers[0].image_id, 4_000_000_000)

        assert (await w.dsp.finished(response.request_id)).ok


@pytest.mark.parametrize(
    "spoil",
    [lambda image: image[:-1], lambda image: image + b"x", lambda image: b"\x00" + image[1:], lambda _: b"x"],
    ids=["truncated", "oversized", "wrong magic", "no header"],
)
async def test_a_spoilt_upgrade_file_is_refused_with_its_reason(spoil):
    async with world() as w:
        response = await w.dsp.submit(UpdatePpmidFirmware(image=spoil(IMAGE), devices=(PPMID,)))

        assert (response.ok, response.code) == (False, "E110401")
        assert "FirmwareImage is refused" in response.reason
        assert w.hub.offers == []


async def test_an_image_for_an_ihd_is_refused_by_name():
    async with world() as w:
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(IHD,)))

        assert not response.ok
        assert "IHD" in response.reason
        assert response.lists == {"NotApplicableFirmwareDeviceIDList": (str(IHD),)}


async def test_a_request_id_used_again_is_the_same_request_or_refused():
    async with world() as w:
        w.hub.holds = True
        request = UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,), request_id="mine")
        first = await w.dsp.submit(request)
        assert await w.dsp.submit(request) == first
        with pytest.raises(BadRequestError, match="used for another") as refusal:
            await w.dsp.submit(replace(request, devices=(SECOND_PPMID,)))

        assert refusal.value.status == 409
        await asyncio.sleep(10)
        assert len(w.hub.offers) == 1


async def test_asking_for_a_request_that_does_not_exist_is_our_error():
    async with world() as w:
        with pytest.raises(OurError, match="no request"):
            await w.dsp.finished("nobody")


# --- inventory ---------------------------------------------------------------------------------------------


async def test_a_device_that_joined_lately_is_learned_from_its_hub():
    async with world() as w:
        w.hub.entries = (DeviceEntry(device=str(STRANGER), device_type="PPMID", state="joined"),)
        _, outcome = await w.run(UpdatePpmidFirmware(image=IMAGE, devices=(STRANGER,)))

        assert outcome.ok
        assert w.hub.listings == 1


async def test_a_device_that_no_hub_knows_is_invalid_after_a_short_wait():
    async with world() as w:
        w.hub.entries = (DeviceEntry(device=str(STRANGER), device_type="TOASTER", state="joined"),)
        Hub(w.broker, OTHER_HUB, is_on=False)
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(STRANGER,)))

        assert response.lists == {"InvalidDeviceIDList": (str(STRANGER),)}
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=1)


async def test_a_request_is_judged_by_what_is_known_while_the_broker_is_away():
    async with world() as w:
        w.broker.is_away = True
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID, STRANGER)))

        assert response.accepted == (PPMID,)
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=1)


async def test_an_old_hub_takes_no_ppmid_image():
    async with world() as w:
        w.dsp.enrol_hub(HUB, is_old=True)
        response = await w.dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))

        assert response.lists == {"InvalidGBCSVersionList": (str(PPMID),)}


# --- power cuts --------------------------------------------------------------------------------------------


class FragileStore(Store):
    """A database whose machine loses power at the n-th transaction, just before or just after its commit."""

    def __init__(self, url: str, cut_at: int, *, before: bool) -> None:
        super().__init__(url)
        self._left = cut_at
        self._before = before

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        self._left -= 1
        with super().change() as change:
            yield change
            if self._left == 0 and self._before:
                raise PowerCut
        if self._left == 0 and not self._before:
            raise PowerCut


async def live(dsp: Dsp, broker: Broker) -> Outcome | None:
    """Ask for one 11.4 and wait for its end, or for the power cut that comes first."""
    if PPMID not in dsp.devices():
        dsp.enrol(INVENTORY)
    await dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,), request_id="R"))
    end = asyncio.ensure_future(dsp.finished("R"))
    cut = asyncio.ensure_future(broker.cut.wait())
    await asyncio.wait({end, cut}, return_when=asyncio.FIRST_COMPLETED)
    finished = end.result() if end.done() else None
    end.cancel()
    cut.cancel()
    await asyncio.gather(end, cut, return_exceptions=True)
    return finished


async def survive(url: str, cut_at: int, *, before: bool) -> tuple[Outcome, list[str], list[str], int]:
    """One 11.4 through a power cut of the head end; gives outcome, story, notices and the number of lives."""
    broker = Broker()
    carrying = asyncio.create_task(broker.run())
    hub = Hub(broker)
    store: Store = FragileStore(url, cut_at, before=before)
    lives, finished = 0, None
    while finished is None:
        lives += 1
        try:
            async with make_dsp(broker, store) as dsp:
                finished = await live(dsp, broker)
        except* PowerCut:
            broker.leave("dsp")
        broker.cut.clear()
        store.close()
        store = Store(url)
    await asyncio.sleep(60)
    with store.change() as change:
        story = [f"{line.event} {line.code}".strip() for line in change.story.of("R")]
        notices = [notice.notice_id for notice in change.notices.all()]
    store.close()
    carrying.cancel()
    assert list(hub.stored.values()) == [IMAGE]
    return finished, story, notices, lives


@pytest.mark.parametrize("before", [True, False], ids=["before the commit", "after the commit"])
async def test_a_power_cut_at_any_transaction_leaves_one_outcome_and_each_alert_once(tmp_path, before):
    cut_at = lives = 1
    while lives > 1 or cut_at == 1:
        finished, story, notices, lives = await survive(
            f"sqlite:///{tmp_path}/{cut_at}.db", cut_at, before=before
        )

        assert only(finished) is Result.ACTIVATED
        assert story.count("ended") == 1
        assert story.count("Firmware Transfer Alert 0x8F8A") == 1
        assert story.count("PPMID Activation Alert 0x8F8B") == 1
        assert len(notices) == len(set(notices)) == 3
        cut_at += 1
    assert cut_at > 15


async def test_a_head_end_that_is_stopped_every_tenth_of_a_second_still_delivers(tmp_path):
    url = f"sqlite:///{tmp_path}/dsp.db"
    broker = Broker()
    carrying = asyncio.create_task(broker.run())
    hub = Hub(broker)
    lives, outcome = 0, None
    while outcome is None:
        lives += 1
        store = Store(url)
        async with make_dsp(broker, store) as dsp:
            dsp.enrol(INVENTORY)
            await dsp.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,), request_id="R"))
            # Longer each time: a chunk must pass within one life.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1 * lives):
                    outcome = await dsp.finished("R")
        broker.leave("dsp")
        store.close()
    carrying.cancel()

    assert only(outcome) is Result.ACTIVATED
    assert lives > 5
    assert list(hub.stored.values()) == [IMAGE]
