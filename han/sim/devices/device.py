"""A simulated in-home device: a radio, an OTA client, a tunnel, a memory, and what its kind makes of them.

The parts decide and carry; this file connects them and switches them on and off. Nothing here waits: a device
lives on the house's timeline. One that starts new firmware goes dark for a few seconds and comes back as
itself with another version; what it has to say about that waits in its memory until its tunnel is open again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from han.facts import Facts
from han.security.install_code import link_key
from han.security.lab_authority import lab_credentials
from han.sim.air.medium import CHANNELS, Air
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.attachment import Attachment, Standing
from han.sim.devices.attributes import Attributes
from han.sim.devices.conduct import Certified
from han.sim.devices.endpoint import descriptor
from han.sim.devices.establishment import Establishment
from han.sim.devices.firmware import Firmware
from han.sim.devices.kinds import nature_of
from han.sim.devices.memory import Memory
from han.sim.devices.messenger import Messenger
from han.sim.devices.port import ENDPOINT, Port
from han.sim.devices.reception import Reception
from han.sim.devices.remote_party import RemoteParty
from han.sim.devices.search import Search
from han.sim.devices.smart_energy import SmartEnergyClient
from han.sim.home import DeviceDescription
from han.sim.node.node import Node
from han.sim.node.poll import PollSettings
from han.sim.node.store import NodeStore

MAINS_POWERED_ROUTER = 0x8E
"""MAC capability: full-function, mains-powered, listens when idle, takes an address from its parent."""
SLEEPY_END_DEVICE = 0x80
"""MAC capability: no router, on a battery, deaf when idle, takes an address from its parent."""
BOOT_SECONDS = 5.0
"""How long a device is dark while new firmware starts."""


class Device:
    """One device of a simulated house. It does nothing before `power_on`.

    Args:
        description: what it is.
        seed: decides everything about it that is left to chance.
        utc: what UTC it is at a time of the timeline; dates the messages that the device originates while no
            hub has told it the time.
        channels: where it looks for a network.
        wake: brings the timeline up to date for whoever switches the device from outside the simulation.
        memory: what it remembers from before; None for one that was never switched on.
        link_status_period: seconds after which it tells its neighbours how well it hears them; 0: never.
        certified: what it proves itself with, by name and suite.
    """

    def __init__(
        self,
        description: DeviceDescription,
        *,
        air: Air,
        timeline: Timeline,
        seed: int | str,
        facts: Facts,
        utc: Callable[[float], datetime],
        channels: Sequence[int] = CHANNELS,
        wake: Callable[[], None] = lambda: None,
        memory: Memory | None = None,
        link_status_period: float = 0.0,
        certified: Certified = lab_credentials,
    ) -> None:
        self.description = description
        self.name = description.name
        self.eui64 = description.eui64
        self.memory = memory or Memory(NodeStore(), description.file_version)
        self.is_on = False
        self._nature = nature = nature_of(description)
        dice = random.Random(f"{seed} device {self.name}")
        self._timeline = timeline
        self._wake = wake
        self._facts = facts
        self._utc = utc
        self._boot: Handle | None = None
        self.node = Node(
            eui64=self.eui64,
            air=air,
            timeline=timeline,
            dice=random.Random(f"{seed} radio {self.name}"),
            facts=facts,
            name=self.name,
            capability=SLEEPY_END_DEVICE if description.sleeps else MAINS_POWERED_ROUTER,
            store=self.memory.node,
            link_status_period=link_status_period,
            poll=PollSettings(long=description.seconds_between_polls),
        )
        proves_itself = description.establishes_keys
        self.node.endpoints[ENDPOINT] = descriptor(description, nature)
        self.node.zdo.manufacturer = description.manufacturer
        self._port = Port(self.node, facts, self.name, nature.profile, protects=proves_itself)
        self._search = search = Search(
            node=self.node, timeline=timeline, facts=facts, name=self.name, profile=nature.profile
        )
        self._attachment = Attachment(
            node=self.node,
            timeline=timeline,
            dice=dice,
            facts=facts,
            name=self.name,
            link_key=link_key(description.install_code),
            sleeps=description.sleeps,
            join_retry=description.join_retry,
            channels=channels,
            search=search,
            on_joined=self._joined,
            on_attached=self._attached,
            on_detached=self._detached,
        )
        self._establishment = (
            Establishment(
                port=self._port,
                search=search,
                timeline=timeline,
                facts=facts,
                name=self.name,
                memory=self.memory,
                description=description,
                certified=certified,
                dice=random.Random(f"{seed} keys {self.name}"),
                on_keyed=self._attachment.find_server,
            )
            if proves_itself
            else None
        )
        self.firmware = Firmware(
            description=description,
            nature=nature,
            memory=self.memory,
            port=self._port,
            timeline=timeline,
            dice=dice,
            facts=facts,
            server=lambda: self.memory.node.trust_centre,
            utc=lambda: None if self._smart_energy is None else self._smart_energy.utc(),
            verified=self._checked_image,
            started=self._new_firmware,
        )
        self._smart_energy = (
            SmartEnergyClient(
                kind=description.kind,
                port=self._port,
                timeline=timeline,
                dice=random.Random(f"{seed} keep-alive {self.name}"),
                facts=facts,
                name=self.name,
                on_lost=self._attachment.lost,
                on_firmware=self.firmware.ask_now,
                on_new_key=self._establishment.renew,
                on_time=self._told_time,
            )
            if self._establishment is not None
            else None
        )
        self._messenger = Messenger(
            port=self._port,
            timeline=timeline,
            facts=facts,
            name=self.name,
            memory=self.memory,
            on_message=self._remote_party_message,
        )
        self._remote_party = RemoteParty(
            eui64=self.eui64,
            nature=nature,
            memory=self.memory,
            firmware=self.firmware,
            timeline=timeline,
            facts=facts,
            name=self.name,
            utc=self._utc_now,
            clock=self._own_clock,
            tell=self._messenger.send,
        )
        reception = Reception(
            port=self._port,
            facts=facts,
            name=self.name,
            firmware=self.firmware,
            messenger=self._messenger if nature.has_tunnel else None,
            establishment=self._establishment,
            smart_energy=self._smart_energy,
            attributes=Attributes(
                description.kind.value,
                description.hardware_version,
                self._establishment.suites if self._establishment else 0,
                description.stub_clusters,
            ),
            stubs=description.stub_clusters,
            heeds_notify=description.is_reached_by_notify,
        )
        self.node.on_message = reception.message
        self.node.on_zdo = search.zdo_message
        self.node.on_event = self._attachment.node_event

    def __repr__(self) -> str:
        return f"Device({self.description.kind.value} {self.name!r} {self.eui64})"

    @property
    def file_version(self) -> int:
        """The OTA file version that runs now."""
        return self.memory.file_version

    @property
    def is_attached(self) -> bool:
        """Whether the device is in the network and knows where the hub's OTA server is."""
        return self._attachment.standing is Standing.ATTACHED

    def power_on(self) -> None:
        """Start up. Harmless if it is on."""
        self._wake()
        self._forget_boot()
        if not self.is_on:
            self.is_on = True
            self._facts.say(self.name, "device.on", version=f"{self.file_version:08X}")
            self.firmware.power_on()
            self._attachment.power_on()
        self._wake()

    def power_off(self) -> None:
        """Lose power at this instant; only the memory stays. Harmless if it is off."""
        self._wake()
        self._forget_boot()
        if self.is_on:
            self._go_dark()
            if self._smart_energy is not None:
                self._smart_energy.power_off()
            self._facts.say(self.name, "device.off")
        self._wake()

    def remember(self) -> None:
        """Bring the memory to what a power cut at this instant would leave of it."""
        self.firmware.remember()

    def _utc_now(self) -> datetime:
        """By the device's own clock; by the house's while the hub has not set that."""
        told = None if self._smart_energy is None else self._smart_energy.utc()
        return told or self._utc(self._timeline.now)

    def _own_clock(self) -> datetime | None:
        """By the device's own clock; None while it waits for the hub to set it.

        A device whose hub tells no time goes by the house's: its crystal ran on through the power cut.
        """
        client = self._smart_energy
        if client is None or client.hub_tells_no_time:
            return self._utc(self._timeline.now)
        return client.utc()

    def _told_time(self) -> None:
        self._remote_party.clock_changed()

    def _joined(self) -> None:
        if self._establishment is None:
            self._attachment.find_server()
        else:
            self._establishment.start()

    def _attached(self, hub_endpoint: int) -> None:
        self._port.hub_endpoint = hub_endpoint
        if self._nature.has_tunnel:
            self._messenger.attached()
        if not self._nature.relays_only:
            self.firmware.start()
            self._remote_party.attached()
        if self._smart_energy is not None:
            self._search.describe(hub_endpoint, self._smart_energy.start)

    def _detached(self) -> None:
        if self._smart_energy is not None:
            self._smart_energy.stop()
        if self._establishment is not None:
            self._establishment.stop()
        self._messenger.detached()
        self.firmware.stop()

    def _remote_party_message(self, message: bytes) -> None:
        self._remote_party.hear(message)

    def _checked_image(self, image_hash: bytes, is_authentic: bool) -> None:  # noqa: FBT001 - the outcome that Firmware tells
        self._remote_party.checked_image(image_hash, is_authentic=is_authentic)

    def _new_firmware(self, activated: bool) -> None:  # noqa: FBT001 - the outcome that Firmware tells
        self._go_dark()
        self._remote_party.tried_new_firmware(activated=activated)
        self._boot = self._timeline.after(BOOT_SECONDS, self.power_on)

    def _go_dark(self) -> None:
        self.is_on = False
        self._remote_party.power_off()
        self._attachment.power_off()
        self._detached()
        self.node.crash()

    def _forget_boot(self) -> None:
        if self._boot is not None:
            self._boot.cancel()
            self._boot = None
