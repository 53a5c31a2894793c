"""Ten thousand damaged ZCL frames at a running hub: no exception, no change of state, no growing memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random

from hub_faulty_disk import FaultyDisk
from hub_world import GSME, PPMID, World

from han.clusters import KEEP_ALIVE_CLUSTER, METERING_CLUSTER, TIME_CLUSTER
from han.errors import TheirError
from han.zcl import (
    BASIC_CLUSTER,
    OTA_CLUSTER,
    TUNNELLING_CLUSTER,
    CloseTunnel,
    ReadAttributes,
    RequestTunnel,
    TransferData,
    ZclFrame,
    decode_ota,
    default_response,
    encode_global,
    encode_ota,
    encode_tunnel,
)
from ota.commands import ImageBlockRequest, ImagePageRequest, QueryNextImageRequest, UpgradeEndRequest
from ota.errors import TheirError as OtaTheirError
from ota.status import Status

FRAMES = 10_000
WHOLE = [
    (OTA_CLUSTER, encode_ota(QueryNextImageRequest(0x121D, 0x0084, 1, 0x1111), 1)),
    (OTA_CLUSTER, encode_ota(ImageBlockRequest(0x121D, 0x0084, 2, 0, 56), 2)),
    (OTA_CLUSTER, encode_ota(ImagePageRequest(0x121D, 0x0084, 2, 0, 56, 512, 100), 3)),
    (OTA_CLUSTER, encode_ota(UpgradeEndRequest(Status.SUCCESS, 0x121D, 0x0084, 2), 4)),
    (
        TUNNELLING_CLUSTER,
        encode_tunnel(RequestTunnel(6, 0xFFFF, flow_control=False, maximum_incoming=1500), 5),
    ),
    (TUNNELLING_CLUSTER, encode_tunnel(TransferData(0, bytes(range(40))), 6)),
    (TUNNELLING_CLUSTER, encode_tunnel(CloseTunnel(0), 7)),
    *((cluster, encode_global(ReadAttributes((0, 1, 0x11)), 8)) for cluster in (BASIC_CLUSTER, TIME_CLUSTER)),
    (KEEP_ALIVE_CLUSTER, encode_global(ReadAttributes((0, 1)), 9)),
    (METERING_CLUSTER, encode_global(ReadAttributes((0,), from_server=True), 10)),
    (0x0700, default_response(ZclFrame(0, 11, b""), Status.FAILURE)),
]


def mutated(octets: bytes, dice: random.Random) -> bytes:
    """Some octets changed, cut off, put in or appended."""
    damaged = bytearray(octets)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(damaged)) if damaged else 0
        match dice.randrange(4):
            case 0 if damaged:
                damaged[at] ^= 1 << dice.randrange(8)
            case 1:
                del damaged[at:]
            case 2:
                damaged[at:at] = dice.randbytes(dice.randint(1, 4))
            case _:
                damaged += dice.randbytes(dice.randint(1, 60))
    return bytes(damaged)


def tells_a_version(cluster: int, zcl: bytes) -> bool:
    """Whether a device says by this frame what it runs, which the hub is right to note."""
    with contextlib.suppress(TheirError, OtaTheirError):
        return cluster == OTA_CLUSTER and isinstance(decode_ota(ZclFrame.parse(zcl)), QueryNextImageRequest)
    return False


async def test_ten_thousand_damaged_zcl_frames_change_nothing(tmp_path):
    dice = random.Random(11)
    failures, sizes = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(PPMID, GSME)
        world.facts._listeners.remove(world.told.append)  # it would keep every fact
        for device in world.house.devices.values():
            device.power_off()
        before = world.hub.custody.memory
        for half in range(2):
            for _ in range(FRAMES // 2):
                cluster, whole = dice.choice(WHOLE)
                damaged = mutated(whole, dice)
                if tells_a_version(cluster, damaged):
                    continue
                world.house.ears.message(PPMID, cluster, damaged, bool(half))
                if dice.random() < 0.05:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(60.0)
            gc.collect()
            sizes.append(len(gc.get_objects()))

        assert world.hub.custody.memory == before
        assert failures == []
        assert sizes[1] - sizes[0] < 500, sizes

        # And it serves on.
        world.house.devices[PPMID].is_asleep = False
        world.house.devices[PPMID].power_on()
        await asyncio.sleep(5.0)
        assert world.hub.devices.find(PPMID).file_version == 1
