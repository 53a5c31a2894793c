"""GBCS-sized messages between hub and device: coordinator, unmodified bellows, dongle, air, node."""

from __future__ import annotations

import asyncio
import random

import pytest
from bellows.ezsp import fragmentation
from dongle_house import (
    CODE,
    DEVICE_ENDPOINT,
    HCALCS,
    NETWORK,
    PPMID,
    DongleHouse,
    Ears,
    heard_by,
    registered,
    start,
)
from frame_eater import Eater, aps_frame_of, times

import han.sim  # noqa: F401 - registers sim://
from han.coordinator import (
    LARGEST_PAYLOAD,
    DeliveryFailed,
    PayloadTooLong,
    RadioBack,
    RadioBusy,
    RadioGone,
    SecuritySettings,
)
from han.fragments import Block, FragmentSettings
from han.security.install_code import link_key
from han.sim.air.medium import Clear, Lossy, Sniffed
from han.sim.fault import Fault, Kind
from han.sim.node.node import Node
from han.sim.node.poll import PollSettings
from han.sim.node.service import PayloadTooLong as NodePayloadTooLong
from han.sim.node.service import SendRequest, SendStatus, SimpleDescriptor
from han.sim.wire.aps import FrameType
from han.zcl import BASIC_CLUSTER, OTA_CLUSTER, SMART_ENERGY_PROFILE, TUNNELLING_CLUSTER

LONG = bytes(range(256)) * 4 + bytes(176)
OTHER = bytes(reversed(LONG))
assert len(LONG) == 1200

LINK_KEYS = SecuritySettings(link_keys=lambda _: link_key(CODE))
"""Every device has the link key of its install code, ready made, and protects what Smart Energy protects."""


class World:
    """A hub with a device or two."""

    def __init__(self, house: DongleHouse) -> None:
        self.house = house
        self.ears = Ears()
        self.flights = []
        self.is_secured = True

    async def start(self, *, is_secured: bool = True, **changes: object) -> None:
        self.is_secured = is_secured
        security = {"security": LINK_KEYS} if is_secured else {}
        self.hub = await start(self.house, self.ears, **security, **changes)

    async def joined(self, eui64=PPMID, node: Node | None = None) -> Node:
        node = node or self.house.new_device(eui64)
        await self.hub.admit(eui64, CODE, "PPMID")
        await self.house.join(node, link_key(CODE))
        await asyncio.sleep(2)
        await self.say(node, b"here I am")
        self.ears.messages.clear()
        self.house.air.path = Sniffed(self.house.air.path, self.flights.append)
        return node

    def over(self, path) -> None:
        """From now on the air is like this."""
        self.house.air.path = Sniffed(path, self.flights.append)

    async def say(self, node, payload: bytes, **changes: object) -> SendStatus:
        """Send something from a device to the hub, and give how that ended."""
        done = asyncio.get_running_loop().create_future()
        request = SendRequest(
            0x0000,
            SMART_ENERGY_PROFILE,
            TUNNELLING_CLUSTER,
            DEVICE_ENDPOINT,
            1,
            payload,
            aps_security=self.is_secured,
        )
        self.house.pump.wake()
        node.send(request._replace(**changes), lambda status: done.done() or done.set_result(status))
        self.house.pump.wake()
        status = await done
        await asyncio.sleep(0.1)  # until the dongle has told its host
        return status

    async def say_block(self, node, payload: bytes, index: int, counter: int, count: int = 0, **changes):
        """Send one fragment, whatever the others may be."""
        node.host_fragments = True
        block = Block(index, count or None)
        return await self.say(node, payload, block=block, counter=counter, **changes)

    async def tell(self, payload: bytes, to=PPMID, cluster: int = TUNNELLING_CLUSTER) -> None:
        await self.hub.send(to, cluster, payload)

    @property
    def heard(self) -> list[bytes]:
        """What the hub heard in tunnels."""
        return [payload for _, cluster, payload, _ in self.ears.messages if cluster == TUNNELLING_CLUSTER]

    def frames(self):
        """The application support frames on the air."""
        frames = [aps_frame_of(flight, NETWORK.network_key) for flight in self.flights]
        return [frame for frame in frames if frame is not None]

    def why(self, what: str = "message.refused") -> list[str]:
        return [fact.why for fact in self.facts if fact.what == what]


@pytest.fixture(params=[13, 17], ids=["ezsp13", "ezsp17"])
async def world(rebound, request):
    """A hub that keeps protected clusters under link keys, on a dongle of either generation."""
    with registered(DongleHouse(ezsp=request.param)) as house, house.facts.recorded() as facts:
        world = World(house)
        world.facts = facts
        await world.start()
        yield world
        await world.hub.close()


versions = pytest.mark.parametrize("ezsp", [4, 8, 13, 14, 19])


@versions
@pytest.mark.parametrize("is_secured", [True, False], ids=["link key", "network key"])
async def test_a_long_message_travels_whole_both_ways_in_every_version(rebound, ezsp, is_secured):
    with registered(DongleHouse(ezsp=ezsp)) as house:
        world = World(house)
        await world.start(is_secured=is_secured)
        node = await world.joined()
        heard = heard_by(node)

        await world.tell(LONG)
        assert await world.say(node, OTHER) is SendStatus.OK
        await asyncio.sleep(1)

        assert [(one.payload, one.aps_secured, one.cluster) for one in heard] == [
            (LONG, is_secured, TUNNELLING_CLUSTER)
        ]
        assert world.ears.messages == [(PPMID, TUNNELLING_CLUSTER, OTHER, is_secured)]
        await world.hub.close()


async def test_each_fragment_has_the_size_of_a_gbcs_fragment_under_the_link_key(world):
    node = await world.joined()
    heard_by(node)
    await world.tell(LONG)

    blocks = [
        frame
        for frame in world.frames()
        if frame.fragment and frame.type is FrameType.DATA and frame.security
    ]
    assert [frame.fragment.block for frame in blocks] == [20, *range(1, 20)]
    assert {len(frame.payload) for frame in blocks[:-1]} == {61 + 5 + 4}
    assert len({frame.counter for frame in blocks}) == 1


@pytest.mark.parametrize("seed", [1])
async def test_with_five_percent_loss_every_long_message_arrives_once_and_in_order(world, seed):
    node = await world.joined()
    heard = heard_by(node)
    world.over(Lossy(Clear(), rate=0.05, seed=seed))
    messages = [bytes((number,)) + LONG[1:] for number in range(4)]

    for message in messages:
        await world.tell(message)
        assert await world.say(node, message) is SendStatus.OK
    await asyncio.sleep(1)

    assert [one.payload for one in heard] == messages
    assert world.heard == messages


@pytest.mark.parametrize("seed", [1, 2])
async def test_with_twenty_percent_loss_nothing_is_lost_that_is_said_to_have_arrived(world, seed):
    node = await world.joined()
    heard = heard_by(node)
    world.over(Lossy(Clear(), rate=0.2, seed=seed))
    messages = [bytes((number,)) + LONG[1:] for number in range(4)]
    told, said = [], []
    for message in messages:
        try:
            await world.tell(message)
            told.append(message)
        except DeliveryFailed:
            pass
        if await world.say(node, message) is SendStatus.OK:
            said.append(message)
    await asyncio.sleep(1)

    down = [one.payload for one in heard]
    assert [message for message in down if message in told] == told
    assert [message for message in world.heard if message in said] == said
    assert len(down) == len(set(down))
    assert len(world.heard) == len(set(world.heard))
    assert len(told) >= 3
    assert len(said) >= 3


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.ACK], ids=["fragment", "acknowledgement"])
async def test_a_lost_frame_costs_a_repetition_and_nothing_else(world, kind, which):
    node = await world.joined()
    heard = heard_by(node)
    number = {"first": 20 if kind is FrameType.DATA else 0, "last": 19}[which]
    eater = Eater(NETWORK.network_key)

    def chosen(frame):
        return frame.type is kind and frame.fragment is not None and frame.fragment.block == number

    world.over(eater)
    eater.lost = times(4, chosen)
    began = world.house.loop.time()
    await world.tell(LONG)
    assert 1.6 < world.house.loop.time() - began < 1.6 + 20 * 0.15
    eater.lost = times(4, chosen)
    assert await world.say(node, OTHER) is SendStatus.OK
    await asyncio.sleep(1)

    assert eater.eaten == 8
    assert [one.payload for one in heard] == [LONG]
    assert world.heard == [OTHER]


async def test_a_fragment_that_the_dongle_gives_up_is_asked_for_once_more(world):
    node = await world.joined()
    heard = heard_by(node)
    eater = Eater(NETWORK.network_key)
    world.over(eater)
    eater.lost = times(16, lambda frame: frame.type is FrameType.DATA and frame.fragment.block == 7)

    await world.tell(LONG)

    assert eater.eaten == 16
    assert [one.payload for one in heard] == [LONG]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=Kind.BUSY, command="sendUnicast", skip=3, times=3),
        Fault(kind=Kind.TABLE_FULL, command="sendUnicast", skip=3, times=3),
        Fault(kind=Kind.NO_BUFFERS, command="sendUnicast", skip=3, times=3),
        Fault(kind=Kind.FAILED_DELIVERY, skip=3, times=1),
        Fault(kind=Kind.REPEATED_CALLBACK),
        Fault(kind=Kind.LOST_CALLBACK, command="incomingMessageHandler", skip=3, times=3),
        Fault(kind=Kind.STALL, after=0.5, seconds=1.0),
        Fault(kind=Kind.CHANGED_OCTETS, share=0.02),
        Fault(kind=Kind.DROPPED_OCTETS, share=0.02),
    ],
    ids=lambda fault: fault.kind.value,
)
async def test_what_goes_wrong_with_the_dongle_for_a_moment_costs_no_message(world, fault):
    node = await world.joined()
    heard = heard_by(node)
    world.house.dongle.faults.add(fault)

    await world.tell(LONG)
    assert await world.say(node, OTHER) is SendStatus.OK
    await asyncio.sleep(1)

    assert [each for each in world.facts if each.what == "dongle.fault"]
    assert [one.payload for one in heard] == [LONG]
    assert world.heard == [OTHER]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=Kind.LOST_CALLBACK, command="messageSentHandler", skip=3, times=1),
        Fault(kind=Kind.LOST_ANSWER, command="sendUnicast", skip=3, times=1),
        Fault(kind=Kind.BUSY, command="sendUnicast", skip=3, times=9),
    ],
    ids=lambda fault: f"{fault.kind.value} {fault.command}",
)
async def test_what_the_dongle_never_says_is_reported_and_the_next_message_goes_through(world, fault):
    node = await world.joined()
    heard = heard_by(node)
    world.house.dongle.faults.add(fault)

    with pytest.raises((DeliveryFailed, RadioBusy)):
        await world.tell(LONG)
    await asyncio.sleep(20)
    await world.tell(OTHER)

    assert [one.payload for one in heard] == [OTHER]


async def test_an_acknowledgement_whose_answer_the_dongle_forgets_costs_time_and_nothing_else(world):
    node = await world.joined()
    world.house.dongle.faults.add(Fault(kind=Kind.LOST_ANSWER, command="sendReply", skip=3, times=1))
    first = await world.say(node, LONG)
    await asyncio.sleep(20)

    assert await world.say(node, OTHER) is SendStatus.OK

    assert world.heard == [LONG, OTHER] if first is SendStatus.OK else [OTHER]
    assert any("could not be sent" in why for why in world.why())


async def test_a_device_that_is_switched_off_is_reported_and_another_is_not_kept_waiting(world):
    node, other = await world.joined(), await world.joined(HCALCS)
    heard = heard_by(other)
    node.crash()
    began = world.house.loop.time()

    failing = asyncio.create_task(world.tell(LONG))
    await world.tell(OTHER, HCALCS)

    assert [one.payload for one in heard] == [OTHER]
    assert not failing.done()
    with pytest.raises(DeliveryFailed, match="not acknowledged"):
        await failing
    assert world.house.loop.time() - began < 15


async def test_a_device_that_sleeps_takes_and_sends_long_messages(world):
    node = Node(
        eui64=PPMID,
        air=world.house.air,
        timeline=world.house.timeline,
        dice=random.Random("sleeper 7"),
        facts=world.house.facts,
        name="sleeper",
        capability=0x80,
        poll=PollSettings(long=6.0),
    )
    node.endpoints[DEVICE_ENDPOINT] = SimpleDescriptor(
        SMART_ENERGY_PROFILE, 0x0502, 0, (), (OTA_CLUSTER, TUNNELLING_CLUSTER)
    )
    await world.joined(node=node)
    heard = heard_by(node)
    await asyncio.sleep(60)

    await world.tell(LONG)
    await asyncio.sleep(60)
    assert await world.say(node, OTHER) is SendStatus.OK

    assert [one.payload for one in heard] == [LONG]
    assert world.heard == [OTHER]


async def test_a_device_that_reboots_in_the_middle_gets_the_next_message_and_no_half_of_this(world):
    node = await world.joined()
    heard = heard_by(node)
    sending = asyncio.create_task(world.tell(LONG))
    await asyncio.sleep(0.7)
    world.house.pump.wake()
    node.crash()
    await asyncio.sleep(0.5)
    node.reboot()
    world.house.pump.wake()

    with pytest.raises(DeliveryFailed):
        await sending
    await world.tell(OTHER)

    assert [one.payload for one in heard] == [OTHER]


async def test_a_device_that_reboots_while_it_sends_leaves_no_half_message_behind(world):
    node = await world.joined()
    sending = asyncio.create_task(world.say(node, LONG))
    await asyncio.sleep(0.7)
    world.house.pump.wake()
    node.crash()
    node.reboot()
    world.house.pump.wake()
    await asyncio.sleep(20)
    sending.cancel()

    assert world.heard == []
    assert any("half a message" in why for why in world.why())
    assert await world.say(node, OTHER) is SendStatus.OK
    assert world.heard == [OTHER]


async def test_a_dongle_that_crashes_in_the_middle_is_reported_and_the_next_message_goes_through(world):
    node = await world.joined()
    heard = heard_by(node)
    sending = asyncio.create_task(world.tell(LONG))
    await asyncio.sleep(0.7)

    world.house.dongle.crash()
    with pytest.raises(RadioGone):
        await asyncio.wait_for(sending, 20)
    await asyncio.sleep(30)
    assert RadioBack() in world.ears.events
    await world.tell(OTHER)
    assert await world.say(node, OTHER) is SendStatus.OK

    assert [one.payload for one in heard] == [OTHER]
    assert world.heard == [OTHER]


async def test_two_messages_at_once_each_way_and_short_ones_in_between_all_arrive(world):
    node, other = await world.joined(), await world.joined(HCALCS)
    heard, heard_too = heard_by(node), heard_by(other)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for message in (LONG, OTHER, b"short"):
            group.create_task(world.tell(message))
        group.create_task(world.tell(LONG, HCALCS))
        ends = [
            group.create_task(world.say(*each))
            for each in ((node, LONG), (node, OTHER), (node, b"short"), (other, OTHER))
        ]

    assert [end.result() for end in ends] == [SendStatus.OK] * 4
    assert sorted(len(one.payload) for one in heard) == [5, 1200, 1200]
    assert {one.payload for one in heard} == {LONG, OTHER, b"short"}
    assert [one.payload for one in heard_too] == [LONG]
    assert sorted((eui64, payload) for eui64, _, payload, _ in world.ears.messages) == sorted(
        [(PPMID, LONG), (PPMID, OTHER), (PPMID, b"short"), (HCALCS, OTHER)]
    )


# A device that gets it wrong


async def test_a_fragment_of_another_message_in_between_belongs_to_that(world):
    node = await world.joined()
    await world.say_block(node, b"one ", 0, 7, 2)
    await world.say_block(node, b"three ", 0, 9, 2)
    await world.say_block(node, b"two", 1, 7)
    await world.say_block(node, b"four", 1, 9)

    assert world.heard == [b"one two", b"three four"]


async def test_an_index_beyond_the_count_is_refused_and_the_message_still_comes_through(world):
    node = await world.joined()
    await world.say_block(node, b"one ", 0, 7, 2)

    assert await world.say_block(node, b"beyond", 5, 7) is SendStatus.DELIVERY_FAILED
    assert await world.say_block(node, b"two", 1, 7) is SendStatus.OK

    assert world.heard == [b"one two"]
    assert set(world.why()) == {"fragment 5 of a message of 2"}


async def test_a_wrong_count_makes_no_message(world):
    node = await world.joined()

    assert await world.say_block(node, b"one ", 0, 7, 3) is SendStatus.OK
    assert await world.say_block(node, b"two", 1, 7) is SendStatus.OK
    await asyncio.sleep(20)

    assert world.heard == []
    assert world.why() == ["half a message: 1 of its 3 fragments never came"]


async def test_overlapping_fragments_are_refused_and_the_first_ones_count(world):
    node = await world.joined()
    await world.say_block(node, b"one ", 0, 7, 3)
    await world.say_block(node, b"two ", 1, 7)

    assert await world.say_block(node, b"lie ", 1, 7) is SendStatus.DELIVERY_FAILED
    await world.say_block(node, b"three", 2, 7)

    assert world.heard == [b"one two three"]


async def test_fragments_said_twice_make_one_message(world):
    node = await world.joined()
    for index, part in enumerate((b"one ", b"two ", b"three")):
        for _ in range(2):
            assert await world.say_block(node, part, index, 7, 0 if index else 3) is SendStatus.OK

    assert world.heard == [b"one two three"]


async def test_recorded_fragments_played_again_change_nothing(world):
    node = await world.joined()
    await world.say(node, LONG)
    recorded = [flight for flight in world.flights if aps_frame_of(flight, NETWORK.network_key)]
    before = len(world.frames())

    for flight in recorded:
        world.house.pump.wake()
        world.house.air.transmit(object(), flight.channel, flight.psdu, lambda: None)
        world.house.pump.wake()
        await asyncio.sleep(0.1)

    assert world.heard == [LONG]
    assert len(world.frames()) == before + len(recorded)  # nobody answered any of them


async def test_a_flood_of_first_fragments_keeps_nobody_else_out(world):
    node, other = await world.joined(), await world.joined(HCALCS)

    async def flood() -> None:
        for counter in range(200):
            await world.say_block(other, bytes(60), 0, counter, 255)

    flooding = asyncio.create_task(flood())
    assert await world.say(node, LONG) is SendStatus.OK
    flooding.cancel()

    assert world.heard == [LONG]


async def test_whoever_has_only_the_network_key_cannot_slip_fragments_among_protected_ones(world):
    node, thief = await world.joined(), await world.joined(HCALCS)
    await world.say_block(node, b"pay ", 0, 7, 3)
    thief._nwk.address = node.nwk  # with the network key, anybody can claim any short address

    await world.say_block(thief, b"thief ", 1, 7, aps_security=False)
    assert await world.say_block(node, b"me ", 1, 7) is SendStatus.OK
    await world.say_block(thief, b"!", 2, 7, aps_security=False)

    assert world.heard == []
    await world.say_block(node, b"now", 2, 7)
    assert world.heard == [b"pay me now"]
    assert world.ears.messages[-1][3] is True


# Sizes


async def test_what_is_longer_than_may_be_is_refused_before_the_radio_on_both_sides(world):
    node = await world.joined()

    with pytest.raises(PayloadTooLong) as caught:
        await world.tell(bytes(1601))
    assert (caught.value.size, caught.value.limit) == (1601, 1600)
    with pytest.raises(NodePayloadTooLong):
        await world.say(node, bytes(1601))
    assert world.flights == []


async def test_the_longest_message_of_a_tunnel_fits(world):
    node = await world.joined()
    heard = heard_by(node)
    longest = bytes(3 + 2 + 1500)

    await world.tell(longest)
    assert await world.say(node, longest) is SendStatus.OK
    await asyncio.sleep(1)

    assert [one.payload for one in heard] == [longest]
    assert world.heard == [longest]


async def test_who_asks_not_to_be_cut_is_told_how_much_fits(world):
    await world.joined()

    with pytest.raises(PayloadTooLong) as caught:
        await world.hub.send(PPMID, TUNNELLING_CLUSTER, LONG, fragments=False)
    assert caught.value.limit == 73
    with pytest.raises(PayloadTooLong):
        await world.hub.send(PPMID, TUNNELLING_CLUSTER, LONG, aps_ack=False)


async def test_one_octet_more_than_a_frame_holds_takes_two_fragments(world):
    node = await world.joined()
    heard = heard_by(node)
    for size in (73, 74):
        await world.tell(bytes(size))

    assert [len(one.payload) for one in heard] == [73, 74]
    blocks = [frame for frame in world.frames() if frame.fragment and frame.type is FrameType.DATA]
    assert [frame.fragment.block for frame in blocks] == [2, 1]


@pytest.mark.parametrize("size", [LARGEST_PAYLOAD - 10, 81, LARGEST_PAYLOAD])
async def test_a_key_establishment_that_no_longer_fits_because_of_its_route_is_cut(world, size):
    """The longest message of suite 2 has 81 octets, and a source route of four relays takes ten."""
    node = await world.joined()
    heard = heard_by(node)
    for radio in (world.house.node, node):
        radio._nwk.send = through_four_relays(radio._nwk.send)

    await world.tell(bytes(size), cluster=BASIC_CLUSTER)
    said = await world.say(node, bytes(size), cluster=BASIC_CLUSTER, aps_security=False)
    await asyncio.sleep(1)

    assert said is SendStatus.OK
    assert [len(one.payload) for one in heard] == [size]
    assert [len(payload) for _, cluster, payload, _ in world.ears.messages if cluster == BASIC_CLUSTER] == [
        size
    ]
    assert any(frame.fragment for frame in world.frames()) == (size > 72)


def through_four_relays(send):
    """A network layer in whose frames ten octets are taken."""
    room = LARGEST_PAYLOAD + 8 - 10

    def limited(destination, payload, on_done, **options):
        if len(payload) > room:
            raise NodePayloadTooLong(len(payload), room)
        send(destination, payload, on_done, **options)

    return limited


async def test_hub_and_device_tell_of_the_longest_message_that_they_take(world):
    node = await world.joined()

    assert world.house.node.zdo.longest == (1600, 1600)
    assert node.zdo.longest == (1600, 1600)


async def test_settings_of_the_radio_say_how_long_messages_travel(rebound):
    with registered(DongleHouse(ezsp=17)) as house:
        world = World(house)
        await world.start(fragments=FragmentSettings(longest=500, route_reserve=20))
        node = await world.joined()
        heard = heard_by(node)

        with pytest.raises(PayloadTooLong) as caught:
            await world.tell(LONG)
        await world.tell(LONG[:500])

        assert caught.value.limit == 500
        assert [one.payload for one in heard] == [LONG[:500]]
        counts = [frame.fragment.block for frame in world.frames() if frame.fragment]
        assert counts[0] == 10
        await world.hub.close()


def test_bellows_still_waits_ten_seconds_for_the_whole_of_a_message():
    """One of the reasons why its reassembly is passed by: see `Stack`. If it changes, think again."""
    assert fragmentation.FRAGMENT_TIMEOUT == 10
