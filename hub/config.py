"""The hub's configuration file: TOML, read strictly, every value with a default and a reason to exist.

A command-line option wins over the file. What is written here and cannot be is refused by name.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from han.coordinator import SecuritySettings
from han.stub_clusters import StubCluster
from hub.energy_service import EnergyServiceSettings
from hub.errors import OurError
from hub.hub import HubSettings
from hub.questions import QuestionSettings
from hub.slot import DAY, KeepTheWaiting, LatestWins, SlotSettings
from hub.terms import Terms, check
from hub.tunnels import TunnelSettings
from ota.errors import OurError as OtaOurError
from ota.eui64 import Eui64
from ota.pacing import FSK_SUB_GHZ, O_QPSK_2400
from ota.server import ServerSettings
from ota.status import Status

Seconds = Annotated[float, Meta(gt=0)]
Positive = Annotated[int, Meta(ge=1)]

_SERVER = ServerSettings()


class ConfigError(OurError):
    """The configuration file cannot be used; the text names the file and the value."""


class SlotSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[slot]``: see `hub.slot.SlotSettings`."""

    capacity: Annotated[int, Meta(ge=69)] = SlotSettings().capacity
    retention_days: Annotated[float, Meta(ge=0)] = 14.0
    lets_go_by_itself: bool = False
    equal_priority: Literal["keep", "latest"] = "keep"


class DeviceSection(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[ota.devices]]``: on what terms one device is served; see `hub.terms.Terms`."""

    eui64: str


class OtaSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ota]``: see `ota.server_settings.ServerSettings` for what each is, and why it is what it is.

    ``band`` is where the hub's radio is, for the count of its air time. ``times`` are told to clients as
    delays, or as UTC for those that want it so.
    """

    block_ceiling: Annotated[int, Meta(ge=1, le=65)] = _SERVER.block_ceiling
    preempted_answer: Literal["abort", "no-image"] = "abort"
    nothing_for_you: Literal["no-image", "not-authorized"] = "no-image"
    notify_every: Seconds = _SERVER.notify_every
    notify_every_at_most: Seconds = _SERVER.notify_every_at_most
    notify_type: Annotated[int, Meta(ge=0, le=3)] = _SERVER.notify_type
    notify_jitter: Annotated[int, Meta(ge=1, le=100)] = _SERVER.notify_jitter
    notify_by_broadcast: bool = _SERVER.notify_by_broadcast
    stall_after: Seconds = _SERVER.stall_after
    aborts_allowed: Positive = _SERVER.aborts_allowed
    invalid_images_allowed: Positive = _SERVER.invalid_images_allowed
    reinstall: bool = _SERVER.reinstall
    hardware_version_needed: bool = _SERVER.hardware_version_needed
    gbcs_wait: bool = _SERVER.gbcs_wait
    acknowledged_blocks: bool = _SERVER.acknowledged_blocks
    serves_pages: bool = _SERVER.serves_pages
    page_window: Positive = _SERVER.page_window
    page_spacing: Annotated[float, Meta(ge=0)] = _SERVER.page_spacing
    downloads_at_once: Positive | None = _SERVER.downloads_at_once
    pause_wait: Seconds = _SERVER.pause_wait
    turn_wait: Seconds = _SERVER.turn_wait
    wait_at_most: Seconds = _SERVER.wait_at_most
    countdown_at_most: Seconds = _SERVER.countdown_at_most
    times: Literal["delays", "utc"] = "delays"
    air_time_per_hour: Seconds | None = _SERVER.air_time_per_hour
    band: Literal["2.4-ghz", "sub-ghz"] = "2.4-ghz"
    requests_per_second: Positive = _SERVER.requests_per_second
    repeats_per_minute: Positive = _SERVER.repeats_per_minute
    queries_per_minute: Positive = _SERVER.queries_per_minute
    flood_wait: Seconds = _SERVER.flood_wait
    repeats_before_smaller: Positive = _SERVER.repeats_before_smaller
    devices: tuple[DeviceSection, ...] = ()

    def settings(self) -> ServerSettings:
        """What the OTA machine makes of it.

        Raises:
            ConfigError: if values do not go together.
        """
        no_image = Status.NO_IMAGE_AVAILABLE
        as_written = {
            each.name: getattr(self, each.name)
            for each in fields(ServerSettings)
            if each.name not in ("preempted_answer", "nothing_for_you", "phy", "utc")
        }
        try:
            return ServerSettings(
                preempted_answer=Status.ABORT if self.preempted_answer == "abort" else no_image,
                nothing_for_you=no_image if self.nothing_for_you == "no-image" else Status.NOT_AUTHORIZED,
                phy=O_QPSK_2400 if self.band == "2.4-ghz" else FSK_SUB_GHZ,
                **as_written,
            )
        except OtaOurError as error:
            raise ConfigError(f"[ota] {error}") from None

    def terms(self) -> dict[Eui64, Terms]:
        """On what terms single devices are served.

        Raises:
            ConfigError: if a device is named twice, is none, or its terms cannot be kept.
        """
        terms: dict[Eui64, Terms] = {}
        for each in self.devices:
            try:
                device = Eui64.parse(each.eui64)
            except ValueError as error:
                raise ConfigError(f"[[ota.devices]] eui64: {error}") from None
            if device in terms:
                raise ConfigError(f"[[ota.devices]] names {device} twice: put its terms into one section")
            terms[device] = each.over(Terms())
            objection = check(terms[device])
            if objection is not None:
                raise ConfigError(f"[[ota.devices]] {device}: {objection}")
        return terms


class NetworkSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[network]``: the network to form if there is none; what is left out is drawn or measured.

    ``source_routing`` concerns a network that is there already as well; see `han.radio.RadioSettings`.
    """

    channel: Annotated[int, Meta(ge=11, le=26)] | None = None
    pan_id: Annotated[int, Meta(ge=1, le=0xFFFE)] | None = None
    source_routing: bool = False


class SecuritySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[security]``: see `han.coordinator.SecuritySettings`."""

    require_key_establishment: bool = True
    refusal: Literal["not-authorized", "failure"] = "not-authorized"


class EnergyServiceSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[energy_service]``: see `hub.energy_service.EnergyServiceSettings`."""

    keep_alive_base: Annotated[int, Meta(ge=1, le=0xFF)] = EnergyServiceSettings().keep_alive_base
    keep_alive_jitter: Annotated[int, Meta(ge=0, le=0x200)] = EnergyServiceSettings().keep_alive_jitter
    time_status: Annotated[int, Meta(ge=0, le=0x0F)] = EnergyServiceSettings().time_status


class MqttSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[mqtt]``: the broker's URL may stand here, so that its password stays off the command line."""

    url: str | None = None
    insecure: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    radio: str | None = None
    state: str | None = None
    keys: str | None = None
    """Folder with the hub's certificates: ``--keys``."""
    lab_keys: bool = False
    progress_every: Seconds = 5.0
    read_version_within: Seconds = 10.0
    read_version_attempts: Annotated[int, Meta(ge=1)] = 3
    mqtt: MqttSection = MqttSection()
    network: NetworkSection = NetworkSection()
    security: SecuritySection = SecuritySection()
    energy_service: EnergyServiceSection = EnergyServiceSection()
    stub_clusters: tuple[StubCluster, ...] = ()
    slot: SlotSection = SlotSection()
    ota: OtaSection = OtaSection()

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read a file.

        Raises:
            ConfigError: if it cannot be read, or says something that cannot be.
        """
        try:
            return msgspec.toml.decode(path.read_bytes(), type=cls)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        except (msgspec.DecodeError, RecursionError) as error:  # the latter: nested too deep
            raise ConfigError(f"{path}: {error}") from None

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
        slot = SlotSettings(
            capacity=self.slot.capacity,
            retention=self.slot.retention_days * DAY,
            lets_go_by_itself=self.slot.lets_go_by_itself,
            equal_priority=LatestWins() if self.slot.equal_priority == "latest" else KeepTheWaiting(),
        )
        return HubSettings(
            slot=slot,
            server=self.ota.settings(),
            tells_utc=self.ota.times == "utc",
            terms=self.ota.terms(),
            tunnels=TunnelSettings(),
            energy_service=EnergyServiceSettings(
                keep_alive_base=self.energy_service.keep_alive_base,
                keep_alive_jitter=self.energy_service.keep_alive_jitter,
                time_status=self.energy_service.time_status,
                stubs=self.stub_clusters,
            ),
            questions=QuestionSettings(
                answer_within=self.read_version_within, attempts=self.read_version_attempts
            ),
            progress_every=self.progress_every,
        )
