"""Whatever goes wrong with the dongle in the middle of a download, the hub gets over it by itself.

The whole bench on the true radio path. A fault begins once the third block has been served; the image
arrives whole all the same, the head end is told so, and nobody touched anything. What the hub cannot get
over, it says.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from one_ppmid import one_ppmid

sys.path.append(str(Path(__file__).parents[1] / "han"))

from house_radio import HeardFacts, hub_in

from han.facts import Fact
from han.sim.air.timeline import Timeline
from han.sim.dongle.versions import VERSIONS
from han.sim.fault import Fault, Kind, read_fault
from han.sim.home import DeviceDescription, read_home
from han.sim.house import House
from hub.dcc.requests import UpdatePpmidFirmware
from hub.demo.stage import Stage

pytestmark = pytest.mark.usefixtures("rebound")

SIZE = 900
"""Octets of the image: about sixteen blocks."""
BLOCKS_BEFORE = 3
LONGEST = 2 * 3600.0
"""Seconds until a transfer must be over, whatever happened: two rounds of the hub's own reminders."""

BORNE = (
    "dropped-octets:share=0.05",
    "changed-octets:share=0.05",
    "repeated-octets:share=0.05",
    "changed-octets:times=3,octets=64",
    "dropped-octets:share=0.02,octets=20",
    "busy:times=12",
    "table-full:share=0.2",
    "no-buffers:share=0.2",
    "refused-command:command=sendUnicast,times=3",
    "lost-answer:command=sendUnicast,times=2",
    "failed-delivery:times=6",
    "lost-callback:command=messageSentHandler,times=3",
    "lost-callback:command=incomingMessageHandler,share=0.1",
    "repeated-callback",
    "stall:seconds=3",
    "deaf:lasts=2",
)
"""Faults under which the hub never takes the dongle for lost."""

LOST_AND_BACK = (
    "stall:seconds=40,times=1",
    "deaf:lasts=300",
    "reboot:times=1",
    "assert:command=sendUnicast,skip=2,times=1",
    "reboot:command=sendUnicast,times=5",
    "reboot:times=1,seconds=300",
    "reboot:every=8,times=4",
    "reboot:times=1 reboot:command=setPolicy,times=2",
    "reboot:times=1 reboot:command=addEndpoint,times=1",
    "reboot:times=1 reboot:command=findKeyTableEntry,times=1",
    "reboot:times=1 second-rstack",
    "reboot:times=1 error-before-rstack:times=2",
)
"""Faults after which the hub has to bring the dongle and its network up again."""


def faults_of(text: str) -> list[Fault]:
    return [read_fault(each) for each in text.split()]


@dataclass
class Story:
    """A download during which something goes wrong."""

    stage: Stage
    ppmid: DeviceDescription
    told: list[Fact]

    def count(self, what: str) -> int:
        return sum(fact.what == what for fact in self.told)

    async def download(self, *faults: Fault) -> str:
        """Ask for the update; once it is under way, let it happen. How it ended."""
        blocks = 0

        def watch(fact: Fact) -> None:
            nonlocal blocks
            self.told.append(fact)
            if fact.what == "ota.block" and fact.who == "hub":
                blocks += 1
                if blocks == BLOCKS_BEFORE:
                    self.stage.house.go_wrong(*faults)

        stop = self.stage.facts.subscribe(watch)
        file = self.stage.image(self.ppmid, 0x00020000, SIZE)
        response = await self.stage.dsp.submit(
            UpdatePpmidFirmware(image=file.data, devices=(self.ppmid.eui64,))
        )
        outcome = await asyncio.wait_for(self.stage.dsp.finished(response.request_id), LONGEST)
        stop()
        result = outcome.devices[0].result
        assert result is not None
        return str(result.value)


@pytest.mark.parametrize("text", BORNE)
async def test_the_image_arrives_although_the_dongle_misbehaves_and_nobody_calls_it_lost(text):
    async with one_ppmid(seed=11) as (stage, ppmid):
        story = Story(stage, ppmid, [])

        assert await story.download(*faults_of(text)) == "activated"

    assert story.count("dongle.fault")
    assert story.count("radio.lost") == 0


@pytest.mark.parametrize("text", LOST_AND_BACK)
async def test_the_image_arrives_although_the_dongle_is_lost_on_the_way_and_that_is_said(text):
    async with one_ppmid(seed=11) as (stage, ppmid):
        story = Story(stage, ppmid, [])

        assert await story.download(*faults_of(text)) == "activated"

    assert story.count("dongle.fault")
    assert story.count("radio.lost") == story.count("radio.back") >= 1


async def test_after_a_reboot_endpoints_policies_and_link_keys_are_there_again():
    async with one_ppmid(seed=11) as (stage, ppmid):
        await asyncio.sleep(254)  # joining is closed again
        dongle, node = stage.house.dongle, stage.house.node
        endpoints, policy = dict(node.endpoints), node.trust.policy
        partners = dict(dongle.flash.link_keys)
        story = Story(stage, ppmid, [])

        assert await story.download(Fault(kind=Kind.REBOOT, times=1)) == "activated"

        assert node.endpoints == endpoints
        assert node.trust.policy == policy
        assert dongle.flash.link_keys == partners
        assert ppmid.eui64 in partners.values()
        assert not policy.allow_joins


@pytest.mark.parametrize("version", [4, 5, 17])
async def test_the_oldest_and_the_newer_dongles_reboot_no_differently(version):
    async with one_ppmid(11, ezsp=version) as (stage, ppmid):
        story = Story(stage, ppmid, [])

        assert await story.download(Fault(kind=Kind.REBOOT, times=1)) == "activated"

    assert story.count("radio.lost") == story.count("radio.back") == 1


async def test_what_is_not_acknowledged_comes_in_bursts_and_then_the_dongle_gives_the_link_up():
    async with one_ppmid(seed=11) as (stage, ppmid):
        story = Story(stage, ppmid, [])

        assert await story.download(Fault(kind=Kind.DEAF, lasts=60.0)) == "activated"

    assert [fact.why for fact in story.told if fact.what == "ash.failed"] == ["ACK_TIMEOUTS"]


async def test_a_dongle_that_stays_away_is_told_of_with_what_to_do_until_it_comes_back():
    async with one_ppmid(seed=11) as (stage, _):
        told: list[Fact] = []
        stage.facts.subscribe(told.append)

        stage.house.go_wrong(Fault(kind=Kind.REBOOT, times=1), Fault(kind=Kind.DEAF, lasts=600.0))
        await asyncio.sleep(590)
        assert "radio.back" not in {fact.what for fact in told}
        unreachable = [fact for fact in told if fact.what == "radio.unreachable"]
        assert len(unreachable) > 5
        assert all("nothing answers there as an EZSP dongle" in fact.why for fact in unreachable)
        await asyncio.sleep(100)

    assert [fact.what for fact in told if fact.what in {"radio.lost", "radio.back"}] == [
        "radio.lost",
        "radio.back",
    ]


async def test_a_device_that_was_expected_when_the_dongle_rebooted_gets_in_all_the_same():
    async with one_ppmid(seed=11) as (stage, _):
        hcalcs = stage.described["hcalcs"]
        told: list[Fact] = []
        stage.facts.subscribe(told.append)
        await stage.admit(hcalcs)
        await asyncio.sleep(5)
        assert "join.open" in {fact.what for fact in told}

        stage.house.go_wrong(Fault(kind=Kind.REBOOT, times=1))
        await asyncio.sleep(20)
        stage.house.devices["hcalcs"].power_on()
        await asyncio.sleep(200)

    joined = [fact.device for fact in told if fact.what == "device.joined"]
    assert joined == [str(hcalcs.eui64)]


def some_faults(seed: int) -> list[Fault]:
    """Two or three things that go wrong at once, each of them for ten minutes at most."""
    dice = random.Random(seed)
    kinds = [
        {"kind": Kind.DROPPED_OCTETS, "share": 0.03},
        {"kind": Kind.CHANGED_OCTETS, "share": 0.03, "octets": 8},
        {"kind": Kind.REPEATED_OCTETS, "share": 0.03},
        {"kind": Kind.DEAF, "times": dice.randint(20, 300)},
        {"kind": Kind.BUSY, "share": 0.3},
        {"kind": Kind.TABLE_FULL, "share": 0.3},
        {"kind": Kind.NO_BUFFERS, "share": 0.3},
        {"kind": Kind.REFUSED_COMMAND, "share": 0.02},
        {"kind": Kind.LOST_ANSWER, "share": 0.02},
        {"kind": Kind.FAILED_DELIVERY, "share": 0.3},
        {"kind": Kind.LOST_CALLBACK, "share": 0.05},
        {"kind": Kind.REPEATED_CALLBACK, "share": 0.3},
        {"kind": Kind.REBOOT, "every": dice.uniform(5, 60)},
        {"kind": Kind.ASSERT, "command": "sendUnicast", "skip": dice.randint(0, 20), "times": 3},
        {"kind": Kind.STALL, "seconds": dice.uniform(0.5, 20), "every": 30.0},
        {"kind": Kind.SECOND_RSTACK},
        {"kind": Kind.ERROR_BEFORE_RSTACK, "times": 3},
    ]
    return [Fault(**{"lasts": 600.0, **chosen}) for chosen in dice.sample(kinds, dice.randint(2, 3))]


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 60))]
)
async def test_whatever_goes_wrong_together_for_ten_minutes_is_got_over(seed):
    async with one_ppmid(seed, ezsp=random.Random(seed).choice(VERSIONS)) as (stage, ppmid):
        story = Story(stage, ppmid, [])

        assert await story.download(*some_faults(seed)) == "activated"


async def test_a_home_file_can_say_it_all():
    home = read_home(str(Path(__file__).parents[2] / "fixtures/homes/tired-dongle.toml"))
    house = House(home, timeline=Timeline(asyncio.get_running_loop().time()))
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        await hub.admit_everyone(house)
        house.power_on()
        await asyncio.sleep(1000)

    assert {fact.kind for fact in heard.of("dongle.fault")} >= {"dropped-octets", "reboot"}
    assert len(heard.of("radio.back")) == 2
    assert len(heard.of("keys.established", "hub")) == 1
