"""Damaged GBCS messages through the tunnel: the hub refuses them or relays what the head end then refuses."""

from __future__ import annotations

import asyncio
import random

from hub_faulty_disk import FaultyDisk
from hub_world import ESME, GSME, HCALCS, HUB, PPMID, World, cs06, dated_alert, image_for, image_hash
from test_hub_mutated import mutated

from han.gbcs.codes import MessageCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import (
    firmware_activated,
    firmware_version_read,
    payload_of,
    ppmid_activation,
    read_firmware_version,
    receipt_alert,
)
from han.gbcs.payloads import (
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionResponse,
)
from han.gbcs.receipt import ReceiptAlert
from han.zcl import TUNNELLING_CLUSTER, TransferData, encode_tunnel
from hub.dcc.proof import Belief, Trust, examine
from hub.messages import ActivateRequest
from ota.eui64 import Eui64

MESSAGES = 3_000
DIGEST = image_hash("HCALCS", image_for("HCALCS"))
DONE = ActivationOutcome(ActivateImageResponseCode.SUCCESS, 2)


def genuine(world: World, sent: Envelope) -> list[tuple[Eui64, bytes]]:
    """One message of each kind that a device sends, and by whom."""
    at = world.utc.now().replace(microsecond=0)
    receipt = ReceiptAlert(0x8F72, at, bytes.fromhex(DIGEST))
    read = read_firmware_version(PPMID, 9)
    messages = [
        firmware_activated(sent, ActivateFirmwareResponse(DONE), at),
        firmware_activated(sent, ActivateFirmwareResponse(), at),
        dated_alert(HCALCS, 5, payload_of(sent), DONE),
        firmware_version_read(read, ReadFirmwareVersionResponse(2)),
        ppmid_activation(PPMID, 5, FirmwareActivationAlert(at, 2, is_success=True)),
        receipt_alert(ESME, 5, MessageCode.RECEIPT_ESME, receipt),
        receipt_alert(GSME, 5, MessageCode.RECEIPT_GSME, receipt),
    ]
    return [(message.originator, message.to_bytes()) for message in messages]


async def test_thousands_of_damaged_messages_prove_nothing_and_stop_nobody(tmp_path):
    dice = random.Random(23)
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(PPMID, HCALCS, GSME, ESME)
        for device in world.house.devices.values():
            device.power_off()
        gbcs = cs06(HCALCS, DIGEST, 3, world.utc.now().replace(microsecond=0))
        whole = genuine(world, Envelope.parse(bytes.fromhex(gbcs)))
        for number in range(MESSAGES):
            if not any(each.device == HCALCS for each in world.hub.custody.memory.activations):
                await world.head_end.ask(
                    ActivateRequest(
                        request_id=f"a{number}", device=str(HCALCS), gbcs=gbcs, **world.head_end.pen.stamp()
                    )
                )
            device, octets = dice.choice(whole)
            damaged = mutated(octets, dice)
            if damaged != octets:
                frame = encode_tunnel(TransferData(0, damaged[:2000]), number % 256)
                world.house.ears.message(device, TUNNELLING_CLUSTER, frame, True)
            if number % 50 == 0:
                await asyncio.sleep(1.0)
        await asyncio.sleep(60.0)

        assert failures == []
        refused = world.whys("gbcs.refused")
        relayed = {alert.id: alert for alert in world.head_end.alerts}
        assert len(refused) > MESSAGES / 2
        assert len(relayed) > 100, "the hub cannot check a signature; else this would prove nothing"
        for alert in relayed.values():
            assert examine(alert, HUB, 3, Trust()).belief is Belief.REFUSED, alert

        # And what is whole still gets through.
        device, octets = whole[4]
        world.house.ears.message(device, TUNNELLING_CLUSTER, encode_tunnel(TransferData(0, octets), 1), True)
        told = await world.head_end.when(
            lambda: [alert for alert in world.head_end.alerts if alert.gbcs == octets.hex()]
        )
        assert examine(told[0], HUB, None, Trust()).belief is Belief.PROVEN
