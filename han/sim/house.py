"""A house full of radios, built from what its home file says.

The house is one discrete-event simulation on one timeline: air, devices and, once a host connects, the
dongle. Tests drive the timeline by hand; `open_house` puts a house on an event loop, where unmodified host
software finds its dongle under a ``sim://`` URL. Same home, same seed, same calls: same frames, to the octet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from han.clock import SIMULATED_EPOCH
from han.facts import Facts
from han.security.install_code import link_key
from han.sim.air.capture import KeyFile, PcapWriter
from han.sim.air.medium import CHANNELS, Air, Clear, Flight, Lossy, Path, Sniffed
from han.sim.air.timeline import Timeline
from han.sim.devices.device import Device
from han.sim.home import Home
from ota.eui64 import Eui64

POWER_ON_WITHIN = 3.0
"""Seconds within which the devices of a house come up when its power does."""


class House:
    """The air, and the devices on it.

    Args:
        home: what the house holds.
        timeline: the simulation's; a fresh one by default.
        seed: instead of the home's.
        loss: share of the receptions that the air loses, 0 to 1.
        facts: where the house says what happens; by default a stream of its own on the timeline's clock.
        utc: what UTC it is at a time of the timeline.
    """

    def __init__(
        self,
        home: Home,
        *,
        timeline: Timeline | None = None,
        seed: int | None = None,
        loss: float = 0.0,
        facts: Facts | None = None,
        utc: Callable[[float], datetime] | None = None,
    ) -> None:
        self.home = home
        self.seed = home.seed if seed is None else seed
        self.timeline = timeline or Timeline()
        self.facts = facts or Facts(lambda: self.timeline.now)
        self.utc = utc or _simulated_utc
        self._sniffers: list[Callable[[Flight], None]] = []
        self._key_files: list[KeyFile] = []
        path: Path = Lossy(Clear(), loss, self.seed) if loss else Clear()
        self.air = Air(self.timeline, Sniffed(path, self._sniffed))
        self._power = Random(f"{self.seed} power")
        self.devices: dict[str, Device] = {
            description.name: Device(
                description,
                air=self.air,
                timeline=self.timeline,
                seed=self.seed,
                facts=self.facts,
                utc=self.utc,
                channels=CHANNELS if home.channel is None else (home.channel,),
            )
            for description in home.devices
        }
        for device in self.devices.values():
            device.on_attached = self._learn_network_key

    def device(self, eui64: Eui64) -> Device:
        """The device with this address. Raises KeyError if the house has none."""
        for device in self.devices.values():
            if device.eui64 == eui64:
                return device
        raise KeyError(str(eui64))

    def power_on(self) -> None:
        """Switch every device on, one after the other within a few seconds; they join by themselves."""
        for device in self.devices.values():
            self.timeline.after(self._power.uniform(0.0, POWER_ON_WITHIN), device.power_on)

    def power_off(self) -> None:
        """Cut the power of every device at this instant."""
        for device in self.devices.values():
            device.power_off()

    def capture(self, to: PcapWriter) -> None:
        """Write every frame that a good sniffer in the room hears from now on."""
        epoch = self.utc(0.0).timestamp()

        def write(flight: Flight) -> None:
            to.write(epoch + flight.start, flight.psdu, self.air.rssi, self.air.lqi)

        self._sniffers.append(write)

    def write_keys(self, to: KeyFile) -> None:
        """Write the keys that open a capture: link keys now, network keys as soon as a device has them."""
        self._key_files.append(to)
        for device in self.devices.values():
            to.add(link_key(device.description.install_code), f"link key of {device.name}")
            self._learn_network_key(device)

    def _sniffed(self, flight: Flight) -> None:
        for sniffer in self._sniffers:
            sniffer(flight)

    def _learn_network_key(self, device: Device) -> None:
        network = device.node.network
        if network is None:
            return
        for file in self._key_files:
            file.add(network.network_key, f"network key of PAN {network.pan_id:04x}")


def _simulated_utc(at: float) -> datetime:
    return SIMULATED_EPOCH + timedelta(seconds=at)
