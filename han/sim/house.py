"""A house full of radios, built from what its home file says.

The house is one discrete-event simulation on one timeline: the air, the dongle and the devices. Tests drive
the timeline by hand; `House.run_on` puts it on an event loop, where unmodified host software finds the dongle
under a ``sim://`` URL. Same home, same seed, same calls: same frames, to the octet.

Whoever switches something on or off from outside the simulation may do so at any time: the house brings its
own time up to date before and after.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import combinations
from math import floor
from random import Random
from typing import TypeVar

from han.clock import SIMULATED_EPOCH, Utc
from han.errors import OurError
from han.facts import Facts
from han.security.install_code import link_key
from han.sim.address import HouseSettings, read_address
from han.sim.air.capture import KeyFile, PcapWriter, Sink
from han.sim.air.links import Link, Links, Patchy
from han.sim.air.medium import CHANNELS, Air, Clear, Flight, Lossy, Path, Sniffed, rssi_of
from han.sim.air.pump import Pump
from han.sim.air.timeline import Timeline
from han.sim.air.zep import ZepWriter
from han.sim.certified import certified_in
from han.sim.devices.device import Device
from han.sim.dongle.configuration import KEY_TABLE_SIZE
from han.sim.dongle.dongle import Dongle
from han.sim.dongle.houses import NoSuchHouse
from han.sim.dongle.personality import Personality, plain
from han.sim.fault import Fault
from han.sim.home import DONGLE, Home, HomeError, Quirks, read_home
from han.sim.house_memory import HouseMemory
from han.sim.node.node import Node
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64

W = TypeVar("W", PcapWriter, ZepWriter)

COORDINATOR = 0x8F
"""MAC capability of the dongle's radio."""
POWER_ON_WITHIN = 3.0
"""Seconds within which the devices of a house come up when its power does."""


class House:
    """The air, the dongle and the devices.

    Args:
        home: what the house holds.
        timeline: the simulation's; a fresh one by default.
        facts: where the house says what happens; by default a stream of its own on the timeline's clock.
        utc: what UTC it is at a time of the timeline.
        seed: instead of the home's.
        loss: share of the receptions that the air loses, 0 to 1.
        serial_loss: share of the writes on the dongle's serial line that are damaged, 0 to 1.
        personality: how the dongle behaves, instead of what the home says.
        memory: what the radios remember from before; by default nothing.
    """

    def __init__(
        self,
        home: Home,
        *,
        timeline: Timeline | None = None,
        facts: Facts | None = None,
        utc: Callable[[float], datetime] | None = None,
        seed: int | None = None,
        loss: float = 0.0,
        serial_loss: float = 0.0,
        personality: Personality | None = None,
        memory: HouseMemory | None = None,
    ) -> None:
        self.home = home
        self.seed = home.seed if seed is None else seed
        self.timeline = timeline or Timeline()
        self.facts = facts or Facts(lambda: self.timeline.now)
        self.utc = utc or _simulated_utc
        self._pump: Pump | None = None
        self._sniffers: list[Callable[[Flight], None]] = []
        self._key_files: list[KeyFile] = []
        self.links = links_of(home)
        """Who hears whom; None in a house of one room."""
        path: Path = Lossy(Clear(), loss, self.seed) if loss else Clear()
        if self.links is not None:
            path = Patchy(path, self.links, self.seed)
        self.air = Air(self.timeline, Sniffed(path, self._sniffed), self.links)
        self.memory = memory or HouseMemory()
        self.on_memory: Callable[[], None] = lambda: None
        """Called when a radio has written something to its memory that must survive at once."""
        kept = self.memory.dongle
        self.node = Node(
            eui64=home.dongle.eui64,
            air=self.air,
            timeline=self.timeline,
            dice=self._dice("radio of the dongle"),
            facts=self.facts,
            name="dongle",
            capability=COORDINATOR,
            store=kept.store,
            link_status_period=home.seconds_between_link_statuses,
        )
        self.dongle = Dongle(
            timeline=self.timeline,
            node=self.node,
            store=kept.store,
            eui64=home.dongle.eui64,
            dice=self._dice("dongle"),
            facts=self.facts,
            personality=personality or personality_of(home),
            faults=home.dongle.faults,
            flash=kept.flash,
            serial_loss=serial_loss,
        )
        self.certified = certified_in(home)
        """What the home's authority gave whom, by name and suite; the demo's hub asks too."""
        self.devices: dict[str, Device] = {
            description.name: Device(
                description,
                air=self.air,
                timeline=self.timeline,
                seed=self.seed,
                facts=self.facts,
                utc=self.utc,
                channels=CHANNELS if home.channel is None else (home.channel,),
                wake=self._wake,
                memory=self.memory.devices.get(description.name),
                link_status_period=home.seconds_between_link_statuses,
                certified=self.certified,
            )
            for description in home.devices
        }
        self._watch(kept.store, None)
        kept.flash.on_change = self._written
        for device in self.devices.values():
            self.memory.devices[device.name] = device.memory
            self._watch(device.memory.node, device.name)
        self._power = self._dice("power")

    @property
    def pump(self) -> Pump:
        """What moves the house's time on an event loop.

        Raises:
            OurError: if the house is on none.
        """
        if self._pump is None:
            raise OurError("the house stands still: put it on an event loop with run_on")
        return self._pump

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop's clock move the house from now on. The timeline must not be ahead of it."""
        if self._pump is not None:
            self._pump.stop()
        self._pump = Pump(self.timeline, loop)
        self._pump.wake()

    def stop(self) -> None:
        """Let time stand still in the house for good."""
        if self._pump is not None:
            self._pump.stop()

    def device(self, eui64: Eui64) -> Device:
        """The device with this address. Raises KeyError if the house has none."""
        for device in self.devices.values():
            if device.eui64 == eui64:
                return device
        raise KeyError(str(eui64))

    def power_on(self) -> None:
        """Switch every device on, one after the other within a few seconds; they join by themselves."""
        self._wake()
        for device in self.devices.values():
            self.timeline.after(self._power.uniform(0.0, POWER_ON_WITHIN), device.power_on)
        self._wake()

    def power_off(self) -> None:
        """Cut the power of every device at this instant."""
        for device in self.devices.values():
            device.power_off()

    def go_wrong(self, *faults: Fault) -> None:
        """Let these go wrong with the dongle from this instant on."""
        self._wake()
        self.dongle.faults.add(*faults)
        self._wake()

    def remember(self) -> HouseMemory:
        """What every radio remembers, as a power cut of the whole house at this instant would leave it."""
        for device in self.devices.values():
            device.remember()
        return self.memory

    def capture(self, file: Sink) -> PcapWriter:
        """Write every frame that a good sniffer in the room hears from now on to an open binary file."""
        channel = self.home.channel or CHANNELS[0]
        return self._sniff(lambda epoch: PcapWriter(file, channel, epoch=epoch))

    def stream(self, send: Callable[[bytes], None]) -> ZepWriter:
        """Make a ZEP datagram of every such frame from now on."""
        channel = self.home.channel or CHANNELS[0]
        return self._sniff(lambda epoch: ZepWriter(send, channel, epoch=epoch))

    def write_keys(self, file: KeyFile) -> None:
        """Write the keys that open a capture: those there are, and each further one when a radio gets it."""
        self._key_files.append(file)
        for device in self.devices.values():
            file.add(link_key(device.description.install_code), f"link key of {device.name}")
            self._learn_keys(device.memory.node, device.name)
        self._learn_keys(self.memory.dongle.store, None)

    def _wake(self) -> None:
        if self._pump is not None:
            self._pump.wake()

    def _dice(self, whose: str) -> Random:
        return Random(f"{self.seed} {whose}")

    def _sniff(self, make: Callable[[int], W]) -> W:
        """Let a writer, which is made for an epoch in whole seconds, hear every frame."""
        start = self.utc(0.0).timestamp()
        epoch = floor(start)
        writer = make(epoch)
        # Times near zero keep their nanoseconds, which a float of seconds since 1970 would lose.
        fraction = start - epoch

        def write(flight: Flight) -> None:
            lqi = self.air.lqi_of(flight)
            writer.write(flight.start + fraction, flight.psdu, rssi_of(lqi), lqi, channel=flight.channel)

        self._sniffers.append(write)
        return writer

    def _sniffed(self, flight: Flight) -> None:
        for sniffer in self._sniffers:
            sniffer(flight)

    def _watch(self, store: NodeStore, owner: str | None) -> None:
        """Hear of what a radio writes to its memory, which may be a key."""

        def written() -> None:
            self._learn_keys(store, owner)
            self._written()

        store.on_change = written

    def _written(self) -> None:
        self.on_memory()

    def _learn_keys(self, store: NodeStore, owner: str | None) -> None:
        for file in self._key_files:
            for key, label in self._keys_in(store, owner):
                file.add(key, label)

    def _keys_in(self, store: NodeStore, owner: str | None) -> Iterator[tuple[bytes, str]]:
        network = store.network
        if network is not None:
            label = f"network key of PAN {network.pan_id:04x}"
            yield network.network_key, label
            for key in store.alternate_keys.values():
                yield key, label
        names = {device.eui64: device.name for device in self.devices.values()}
        for partner, entry in store.link_keys.items():
            yield entry.key, f"link key of {owner or names.get(partner, partner)}"


def links_of(home: Home) -> Links | None:
    """The plan of this home; None if it has one room."""
    if not home.links:
        return None
    radios = {DONGLE: home.dongle.eui64, **{device.name: device.eui64 for device in home.devices}}
    links = Links()
    for described in home.links:
        link = Link(described.lqi, described.loss)
        for one, other in combinations(described.between, 2):
            links.connect(radios[one], radios[other], link, one_way=described.one_way)
    return links


def personality_of(home: Home) -> Personality:
    """How the dongle of this home behaves."""
    dongle = home.dongle
    if dongle.behaves is Quirks.PLAIN:
        personality = plain(dongle.ezsp, dongle.baud)
    else:
        personality = Personality(ezsp=dongle.ezsp, baud=dongle.baud)
    sizes = personality.table_sizes | {KEY_TABLE_SIZE: dongle.key_table}
    return dataclasses.replace(personality, table_sizes=sizes)


def build_house(
    settings: HouseSettings,
    loop: asyncio.AbstractEventLoop,
    facts: Facts | None = None,
    memory: HouseMemory | None = None,
) -> House:
    """A house on an event loop, its devices still without power; ``memory`` is what it knows from before.

    Raises:
        HomeError: if there is no such home, or it cannot be used.
    """
    home = settings.apply_to(read_home(settings.home))
    house = House(
        home,
        timeline=Timeline(loop.time()),
        facts=facts or Facts(loop.time),
        utc=Utc(loop).at,
        loss=settings.loss,
        serial_loss=settings.serial_loss,
        memory=memory,
    )
    house.run_on(loop)
    return house


def open_house(url: str, loop: asyncio.AbstractEventLoop) -> House:
    """The house that a ``sim://`` URL describes, running on this loop, its devices switched on.

    Raises:
        NoSuchHouse: if the URL or the home it names cannot be used; the text says what to write instead.
    """
    try:
        house = build_house(read_address(url), loop)
    except HomeError as error:
        raise NoSuchHouse(str(error)) from error
    house.power_on()
    return house


def _simulated_utc(at: float) -> datetime:
    return SIMULATED_EPOCH + timedelta(seconds=at)
