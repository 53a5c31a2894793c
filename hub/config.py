"""The hub's configuration file: TOML, read strictly, every value with a default and the reason for it.

A command-line option wins over the file. What is written here and cannot be is refused by name. The reasons
are written beside the fields and nowhere else: ``gbhan hub --print-config`` shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from han.coordinator import SecuritySettings
from han.stub_clusters import StubAttribute, StubCluster, StubCommand
from hub.config_file import ConfigError, read
from hub.config_ota import OtaSection
from hub.energy_service import EnergyServiceSettings
from hub.hub import HubSettings
from hub.limits import Limits
from hub.memory import REMEMBERED
from hub.questions import QuestionSettings
from hub.slot import (
    DAY,
    MINIMUM_RETENTION,
    WITHDRAWN_RETENTION,
    DeleteWhen,
    KeepTheWaiting,
    LatestWins,
    SlotSettings,
)
from hub.steady import SteadySettings
from hub.tunnels import TunnelSettings
from ota.status import Status

Seconds = Annotated[float, Meta(gt=0)]
Capacity = Annotated[int, Meta(ge=69)] | Annotated[str, Meta(pattern="^[1-9][0-9]{0,5} (KB|KiB)$")]
Octet = Annotated[int, Meta(ge=0, le=0xFF)]

_TUNNELS = TunnelSettings()
_ENERGY = EnergyServiceSettings()
_QUESTIONS = QuestionSettings()
_LIMITS = Limits()
_STEADY = SteadySettings()
_SHORTER = "against SECMP0007"

_STUB = StubCluster(
    cluster=0x0700,
    attributes=(StubAttribute(id=0x0000, type=0x42, value="standard"),),
    commands=(StubCommand(command=0x00, answer=0x00, payload="00112233"),),
)


class SlotSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[slot]``: see `hub.slot.SlotSettings`."""

    capacity: Annotated[
        Capacity,
        Meta(
            description="Size of the largest image: octets, or text such as 750 KB (decimal, 750000 octets)"
            " or 750 KiB (binary, 768000). 750 KB is the largest that was forecast, no limit of the"
            " Technical Specifications, and no source says which kind of kilobyte; the default is the"
            " larger reading, which refuses less.",
            examples=["750 KB"],
        ),
    ] = "750 KiB"
    esme_capacity: Annotated[
        Capacity | None,
        Meta(
            description="The same for the slot of ESMEs' images, which they have to themselves. Not given:"
            " as large as the other.",
            examples=["1000 KB"],
        ),
    ] = None
    retention_days: Annotated[
        float,
        Meta(
            ge=0,
            description="Days for which an image that is still needed is safe, from the moment it has"
            " arrived whole. SECMP0007 asks for two weeks at least; what comes after is free.",
        ),
    ] = 14.0
    retention_policy: Annotated[
        Literal["adopted", "withdrawn"],
        Meta(
            description='What SECMP0007 adopted: flash for retention_days. "withdrawn" is what its working'
            " group had before and withdrew in 2020, since memory is not feasible: one week in flash, then"
            " in memory until the hub restarts or another image wants the place; retention_days and"
            " delete_when do not count then. For seeing what it costs: gbhan retention."
        ),
    ] = "adopted"
    shorter_retention: Annotated[
        str,
        Meta(
            description='The words "against SECMP0007" allow a retention_days below 14, as a laboratory may'
            " want. Without them such a value is refused, since two weeks are the modification's minimum."
        ),
    ] = ""
    delete_when: Annotated[
        Literal["never", "when-space-is-needed", "at-expiry"],
        Meta(
            description="What becomes of an image that a device still waits for when its retention has"
            " passed. By default it stays until the space is wanted: the two weeks are a minimum, and an"
            ' image that is kept may still be fetched. "at-expiry": it goes at once. "never": it stays until'
            " every device has it, has failed, or was aborted or removed by a user; other images hear"
            ' "too busy" as long. A GSME image takes the slot whatever this says.'
        ),
    ] = "when-space-is-needed"
    equal_priority: Annotated[
        Literal["keep", "latest"],
        Meta(
            description="Who has the slot between images of the same priority: the one that is still needed"
            ' ("keep"; the other hears "too busy" and its sender tries again), or the later one ("latest").'
            " No source decides it; a promise of two weeks that the next sender can end is worth little."
        ),
    ] = "keep"
    force_replace: Annotated[
        Literal["honour", "ignore"],
        Meta(
            description="Whether a file whose force-replace octet is 1 takes the slot at once from an image"
            " of the same or lower priority that is still needed; from a GSME's image only another GSME's"
            " may. One public source names the octet as the hub's to act on, and no more."
        ),
    ] = "honour"

    def settings(self) -> SlotSettings:
        """What the hub makes of it.

        Raises:
            ConfigError: if the retention is short, and the words that allow it are missing.
        """
        if self.retention_days * DAY < MINIMUM_RETENTION and self.shorter_retention != _SHORTER:
            raise ConfigError(
                f"[slot] retention_days = {self.retention_days:g} is less than the two weeks of SECMP0007:"
                f' give at least {MINIMUM_RETENTION / DAY:g}, or say shorter_retention = "{_SHORTER}"'
            )
        is_withdrawn = self.retention_policy == "withdrawn"
        return SlotSettings(
            capacity=_octets(self.capacity),
            esme_capacity=None if self.esme_capacity is None else _octets(self.esme_capacity),
            retention=WITHDRAWN_RETENTION if is_withdrawn else self.retention_days * DAY,
            then_in_memory=is_withdrawn,
            delete_when=DeleteWhen(self.delete_when),
            equal_priority=LatestWins() if self.equal_priority == "latest" else KeepTheWaiting(),
            honours_force_replace=self.force_replace == "honour",
        )


def _octets(capacity: int | str) -> int:
    """A size as the file has it, in octets."""
    if isinstance(capacity, int):
        return capacity
    number, unit = capacity.split()
    return int(number) * (1000 if unit == "KB" else 1024)


class ClockSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[clock]``: see `hub.steady.SteadySettings`."""

    smallest_step: Annotated[
        Seconds,
        Meta(
            description="Seconds by which this machine's UTC has to jump for that to count as a step, which"
            " neither shortens nor prolongs the retention of an image. Less is a clock being corrected as"
            " it runs: a leap second is one second, and time services step from about 0.4 s on."
        ),
    ] = _STEADY.smallest_step


class LimitsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[limits]``: see `hub.limits.Limits`."""

    alerts_waiting: Annotated[
        int,
        Meta(
            ge=1,
            le=REMEMBERED,
            description="With so many alerts waiting for the broker the hub takes no new image and no new"
            ' command: they are told "too busy" and come again. Alerts are kept in order and never thrown'
            " away for want of room; each takes some 1.2 KB of a file that is written anew for every"
            " change. No source.",
        ),
    ] = _LIMITS.alerts_waiting
    alerts_of_device: Annotated[
        int,
        Meta(
            ge=1,
            description="So many alerts wait that one device sent by itself (CS09, receipts). An update"
            " brings one or two. What a device sends beyond that is dropped, and a fact says so; its radio"
            " has heard an acknowledgement before anybody could look, so it will not send it again.",
        ),
    ] = _LIMITS.alerts_of_device
    commands_of_device: Annotated[
        int,
        Meta(
            ge=1,
            description="So many activations (11.3) of one device may be without an outcome; a further one"
            ' is told "too busy". A device obeys the latest, and what came before is void then.',
        ),
    ] = _LIMITS.commands_of_device


class NetworkSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[network]``: the network to form if there is none; see `han.radio.RadioSettings` for the rest."""

    channel: Annotated[
        Annotated[int, Meta(ge=11, le=26)] | None,
        Meta(
            description="Channel of a network that is formed. Not given: the quietest, by the dongle's scan.",
            examples=[20],
        ),
    ] = None
    pan_id: Annotated[
        Annotated[int, Meta(ge=1, le=0xFFFE)] | None,
        Meta(description="PAN id of a network that is formed. Not given: drawn.", examples=[4660]),
    ] = None
    source_routing: Annotated[
        bool,
        Meta(
            description="Whether the hub is a concentrator: asks every device, every minute, for the way to"
            " it, and sends along that way. A house of one hop has no use for it, and each relay takes two"
            " octets off every message."
        ),
    ] = False


class SecuritySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[security]``: see `han.coordinator.SecuritySettings`."""

    require_key_establishment: Annotated[
        bool,
        Meta(
            description="Whether a device has to agree a link key by certificate before protected clusters"
            " are open to it, unless its admission says otherwise. Smart Energy wants it; false is for a"
            " laboratory whose devices have no certificate."
        ),
    ] = True
    refusal: Annotated[
        Literal["not-authorized", "failure"],
        Meta(
            description="What the sender of an unprotected message is told. NOT_AUTHORIZED is the present"
            " standard; older stacks say FAILURE."
        ),
    ] = "not-authorized"


class TunnelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tunnels]``: see `hub.tunnels.TunnelSettings`."""

    protocol: Annotated[
        Octet,
        Meta(
            description="Protocol id of the tunnels that the hub opens: 6, GB-HRGP, by recollection; no"
            " public source was found. A device that opens a tunnel may name another."
        ),
    ] = _TUNNELS.protocol
    maximum_incoming: Annotated[
        int,
        Meta(
            ge=1,
            le=1500,
            description="Octets of the longest GBCS message that devices may send through a tunnel; 1500 is"
            " what the Tunnelling cluster starts from, and GBCS messages about firmware are far shorter.",
        ),
    ] = _TUNNELS.maximum_incoming
    answer_within: Annotated[
        Seconds,
        Meta(
            description="Seconds that a device may take to answer a request for a tunnel. No source; it"
            " leaves room for a device that polls its parent now and then."
        ),
    ] = _TUNNELS.answer_within
    first_pause: Annotated[
        Seconds,
        Meta(
            description="Seconds until a message is tried again that no radio acknowledged; each further"
            " pause is twice as long. A device that is heard meanwhile is tried at once."
        ),
    ] = _TUNNELS.first_pause
    longest_pause: Annotated[
        Seconds,
        Meta(
            description="Seconds between two tries, at most. No source; a gas meter sleeps for most of its"
            " life, and is tried when it is heard."
        ),
    ] = _TUNNELS.longest_pause


class EnergyServiceSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[energy_service]``: see `hub.energy_service.EnergyServiceSettings`."""

    keep_alive_base: Annotated[
        int,
        Meta(
            ge=1,
            le=0xFF,
            description="Minutes between two questions of a device whether the hub is there (Smart Energy"
            " 1.4: 10).",
        ),
    ] = _ENERGY.keep_alive_base
    keep_alive_jitter: Annotated[
        int,
        Meta(
            ge=0,
            le=0x200,
            description="Seconds that a device adds to it, at most, by chance (Smart Energy 1.4: 300).",
        ),
    ] = _ENERGY.keep_alive_jitter
    time_status: Annotated[
        int,
        Meta(
            ge=0,
            le=0x0F,
            description="How far devices may trust the hub's clock, a bitmap: 1 master, 2 synchronized over"
            " the HAN, 4 knows zone and summer time, 8 better than other clocks in the home. The default is"
            " master and better: the hub is the home's clock, and serves UTC alone.",
        ),
    ] = _ENERGY.time_status


class MqttSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[mqtt]``: the broker's URL may stand here, so that its password stays off the command line."""

    url: Annotated[
        str | None,
        Meta(
            description="The broker: mqtt://HOST:PORT, mqtts://USER@HOST?password_file=FILE, or"
            " mqtt+unix:///PATH; --mqtt wins. There is no default: a hub without its head end is none.",
            examples=["mqtt://127.0.0.1:1883"],
        ),
    ] = None
    insecure: Annotated[
        str,
        Meta(
            description='The words "in the clear" allow a broker on another machine without TLS or without'
            " a password; see SECURITY.md."
        ),
    ] = ""
    waits: Annotated[
        bool,
        Meta(
            description="Whether a hub that starts while its broker is away serves its house and waits,"
            " as it does when that goes away later. The default ends with advice: a first start mostly"
            " meets a wrong address. Say true where a power cut may come in an outage of the network."
        ),
    ] = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    radio: Annotated[
        str | None,
        Meta(
            description="The dongle: a port, tcp://HOST:PORT or sim://HOME; --radio wins. A name under"
            " /dev/serial/by-id stays the same when another dongle is plugged in.",
            examples=["tcp://127.0.0.1:6638"],
        ),
    ] = None
    state: Annotated[
        str | None,
        Meta(
            description="The folder where the hub keeps its state, for one hub alone; --state wins.",
            examples=["/var/lib/gbhan"],
        ),
    ] = None
    keys: Annotated[
        str | None,
        Meta(
            description="The folder with the hub's certificates, made by gbhan keys; --keys wins.",
            examples=["/etc/gbhan/keys"],
        ),
    ] = None
    lab_keys: Annotated[
        bool,
        Meta(
            description="Prove nothing, by the public lab authority, instead of by certificates in keys:"
            " for simulated devices. --lab-keys says the same."
        ),
    ] = False
    progress_every: Annotated[
        Seconds,
        Meta(
            description="Seconds between two reports of one device's progress, at least. A person watches,"
            " and a broker need not carry each block."
        ),
    ] = 5.0
    state_every: Annotated[
        Seconds,
        Meta(
            description="Seconds between two reports of the hub's own state and health, at least. Every"
            " change is told, and a burst of changes at once."
        ),
    ] = 1.0
    read_version_within: Annotated[
        Seconds,
        Meta(description="Seconds that a device may take to tell its firmware version (11.2). No source."),
    ] = _QUESTIONS.answer_within
    read_version_attempts: Annotated[
        int,
        Meta(ge=1, description="So often it is asked before it counts as unreachable. No source."),
    ] = _QUESTIONS.attempts
    read_version_message_within: Annotated[
        Seconds,
        Meta(
            description="Seconds that a PPMID or an HCALCS may take to answer CS08 before the attribute of"
            " its OTA cluster is read instead, as of one that is too old for CS08. No source; with the"
            " values above it stays below the minute that a head end waits for a hub."
        ),
    ] = _QUESTIONS.message_within
    predates_secmp0007: Annotated[
        bool,
        Meta(
            description="Whether this hub is as one whose own firmware is from before SECMP0007: it refuses"
            " images for a PPMID or an HCALCS, and sends no Firmware Transfer Alert (CCS08). Such hubs are in"
            " the field: a device is updated only once its own hub is new."
        ),
    ] = False
    mqtt: Annotated[MqttSection, Meta(description="The broker.")] = MqttSection()
    network: Annotated[
        NetworkSection,
        Meta(
            description="The network: what is formed if the dongle has none, and how messages find their way."
        ),
    ] = NetworkSection()
    security: Annotated[SecuritySection, Meta(description="Who is let at the protected clusters.")] = (
        SecuritySection()
    )
    energy_service: Annotated[
        EnergyServiceSection, Meta(description="What devices are told besides images.")
    ] = EnergyServiceSection()
    slot: Annotated[
        SlotSection, Meta(description="The place for images, and what happens when two want it.")
    ] = SlotSection()
    limits: Annotated[
        LimitsSection, Meta(description="What may wait while the broker is away, or a device is silent.")
    ] = LimitsSection()
    clock: Annotated[
        ClockSection, Meta(description="This machine's clock, which somebody may set at any time.")
    ] = ClockSection()
    tunnels: Annotated[
        TunnelSection,
        Meta(description="The tunnels through which GBCS messages reach devices and come from them."),
    ] = TunnelSection()
    ota: Annotated[
        OtaSection, Meta(description="How images are served, by the OTA Upgrade cluster (0x0019).")
    ] = OtaSection()
    stub_clusters: Annotated[
        tuple[StubCluster, ...],
        Meta(
            description="Clusters that a laboratory wants answered with nothing behind them: a real PPMID"
            " asks for prices, messages and a balance, which a hub for firmware does not have.",
            examples=[(_STUB,)],
        ),
    ] = ()

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read a file.

        Raises:
            ConfigError: if it cannot be read, or says something that cannot be.
        """
        return read(path, cls)

    def security_settings(self) -> SecuritySettings:
        """How link keys are established; the hub's certificates and ready keys come from elsewhere."""
        refusal = Status.NOT_AUTHORIZED if self.security.refusal == "not-authorized" else Status.FAILURE
        return SecuritySettings(
            require_key_establishment=self.security.require_key_establishment, refusal=refusal
        )

    def settings(self) -> HubSettings:
        """What the hub makes of it.

        Raises:
            ConfigError: if values do not go together.
        """
        return HubSettings(
            slot=self.slot.settings(),
            steady=SteadySettings(smallest_step=self.clock.smallest_step),
            server=self.ota.settings(),
            tells_utc=self.ota.times == "utc",
            terms=self.ota.terms(),
            tunnels=TunnelSettings(
                protocol=self.tunnels.protocol,
                maximum_incoming=self.tunnels.maximum_incoming,
                answer_within=self.tunnels.answer_within,
                first_pause=self.tunnels.first_pause,
                longest_pause=self.tunnels.longest_pause,
            ),
            energy_service=EnergyServiceSettings(
                keep_alive_base=self.energy_service.keep_alive_base,
                keep_alive_jitter=self.energy_service.keep_alive_jitter,
                time_status=self.energy_service.time_status,
                stubs=self.stub_clusters,
            ),
            questions=QuestionSettings(
                answer_within=self.read_version_within,
                attempts=self.read_version_attempts,
                message_within=self.read_version_message_within,
            ),
            progress_every=self.progress_every,
            limits=Limits(
                alerts_waiting=self.limits.alerts_waiting,
                alerts_of_device=self.limits.alerts_of_device,
                commands_of_device=self.limits.commands_of_device,
            ),
            predates_secmp0007=self.predates_secmp0007,
            state_every=self.state_every,
        )
