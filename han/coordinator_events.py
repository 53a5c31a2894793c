"""What a coordinator tells: each thing that becomes of a device or of the radio, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """An admitted device is in the network (for the first time, or again after it had left)."""

    eui64: Eui64
    nwk: int


@dataclass(frozen=True, slots=True)
class DeviceMoved:
    """A device has a new short address."""

    eui64: Eui64
    nwk: int


@dataclass(frozen=True, slots=True)
class DeviceLeft:
    """A device left the network."""

    eui64: Eui64


@dataclass(frozen=True, slots=True)
class DeviceSecured:
    """A link key was established with a device: protected clusters are open to it."""

    eui64: Eui64


@dataclass(frozen=True, slots=True)
class DeviceUnsecured:
    """The link key of a device is gone; it has to establish another."""

    eui64: Eui64
    why: str


@dataclass(frozen=True, slots=True)
class DeviceInTrouble:
    """A device tries to get in, or to establish a key, and fails: ``why`` is for a person."""

    eui64: Eui64
    why: str


@dataclass(frozen=True, slots=True)
class RadioLost:
    """The dongle is gone."""

    why: str


@dataclass(frozen=True, slots=True)
class RadioBack:
    """The dongle and the network are there again."""


Event = (
    DeviceJoined
    | DeviceMoved
    | DeviceLeft
    | DeviceSecured
    | DeviceUnsecured
    | DeviceInTrouble
    | RadioLost
    | RadioBack
)
