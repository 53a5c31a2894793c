"""A gas image is offered at a seeded instant of a PPMID's update, over the true radio path; what comes of it.

A seed picks the step of the update, the instant within it, and whether the air loses frames. Everything is
judged by what must hold whatever the instant was; the first promise that does not hold is an AssertionError.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from one_ppmid import one_ppmid

from han.facts import Fact
from hub.dcc.requests import ActivateFirmware, UpdateFirmware, UpdatePpmidFirmware
from hub.demo.images import UpgradeFile
from hub.demo.stage import Stage

SIZE = 6000
"""Octets of either image: two chunks on the WAN, 108 blocks on the air."""
NEW = 0x00020000
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the PPMID's update: whose fact begins it, and about how many seconds it lasts."""

    name: str
    begins: Callable[[Fact], bool]
    lasts: float


def _says(who: str, what: str) -> Callable[[Fact], bool]:
    return lambda fact: fact.who == who and fact.what == what


STEPS = (
    Step("offered, no chunk yet", _says("hub", "slot.accepted"), 2.5),
    Step("arriving", _says("hub", "chunk.taken"), 1.45),
    Step("stored, not begun", _says("hub", "slot.stored"), 0.06),
    Step("downloading", _says("hub", "ota.started"), 4.0),
    Step("at Upgrade End", lambda fact: _says("hub", "ota.block")(fact) and _is_last(fact), 0.06),
    Step("activating", _says("ppmid", "ota.activating"), 8.2),
    Step("after", _says("dsp", "request.ended"), 120.0),
)


def _is_last(fact: Fact) -> bool:
    return bool(fact.offset + fact.size == SIZE)


@dataclass(frozen=True, slots=True)
class Came:
    """What came of one seed: in which step the gas image really met the update, and whether that was over."""

    step: str
    had_finished: bool


async def preempt_at(seed: int) -> Came:
    """Live through the instant of this seed; raises AssertionError if a promise is broken."""
    dice = random.Random(f"{seed} instant")
    step = STEPS[seed % len(STEPS)]
    loss = dice.choice((0.0, 0.0, 0.02))
    async with one_ppmid(seed, loss=loss) as (stage, ppmid):
        gsme = stage.described["gsme"]
        await stage.admit(gsme)
        stage.house.devices["gsme"].power_on()
        await asyncio.sleep(120)
        file, gas = stage.image(ppmid, NEW, SIZE), stage.image(gsme, NEW, SIZE)
        with stage.facts.recorded() as told:
            begun = _next(stage, step.begins)
            update = UpdatePpmidFirmware(image=file.data, devices=(ppmid.eui64,))
            first = await _accepted(stage, update)
            await asyncio.wait_for(begun, 2 * DAY)
            await asyncio.sleep(dice.uniform(0.0, step.lasts))
            met = _step_of(told)
            second = await _accepted(stage, UpdateFirmware(image=gas.data, devices=(gsme.eui64,)))
            ended = await stage.dsp.finished(first), await stage.dsp.finished(second)
            await asyncio.sleep(2 * DAY)
            _nothing_is_mixed(stage, told, file, gas)
            had_finished = _is_discarded_once_or_not_at_all(told, file, gas)
            results = [
                device.result.value for outcome in ended for device in outcome.devices if device.result
            ]
            assert results == ["activated" if had_finished else "image discarded", "transferred"]
            held = stage.house.devices["gsme"].firmware.held
            assert held is not None, "the gas meter has its image, and waits to be told to run it"
            assert held.manufacturer_image_hash == gas.manufacturer_image_hash
            later = [ActivateFirmware(device=gsme.eui64, manufacturer_image_hash=gas.manufacturer_image_hash)]
            if not had_finished:
                later.append(UpdatePpmidFirmware(image=file.data, devices=(ppmid.eui64,)))
            for request in later:
                outcome = await stage.dsp.finished(await _accepted(stage, request))
                assert [each.result.value for each in outcome.devices if each.result] == ["activated"]
            await asyncio.sleep(2 * DAY)
        _nothing_is_mixed(stage, told, file, gas)
        _every_request_ends_once(told)
        runs = {fact.who: fact.version for fact in told if fact.what == "device.activated"}
        assert runs == {"ppmid": f"{NEW:08X}", "gsme": f"{NEW:08X}"}
    return Came(met, had_finished)


async def _accepted(stage: Stage, request: UpdatePpmidFirmware | UpdateFirmware | ActivateFirmware) -> str:
    response = await stage.dsp.submit(request)
    assert response.ok, response.reason
    return response.request_id


def _next(stage: Stage, suits: Callable[[Fact], bool]) -> asyncio.Future[Fact]:
    heard: asyncio.Future[Fact] = asyncio.get_running_loop().create_future()

    def listen(fact: Fact) -> None:
        if not heard.done() and suits(fact):
            heard.set_result(fact)

    end = stage.facts.subscribe(listen)
    heard.add_done_callback(lambda _: end())
    return heard


def _step_of(told: list[Fact]) -> str:
    """The last step that has begun."""
    return next(step.name for step in reversed(STEPS) if any(step.begins(fact) for fact in told))


def _is_discarded_once_or_not_at_all(told: list[Fact], file: UpgradeFile, gas: UpgradeFile) -> bool:
    """Whether the hub knew that the PPMID had its image when the gas image came; the alerts follow that."""
    came = next(
        at
        for at, fact in enumerate(told)
        if (fact.who, fact.what, fact.fields.get("image")) == ("hub", "slot.accepted", gas.image_id)
    )
    had_finished = any(fact.what == "ota.completed" and fact.image == file.image_id for fact in told[:came])
    ppmid = str(file.device.eui64)
    codes = Counter(
        (fact.code, fact.response)
        for fact in told
        if fact.what == "alert.received" and fact.device == ppmid and fact.kind == "firmware-transfer"
    )
    assert codes == ({("0x8F8A", 0): 1} if had_finished else {("0x8F89", 1): 1})
    return had_finished


def _nothing_is_mixed(stage: Stage, told: list[Fact], file: UpgradeFile, gas: UpgradeFile) -> None:
    """Whatever lies on a device is the beginning of its own image or all of it, octet for octet."""
    for image in (file, gas):
        name = image.device.name
        complete = {fact.image for fact in told if fact.what == "ota.complete" and fact.who == name}
        assert complete <= {image.image_id}, f"{name} completed another image than its own"
        firmware = stage.house.devices[name].firmware
        firmware.remember()
        stored = firmware._memory.download
        assert stored is None or image.data.startswith(stored.data), f"{name} holds a mixed image"


def _every_request_ends_once(told: list[Fact]) -> None:
    accepted = [fact.request for fact in told if (fact.who, fact.what) == ("dsp", "request.accepted")]
    ended = Counter(fact.request for fact in told if (fact.who, fact.what) == ("dsp", "request.ended"))
    assert ended == dict.fromkeys(accepted, 1)
