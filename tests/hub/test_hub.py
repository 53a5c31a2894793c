import asyncio
import contextlib
import hashlib
import random

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import (
    GSME,
    HCALCS,
    HUB,
    INSTALL_CODE,
    OTHER,
    PPMID,
    SILENT,
    World,
    cs06,
    image_for,
    image_hash,
    image_id,
)

from han.clusters import FUNCTIONAL_NOTIFICATION_FLAGS, METERING_CLUSTER, NEW_OTA_FIRMWARE
from han.coordinator import DeviceLeft, RadioBack, RadioLost
from han.gbcs.envelope import Envelope
from han.gbcs.messages import read_firmware_version
from han.gbcs.parties import ACCESS_CONTROL_BROKER, lab_party
from han.gbcs.payloads import parse_transfer_alert
from han.gbcs.protection import is_signed_by
from han.zcl import OTA_CLUSTER, ReadAttributes, ZclFrame, decode_global, encode_global, encode_ota
from hub.errors import SurroundingsError
from hub.flash import Flash
from hub.hub import HubSettings
from hub.messages import (
    ActivateRequest,
    DevicesRequest,
    JoinRequest,
    ReadVersionRequest,
    topic,
)
from hub.slot import DAY, DeleteWhen, SlotSettings
from ota.commands import ImageBlockRequest
from ota.eui64 import Eui64
from ota.image import HardwareRange


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    """A running hub in a house with these devices joined."""
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


def activate(world, device, data, kind, *, spoilt=""):
    return ActivateRequest(
        request_id="activate-1",
        device=str(device),
        gbcs=cs06(device, spoilt or image_hash(kind, data)),
        **world.head_end.pen.stamp(),
    )


async def test_a_ppmid_downloads_activates_and_tells(tmp_path):
    async with home(tmp_path, PPMID) as world:
        data = image_for("PPMID")
        assert (await world.head_end.offer(data, PPMID)).ok
        alert = await world.head_end.alert("0x8F8A", PPMID)
        assert (alert.file_version, alert.image_id) == ("00000002", image_id(data))
        message = Envelope.parse(bytes.fromhex(alert.gbcs))
        assert (message.originator, message.recipient) == (HUB, ACCESS_CONTROL_BROKER)
        assert is_signed_by(message, lab_party(HUB).signing.public_key())
        assert parse_transfer_alert(message.payload).device == PPMID
        told = await world.head_end.alert("0x8F8B", PPMID)
        assert told.file_version == "00000002"
        assert world.house.devices[PPMID].downloads == [data]


async def test_the_counters_of_the_hubs_messages_only_grow_and_power_cuts_do_not_wind_them_back(tmp_path):
    async with home(tmp_path, PPMID, HCALCS) as world:

        def transferred():
            return [alert for alert in world.head_end.alerts if alert.code == "0x8F8A"]

        for done, (kind, device) in enumerate([("PPMID", PPMID), ("HCALCS", HCALCS), ("PPMID", PPMID)]):
            await world.head_end.offer(image_for(kind, version=2 + done), device)
            await world.head_end.when(lambda done=done: len(transferred()) > done)
            await world.crash()
            await world.start()
        counters = [Envelope.parse(bytes.fromhex(alert.gbcs)).counter for alert in transferred()]
    assert counters == sorted(set(counters))


async def test_an_hcalcs_holds_its_image_until_it_is_told_to_activate(tmp_path):
    async with home(tmp_path, HCALCS) as world:
        data = image_for("HCALCS")
        await world.head_end.offer(data, HCALCS)
        await world.head_end.alert("0x8F8A", HCALCS)
        await asyncio.sleep(2 * DAY)
        assert world.house.devices[HCALCS].version == 1
        assert (await world.head_end.ask(activate(world, HCALCS, data, "HCALCS"))).ok
        outcome = await world.head_end.alert("CS06", HCALCS)
        assert (outcome.file_version, outcome.request_id) == ("00000002", "activate-1")
        assert world.house.devices[HCALCS].version == 2


async def test_an_hcalcs_that_is_given_the_wrong_hash_says_so(tmp_path):
    async with home(tmp_path, HCALCS) as world:
        data = image_for("HCALCS")
        await world.head_end.offer(data, HCALCS)
        await world.head_end.alert("0x8F8A", HCALCS)
        await world.head_end.ask(activate(world, HCALCS, data, "HCALCS", spoilt="ab" * 32))
        outcome = await world.head_end.alert("CS06", HCALCS, response=2)
        assert outcome.file_version == "00000001"


@pytest.mark.parametrize(
    ("gbcs", "why"),
    [
        ("", "cut short"),
        ("05", "begins with"),
        (cs06(OTHER, "ab" * 32), "not for"),
        (read_firmware_version(HCALCS, 1).to_bytes().hex(), "activates no firmware"),
        (cs06(HCALCS, "ab" * 32)[:-2], "cut short"),
    ],
)
async def test_an_activation_that_is_no_cs06_for_its_device_is_refused_and_goes_nowhere(tmp_path, gbcs, why):
    async with home(tmp_path, HCALCS) as world:
        answer = await world.head_end.ask(
            ActivateRequest(
                request_id="activate-1", device=str(HCALCS), gbcs=gbcs, **world.head_end.pen.stamp()
            )
        )
        assert (answer.ok, answer.code) == (False, "malformed")
        assert why in answer.reason
        assert world.hub.custody.memory.activations == ()


async def test_a_silent_ppmid_activates_and_nothing_is_invented_on_its_behalf(tmp_path):
    async with home(tmp_path, SILENT) as world:
        await world.head_end.offer(image_for("PPMID"), SILENT)
        await world.head_end.alert("0x8F8A", SILENT)
        await asyncio.sleep(3 * DAY)
        assert [alert.code for alert in world.head_end.alerts] == ["0x8F8A"]
        answer = await world.head_end.ask(
            ReadVersionRequest(request_id="v1", device=str(SILENT), **world.head_end.pen.stamp())
        )
        assert (answer.ok, answer.file_version) == (True, "00000002")


async def test_a_gas_image_preempts_one_in_mid_download(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        await world.head_end.offer(image_for("PPMID", size=60_000), PPMID)
        await world.head_end.when(lambda: world.head_end.progress)
        gas = image_for("GSME")
        assert (await world.head_end.offer(gas, GSME)).ok
        discarded = await world.head_end.alert("0x8F89", PPMID, response=1)
        assert discarded.image_id != image_id(gas)
        await world.head_end.alert("0x8F8A", GSME)
        assert "image 121D-0084-00000002 was withdrawn in mid-download" in world.whys("ota.refused")
        assert world.house.devices[PPMID].downloads == []


async def test_a_gas_image_preempts_one_that_is_still_on_the_wan(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        world.head_end.holds_back = True
        victim = image_for("PPMID", size=3000)
        await world.head_end.offer(victim, PPMID)
        await world.head_end.chunk(image_id(victim), 0, victim[:500])
        world.head_end.holds_back = False
        await world.head_end.offer(image_for("GSME"), GSME)
        discarded = await world.head_end.alert("0x8F89", PPMID, response=1)
        assert discarded.file_version == "FFFFFFFF"
        await world.head_end.when(lambda: [w for w in world.head_end.wanted if w.code == "discarded"])
        await world.head_end.alert("0x8F8A", GSME)


async def test_the_discarded_image_can_be_sent_again_and_completes(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        data = image_for("PPMID", size=20_000)
        await world.head_end.offer(data, PPMID, request="first")
        await world.head_end.when(lambda: world.head_end.progress)
        await world.head_end.offer(image_for("GSME"), GSME)
        await world.head_end.alert("0x8F8A", GSME)
        assert (await world.head_end.offer(data, PPMID, request="first")).code == "ended"
        assert (await world.head_end.offer(data, PPMID, request="second")).ok
        done = await world.head_end.alert("0x8F8A", PPMID)
        assert done.request_id == "second"
        assert len(world.head_end.alert_ids()) == len({alert.id for alert in world.head_end.alerts}) >= 3


async def test_a_gas_image_that_is_needed_keeps_the_slot(tmp_path):
    async with home(tmp_path, PPMID, GSME, query_every=3600.0) as world:
        world.house.devices[GSME].power_off()
        await world.head_end.offer(image_for("GSME"), GSME)
        await world.head_end.when(lambda: [w for w in world.head_end.wanted if w.complete])
        answer = await world.head_end.offer(image_for("PPMID"), PPMID)
        assert (answer.ok, answer.code) == (False, "too-busy")
        assert "need" in answer.reason
        assert world.head_end.alerts == []


async def test_an_image_nobody_collects_is_held_on_day_15_and_displaced_on_day_20(tmp_path):
    async with home(tmp_path, PPMID, OTHER, query_every=6 * 3600.0) as world:
        world.house.devices[PPMID].power_off()
        first = image_for("PPMID")
        await world.head_end.offer(first, PPMID)
        await asyncio.sleep(15 * DAY)
        assert world.hub.custody.image(image_id(first)) == first
        await asyncio.sleep(5 * DAY)
        assert (await world.head_end.offer(image_for("PPMID", version=3), OTHER)).ok
        alert = await world.head_end.alert("0x8F89", PPMID, response=1)
        assert alert.reason == "its retention had passed"
        await world.head_end.alert("0x8F8A", OTHER)


async def test_a_slot_set_to_let_go_does_so_on_its_day(tmp_path):
    settings = HubSettings(slot=SlotSettings(delete_when=DeleteWhen.AT_EXPIRY))
    async with home(tmp_path, PPMID, settings=settings) as world:
        world.house.devices[PPMID].power_off()
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await asyncio.sleep(13.9 * DAY)
        assert list(world.hub.custody.images())
        await asyncio.sleep(0.2 * DAY)
        assert not list(world.hub.custody.images())
        await world.head_end.alert("0x8F89", PPMID, response=1)


async def test_hardware_outside_the_images_range_is_told_once(tmp_path):
    async with home(tmp_path, PPMID) as world:
        data = image_for("PPMID", hardware=HardwareRange(0x2000, 0x2FFF))
        await world.head_end.offer(data, PPMID)
        await world.head_end.alert("0x8F89", PPMID, response=2)
        await asyncio.sleep(DAY)
        assert len(world.head_end.alerts) == 1
        assert world.house.devices[PPMID].offsets == []


async def test_a_ppmid_that_finds_the_image_bad_ends_its_transfer(tmp_path):
    async with home(tmp_path, PPMID) as world:
        device = world.house.devices[PPMID]
        device.settings = type(device.settings)(
            verify=lambda _: False, first_query_within=1.0, query_every=60.0
        )
        device.client = device._new_client()
        device.client.start(device.now)
        device.settle()
        await world.head_end.offer(image_for("PPMID"), PPMID)
        alert = await world.head_end.alert("0x8F89", PPMID, response=3)
        assert "INVALID_IMAGE" in alert.reason


async def test_nothing_is_said_to_be_transferred_to_a_device_that_ran_the_version_before(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", version=1), PPMID)
        alert = await world.head_end.alert("0x8F89", PPMID, response=3)
        assert "nothing was transferred" in alert.reason
        assert world.house.devices[PPMID].downloads == []


async def test_one_image_goes_to_several_targets_and_each_is_told_of(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        await world.head_end.offer(image_for("PPMID"), PPMID, OTHER)
        await world.head_end.alert("0x8F8A", PPMID)
        await world.head_end.alert("0x8F8A", OTHER)


async def test_the_held_image_serves_a_later_request_without_the_wan(tmp_path):
    async with home(tmp_path, PPMID, OTHER) as world:
        data = image_for("PPMID")
        await world.head_end.offer(data, PPMID, request="one")
        await world.head_end.alert("0x8F8A", PPMID)
        world.head_end.holds_back = True
        await world.head_end.offer(data, OTHER, request="two")
        assert (await world.head_end.alert("0x8F8A", OTHER)).request_id == "two"


async def test_progress_is_told_at_a_bounded_rate_and_at_the_end(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", size=100_000), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)
        await asyncio.sleep(1.0)
        told = world.head_end.progress
        assert told[-1].percent == 100
        assert [each.percent for each in told] == sorted(each.percent for each in told)
        served = [fact for fact in world.told if fact.what == "ota.block"]
        assert len(told) <= 2 + (served[-1].at - served[0].at) / 5.0


async def test_with_a_twentieth_of_all_frames_lost_every_request_ends_well(tmp_path):
    async with home(tmp_path, PPMID, HCALCS, loss=0.0) as world:
        world.house.loss = 0.05
        await world.head_end.offer(image_for("PPMID", size=5000), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)
        data = image_for("HCALCS", size=5000)
        await world.head_end.offer(data, HCALCS)
        await world.head_end.alert("0x8F8A", HCALCS)
        await world.head_end.ask(activate(world, HCALCS, data, "HCALCS"))
        await world.head_end.alert("CS06", HCALCS)


async def test_blocks_shrink_when_the_radio_says_too_long(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.limit = 60
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)
        assert any(fact.what == "ota.shrunk" for fact in world.told)


# Requests that are refused.


@pytest.mark.parametrize(
    ("kind", "service", "device", "code"),
    [
        ("IHD", "11.4", PPMID, "unsupported-device-type"),
        ("IHD", "11.1", PPMID, "unsupported-device-type"),
        ("HCALCS", "11.4", HCALCS, "unsupported-device-type"),
        ("PPMID", "11.1", PPMID, "unsupported-device-type"),
        ("ESME", "11.1", HCALCS, "unsupported-device-type"),
        ("GSME", "11.1", HCALCS, "unsupported-device-type"),
        ("PPMID", "11.4", OTHER, "unknown-device"),
    ],
)
async def test_an_offer_for_the_wrong_device_is_refused_by_name(tmp_path, kind, service, device, code):
    async with home(tmp_path, PPMID, HCALCS) as world:
        answer = await world.head_end.offer(image_for("PPMID"), device, service=service, kind=kind)
        assert (answer.ok, answer.code) == (False, code)
        assert str(device) in answer.reason
        assert not list(world.hub.custody.images())


async def test_an_image_that_does_not_fit_is_refused(tmp_path):
    async with home(tmp_path, PPMID, settings=HubSettings(slot=SlotSettings(capacity=1000))) as world:
        assert (await world.head_end.offer(image_for("PPMID"), PPMID)).code == "too-large"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"\x00" + data[1:],
        lambda data: data + b"more",
        lambda data: data[:-1],
        lambda data: data[:70],
        lambda data: bytes(len(data)),
    ],
    ids=["magic", "oversized", "truncated", "cut", "zeros"],
)
async def test_what_is_no_upgrade_file_is_let_go_and_told_of(tmp_path, spoil):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(spoil(image_for("PPMID")), PPMID)
        alert = await world.head_end.alert("0x8F89", PPMID, response=1)
        assert "not a valid upgrade file" in alert.reason
        last = await world.head_end.when(
            lambda: [w for w in world.head_end.wanted if w.code == "invalid-image"]
        )
        assert last[-1].reason
        assert not list(world.hub.custody.images())
        assert (await world.head_end.offer(image_for("PPMID"), PPMID, request="good")).ok
        await world.head_end.alert("0x8F8A", PPMID)


async def test_chunks_repeated_out_of_order_or_spoilt_change_nothing(tmp_path):
    async with home(tmp_path, PPMID) as world:
        head_end, data = world.head_end, image_for("PPMID")
        head_end.holds_back = True
        await head_end.offer(data, PPMID)
        identity = image_id(data)

        async def answer_to(offset, octets, sha256=None):
            before = len(head_end.wanted)
            await head_end.chunk(identity, offset, octets, sha256)
            await head_end.when(lambda: len(head_end.wanted) > before)
            return head_end.wanted[-1].code, head_end.wanted[-1].offset

        await head_end.when(lambda: head_end.wanted)
        assert await answer_to(500, data[500:900]) == ("out-of-order", 0)
        assert await answer_to(0, data[:500], hashlib.sha256(b"other").hexdigest()) == ("bad-hash", 0)
        assert await answer_to(0, data[:500]) == ("ok", 500)
        assert await answer_to(0, data[:500]) == ("repeated", 500)
        assert await answer_to(500, b"") == ("out-of-order", 500)
        assert await answer_to(500, data[500:] + b"x") == ("out-of-order", 500)
        assert world.hub.custody.stand(identity).offset == 500
        head_end.holds_back = False
        assert await answer_to(500, data[500:]) == ("ok", len(data))
        await head_end.alert("0x8F8A", PPMID)
        assert world.house.devices[PPMID].downloads == [data]


async def test_a_chunk_of_an_image_that_nobody_offered_is_refused(tmp_path):
    async with home(tmp_path) as world:
        await world.head_end.chunk("ab" * 32, 0, b"hello")
        [wanted] = await world.head_end.when(lambda: world.head_end.wanted)
        assert wanted.code == "not-offered"


@pytest.mark.parametrize("below", ["request/offer", "request/join", "request/activate", "image/chunk"])
@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b'{"id":"q7"}', b"\xff", b'{"id":7}', b"9" * 10_000, b'{"x":' + b"[" * 99_999],
)
async def test_a_malformed_payload_is_answered_and_changes_nothing(tmp_path, below, payload):
    async with home(tmp_path) as world:
        before = world.hub.custody.memory
        await world.head_end.mailbox.publish(topic(HUB, below), payload)
        await asyncio.sleep(1.0)
        assert [fact.code for fact in world.told if fact.what == "mqtt.refused"] == ["malformed"]
        if below.startswith("request/"):
            [answer] = world.head_end.responses
            assert (answer.code, answer.ok) == ("malformed", False)
            assert answer.in_reply_to == ("q7" if b"q7" in payload else "")
        assert world.hub.custody.memory == before


async def test_an_unknown_verb_is_refused_with_a_fact(tmp_path):
    async with home(tmp_path) as world:
        await world.head_end.mailbox.publish(topic(HUB, "request/explode"), b"{}")
        await asyncio.sleep(1.0)
        assert len(world.whys("mqtt.refused")) == 1


async def test_an_offer_repeated_word_for_word_is_answered_again_and_changes_nothing(tmp_path):
    async with home(tmp_path, PPMID) as world:
        data = image_for("PPMID", size=30_000)
        await world.head_end.offer(data, PPMID)
        assert (await world.head_end.offer(data, PPMID)).ok
        await world.head_end.alert("0x8F8A", PPMID)
        await asyncio.sleep(60.0)
        assert len([alert for alert in world.head_end.alerts if alert.code == "0x8F8A"]) == 1


@pytest.mark.parametrize("device", [PPMID, OTHER])
async def test_activation_is_refused_where_it_makes_no_sense(tmp_path, device):
    async with home(tmp_path, PPMID) as world:
        answer = await world.head_end.ask(activate(world, device, image_for("HCALCS"), "HCALCS"))
        assert answer.code == ("unsupported-device-type" if device == PPMID else "unknown-device")


async def test_an_activation_repeated_is_sent_once(tmp_path):
    async with home(tmp_path, HCALCS) as world:
        data = image_for("HCALCS")
        await world.head_end.offer(data, HCALCS)
        await world.head_end.alert("0x8F8A", HCALCS)
        for _ in range(3):
            await world.head_end.send(activate(world, HCALCS, data, "HCALCS"))
        await world.head_end.alert("CS06", HCALCS)
        await asyncio.sleep(60.0)
        assert len([alert for alert in world.head_end.alerts if alert.code == "CS06"]) == 1
        answer = await world.head_end.ask(activate(world, HCALCS, data, "HCALCS"))
        assert answer.code == "ended"


# The house.


async def test_an_install_code_reaches_the_radio_and_nothing_else(tmp_path, capsys):
    async with home(tmp_path, PPMID) as world:
        assert world.house.admitted[PPMID] == bytes.fromhex(INSTALL_CODE)
        text = "".join(fact.to_json() for fact in world.told) + "".join(
            (world.disk.read(name) or b"").decode("latin-1") for name in world.disk.names()
        )
        assert INSTALL_CODE[:12] not in text.lower()


@pytest.mark.parametrize(
    ("device", "device_type", "code"),
    [
        (HUB, "PPMID", "refused"),
        (Eui64(0), "PPMID", "refused"),
        (Eui64(0xFFFF_FFFF_FFFF_FFFF), "PPMID", "refused"),
        (PPMID, "TOASTER", "malformed"),
    ],
)
async def test_what_can_be_no_device_is_not_admitted(tmp_path, device, device_type, code):
    async with home(tmp_path) as world:
        request = JoinRequest(
            device=str(device),
            install_code=INSTALL_CODE,
            device_type=device_type,
            **world.head_end.pen.stamp(),
        )
        answer = await world.head_end.ask(request)
        assert (answer.code, answer.ok) == (code, False)
        assert world.house.admitted == {}
        assert world.hub.custody.memory.devices == ()


async def test_devices_are_listed_with_the_version_they_told(tmp_path):
    async with home(tmp_path, PPMID, HCALCS) as world:
        world.house.ears.event(DeviceLeft(HCALCS))
        await asyncio.sleep(90.0)
        answer = await world.head_end.ask(DevicesRequest(**world.head_end.pen.stamp()))
        assert [
            (each.device, each.device_type, each.state, each.file_version) for each in answer.devices
        ] == [
            (str(PPMID), "PPMID", "joined", "00000001"),
            (str(HCALCS), "HCALCS", "left", "00000001"),
        ]


async def test_a_device_that_does_not_answer_has_no_version(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.devices[PPMID].power_off()
        answer = await world.head_end.ask(
            ReadVersionRequest(request_id="v1", device=str(PPMID), **world.head_end.pen.stamp())
        )
        assert (answer.code, answer.file_version) == ("unreachable", None)


async def test_a_frame_cut_at_any_length_is_said_and_harms_nothing(tmp_path):
    async with home(tmp_path, PPMID) as world:
        whole = encode_ota(ImageBlockRequest(0x121D, 0x84, 2, 0, 60), 9)
        for length in range(len(whole)):
            world.house.ears.message(PPMID, OTA_CLUSTER, whole[:length], False)
        await asyncio.sleep(1.0)
        assert len(world.whys("zcl.refused")) == 3
        assert len(world.whys("ota.refused")) >= len(whole) - 3
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)


async def test_a_cluster_that_we_do_not_serve_is_answered_so(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.ears.message(
            PPMID, 0x0700, ZclFrame(3, 7, b"", disable_default_response=False).to_bytes(), False
        )
        await asyncio.sleep(1.0)
        (fact,) = [fact for fact in world.told if fact.what == "zcl.unsupported"]
        assert (fact.device, fact.cluster, fact.command) == (str(PPMID), 0x0700, 3)


async def test_a_gas_meter_that_reads_its_flags_learns_whether_an_image_waits_for_it(tmp_path):
    async with home(tmp_path, GSME) as world:
        heard = []
        meter = world.house.devices[GSME]
        meter.power_off()  # it asks for nothing by itself
        meter.is_asleep = False
        meter.hear = lambda cluster, zcl: heard.append((cluster, ZclFrame.parse(zcl)))
        question = encode_global(ReadAttributes((FUNCTIONAL_NOTIFICATION_FLAGS,), from_server=True), 3)

        async def flags():
            heard.clear()
            world.house.ears.message(GSME, METERING_CLUSTER, question, True)
            await asyncio.sleep(0.1)
            (frame,) = [frame for cluster, frame in heard if cluster == METERING_CLUSTER]
            (record,) = decode_global(frame).records
            return record.value

        assert await flags() == 0
        await world.head_end.offer(image_for("GSME"), GSME)
        await asyncio.sleep(5.0)
        assert await flags() == NEW_OTA_FIRMWARE


async def test_a_radio_that_goes_and_comes_back_is_shown_in_the_state(tmp_path):
    async with home(tmp_path, PPMID) as world:
        world.house.is_down = True
        world.house.ears.event(RadioLost("unplugged"))
        await world.head_end.when(lambda: [s for s in world.head_end.states if s.radio == "down: unplugged"])
        join = JoinRequest(
            device=str(OTHER), install_code=INSTALL_CODE, device_type="PPMID", **world.head_end.pen.stamp()
        )
        assert (await world.head_end.ask(join)).code == "radio-down"
        world.house.is_down = False
        world.house.ears.event(RadioBack())
        await world.head_end.when(lambda: world.head_end.states[-1].radio == "up")
        await world.head_end.offer(image_for("PPMID"), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)


# The broker and the state.


async def test_state_says_online_and_then_offline(tmp_path):
    async with home(tmp_path) as world:
        await world.head_end.when(lambda: [s for s in world.head_end.states if s.online])
        await world.stop()
        await world.head_end.when(lambda: not world.head_end.states[-1].online)


async def test_the_last_will_says_offline_after_a_crash(tmp_path):
    async with home(tmp_path) as world:
        await world.head_end.when(lambda: [s for s in world.head_end.states if s.online])
        await world.crash()
        await world.head_end.when(lambda: not world.head_end.states[-1].online)


async def test_a_hub_without_anything_to_do_idles_a_fortnight_cheaply(tmp_path):
    async with home(tmp_path, PPMID, query_every=DAY) as world:
        before = len(world.told)
        await asyncio.sleep(14 * DAY)
        assert len(world.told) - before < 200


async def test_a_state_directory_of_another_hub_is_refused(tmp_path):
    disk = FaultyDisk(random.Random(1))
    Flash(disk).change(hub=Eui64(5))
    async with World(tmp_path, disk) as world:
        with pytest.raises(SurroundingsError, match="belongs to hub"):
            await world.start()
        assert world.house.ears is None
