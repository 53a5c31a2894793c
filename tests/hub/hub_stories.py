"""The stories during which the power goes: what the head end asks, and what must come of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta

from hub_world import ESME, GSME, HCALCS, KINDS, PPMID, World, cs06, image_for, image_hash, image_id
from power_cuts import Story

from han.gbcs.payloads import CANCEL
from hub.messages import ActivateRequest, TransferRequest
from ota.eui64 import Eui64

PPMID_IMAGE = image_for("PPMID", size=300)
HCALCS_IMAGE = image_for("HCALCS", size=200)
GSME_IMAGE = image_for("GSME", size=200)
ESME_IMAGE = image_for("ESME", size=200)


async def update_a_ppmid(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await head_end.alert("0x8F8A", PPMID)
    await head_end.alert("0x8F8B", PPMID)


async def activate(
    world: World,
    request: str,
    *,
    counter: int = 1,
    when: datetime | None = None,
    device: Eui64 = HCALCS,
    image: bytes = HCALCS_IMAGE,
) -> None:
    """Have a device run its image."""
    head_end = world.head_end
    gbcs = cs06(device, image_hash(KINDS[device], image), counter, *([when] if when else []))
    await head_end.insist(
        lambda: head_end.ask(
            ActivateRequest(request_id=request, device=str(device), gbcs=gbcs, **head_end.pen.stamp())
        )
    )
    await head_end.when(
        lambda: [each for each in head_end.alerts if getattr(each, "request_id", "") == request]
    )


async def update_an_hcalcs(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    await head_end.insist(lambda: head_end.offer(HCALCS_IMAGE, HCALCS))
    await head_end.alert("0x8F8A", HCALCS)
    await activate(world, "activate-1")
    await head_end.alert("CS06", HCALCS)


async def update_an_esme_beside_a_ppmid(world: World) -> None:
    """Two slots: neither image is the other's business, and the memory tells of both."""
    head_end = world.head_end
    head_end.chunk_size = 150
    await head_end.insist(lambda: head_end.offer(ESME_IMAGE, ESME))
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await head_end.alert("0x8F8A", ESME)
    await activate(world, "activate-1", device=ESME, image=ESME_IMAGE)
    await head_end.alert("CS06", ESME)
    await head_end.alert("0x8F8B", PPMID)


async def update_an_esme_and_a_ppmid_while_gas_takes_the_shared_slot(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    world.house.devices[PPMID].power_off()
    await head_end.insist(lambda: head_end.offer(ESME_IMAGE, ESME))
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await asyncio.sleep(1.0)
    await head_end.insist(lambda: head_end.offer(GSME_IMAGE, GSME))
    for device in (ESME, GSME):
        await head_end.alert("0x8F8A", device)


async def activate_for_later_then_cancel_and_activate_again(world: World) -> None:
    head_end = world.head_end
    await head_end.insist(lambda: head_end.offer(HCALCS_IMAGE, HCALCS))
    await head_end.alert("0x8F8A", HCALCS)
    soon = world.house.utc.now() + timedelta(minutes=20)
    for counter, when in enumerate((soon, CANCEL, soon), 1):
        await activate(world, f"activate-{counter}", counter=counter, when=when)
    await head_end.alert("0x8F66", HCALCS)


async def preempt_an_image_that_nobody_has_collected_yet(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    world.house.devices[PPMID].power_off()

    async def stored() -> None:
        await head_end.offer(PPMID_IMAGE, PPMID)
        await head_end.when(lambda: any(wanted.complete for wanted in head_end.wanted))

    await head_end.insist(stored)
    await head_end.insist(lambda: head_end.offer(GSME_IMAGE, GSME))
    await head_end.alert("0x8F89", PPMID, 1)
    await head_end.alert("0x8F8A", GSME)


async def preempt_an_image_that_is_arriving(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 100
    world.house.devices[PPMID].power_off()
    head_end.holds_back = True
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await head_end.chunk(image_id(PPMID_IMAGE), 0, PPMID_IMAGE[:100])
    await asyncio.sleep(5.0)
    head_end.holds_back = False
    await head_end.insist(lambda: head_end.offer(GSME_IMAGE, GSME))
    await head_end.alert("0x8F89", PPMID, 1)
    await head_end.alert("0x8F8A", GSME)


async def tell_a_broker_that_was_away(world: World) -> None:
    """The outcome comes while nobody can be told; the alerts wait on the flash and go out one by one."""
    head_end = world.head_end
    head_end.chunk_size = 150
    device = world.house.devices[PPMID]
    device.power_off()

    async def stored() -> None:
        await head_end.offer(PPMID_IMAGE, PPMID)
        await head_end.when(lambda: any(wanted.complete for wanted in head_end.wanted))

    await head_end.insist(stored)
    async with world.wan.away():
        device.is_asleep = False
        device.power_on()
        await asyncio.sleep(600.0)
    await head_end.alert("0x8F8A", PPMID)
    await head_end.alert("0x8F8B", PPMID)


async def pause_a_download_and_abort_it(world: World) -> None:
    head_end = world.head_end
    head_end.chunk_size = 150
    device = world.house.devices[PPMID]

    async def order(action: str) -> None:
        await head_end.insist(
            lambda: head_end.ask(TransferRequest(device=str(PPMID), action=action, **head_end.pen.stamp()))
        )

    head_end.holds_back = True
    await head_end.insist(lambda: head_end.offer(PPMID_IMAGE, PPMID))
    await order("pause")
    head_end.holds_back = False
    await head_end.go_on(head_end.wanted[-1])
    await head_end.when(lambda: any(each.image and each.image.stage == "stored" for each in head_end.states))
    await asyncio.sleep(600.0)
    assert device.offsets == [], "it stays paused, whenever the power goes"
    await order("abort")
    await head_end.alert("0x8F89", PPMID, 3)


DONE = ("0x8F8A", 0)
STORIES = (
    Story(
        "a PPMID is updated",
        update_a_ppmid,
        (PPMID,),
        Counter([(PPMID, *DONE), (PPMID, "0x8F8B", 0)]),
        versions={PPMID: 2},
        downloads={PPMID: 1},
    ),
    Story(
        "an HCALCS is updated and activated",
        update_an_hcalcs,
        (HCALCS,),
        Counter([(HCALCS, *DONE), (HCALCS, "CS06", 0)]),
        versions={HCALCS: 2},
        downloads={HCALCS: 1},
    ),
    Story(
        "an ESME and a PPMID are updated side by side",
        update_an_esme_beside_a_ppmid,
        (ESME, PPMID),
        Counter([(ESME, *DONE), (ESME, "CS06", 0), (PPMID, *DONE), (PPMID, "0x8F8B", 0)]),
        versions={ESME: 2, PPMID: 2},
        downloads={ESME: 1, PPMID: 1},
    ),
    Story(
        "an ESME is updated while a GSME's image takes the shared slot from a PPMID's",
        update_an_esme_and_a_ppmid_while_gas_takes_the_shared_slot,
        (ESME, PPMID, GSME),
        Counter([(PPMID, "0x8F89", 1), (ESME, *DONE), (GSME, *DONE)]),
        versions={ESME: 1, PPMID: 1, GSME: 1},
        downloads={ESME: 1, PPMID: 0, GSME: 1},
    ),
    Story(
        "an HCALCS is told to activate later, not to, and later again",
        activate_for_later_then_cancel_and_activate_again,
        (HCALCS,),
        Counter([(HCALCS, *DONE), *[(HCALCS, "CS06", None)] * 3, (HCALCS, "0x8F66", 0)]),
        versions={HCALCS: 2},
        downloads={HCALCS: 1},
    ),
    Story(
        "a stored image is preempted by a GSME's",
        preempt_an_image_that_nobody_has_collected_yet,
        (PPMID, GSME),
        Counter([(PPMID, "0x8F89", 1), (GSME, *DONE)]),
        versions={PPMID: 1, GSME: 1},
        downloads={PPMID: 0, GSME: 1},
    ),
    Story(
        "an arriving image is preempted by a GSME's",
        preempt_an_image_that_is_arriving,
        (PPMID, GSME),
        Counter([(PPMID, "0x8F89", 1), (GSME, *DONE)]),
        versions={PPMID: 1, GSME: 1},
        downloads={PPMID: 0, GSME: 1},
    ),
    Story(
        "the broker is away when the outcome comes",
        tell_a_broker_that_was_away,
        (PPMID,),
        Counter([(PPMID, *DONE), (PPMID, "0x8F8B", 0)]),
        versions={PPMID: 2},
        downloads={PPMID: 1},
    ),
    Story(
        "a download is paused and aborted",
        pause_a_download_and_abort_it,
        (PPMID,),
        Counter([(PPMID, "0x8F89", 3)]),
        versions={PPMID: 1},
        downloads={PPMID: 0},
    ),
)
