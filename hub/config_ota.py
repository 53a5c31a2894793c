"""``[ota]`` and ``[[ota.devices]]``: how images are served, as the hub's configuration file has it."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub.config_file import ConfigError
from hub.terms import Terms, check
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.pacing import FSK_SUB_GHZ, O_QPSK_2400
from ota.server_settings import ServerSettings
from ota.status import Status

Seconds = Annotated[float, Meta(gt=0)]
Positive = Annotated[int, Meta(ge=1)]

_SERVER = ServerSettings()


class DeviceSection(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[ota.devices]]``: on what terms one device is served; see `hub.terms.Terms`."""

    eui64: Annotated[str, Meta(description="The device, by its EUI-64.")]


_ONE_DEVICE = DeviceSection(
    eui64="00-DB-12-34-56-78-90-A4",
    block_ceiling=40,
    minimum_block_period=0.25,
    block_period_unit="ms",
    acknowledged_blocks=False,
    stall_after=3600.0,
    serves_pages=False,
)


class OtaSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ota]``: see `ota.server_settings.ServerSettings`, which this turns into."""

    block_ceiling: Annotated[
        int,
        Meta(
            ge=1,
            le=65,
            description="Octets of image in a block, at most. The default is what fits into one frame when"
            " the network's own security is the only one; with a link key it is less by itself. The number"
            " that GB hubs use was not found.",
        ),
    ] = _SERVER.block_ceiling
    preempted_answer: Annotated[
        Literal["abort", "no-image"],
        Meta(
            description="What a device in mid-download hears when its image had to go. ABORT is what a"
            " block response has for it; NO_IMAGE_AVAILABLE comes as a Default Response. No GB source says"
            " which."
        ),
    ] = "abort"
    nothing_for_you: Annotated[
        Literal["no-image", "not-authorized"],
        Meta(
            description="What a device hears that asks while nothing is there for it. The cluster says"
            " NO_IMAGE_AVAILABLE; one hub of the field says NOT_AUTHORIZED until it has had its first"
            " image."
        ),
    ] = "no-image"
    notify_every: Annotated[
        Seconds,
        Meta(
            description="Seconds until a silent target is reminded by an Image Notify; each further"
            " reminder waits twice as long. No source: often enough for a device that has just come back,"
            " and no load on the air."
        ),
    ] = _SERVER.notify_every
    notify_every_at_most: Annotated[
        Seconds,
        Meta(
            description="Seconds between two reminders, at most. No source: four a day reach a device that"
            " was away."
        ),
    ] = _SERVER.notify_every_at_most
    notify_type: Annotated[
        int,
        Meta(
            ge=0,
            le=3,
            description="The payload of an Image Notify: 0 the jitter alone, 1 with the manufacturer, 2 and"
            " the image type, 3 and the version. In unicast all mean the same, so the shortest.",
        ),
    ] = _SERVER.notify_type
    notify_jitter: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Of so many of a hundred devices a broadcast Image Notify wants a query at once."
            " All of them, as a house has few.",
        ),
    ] = _SERVER.notify_jitter
    notify_by_broadcast: Annotated[
        bool,
        Meta(
            description="Whether a new offer is made known by one broadcast first. A broadcast has no link"
            " key, and Smart Energy devices may not believe it."
        ),
    ] = _SERVER.notify_by_broadcast
    stall_after: Annotated[
        Seconds,
        Meta(
            description="Seconds of silence in mid-download after which a device counts as stalled. It may"
            " go on at any time; slow devices need more."
        ),
    ] = _SERVER.stall_after
    aborts_allowed: Annotated[
        Positive,
        Meta(
            description="So often a device may break off without progress, and try again, before its"
            " transfer has failed (CCS08 with 3). No source; three are a bad day on the air, not yet a bad"
            " image."
        ),
    ] = _SERVER.aborts_allowed
    invalid_images_allowed: Annotated[
        Positive,
        Meta(
            description="So often a device may find an image invalid that it took, before its transfer has"
            " failed. A block that went wrong on the way is mended by taking the image once more; another"
            " reason is not."
        ),
    ] = _SERVER.invalid_images_allowed
    reinstall: Annotated[
        bool,
        Meta(
            description="Whether a device is given the version that it already runs. No GBCS rule was"
            " found; a transfer that changes nothing helps nobody, except in a test. An older version than"
            " the one that runs is always given: no rule against a downgrade was found either."
        ),
    ] = _SERVER.reinstall
    hardware_version_needed: Annotated[
        bool,
        Meta(
            description="Whether an image with a hardware range is kept from devices that do not tell their"
            " hardware version. Telling is optional in the cluster, so they get it by default."
        ),
    ] = _SERVER.hardware_version_needed
    gbcs_wait: Annotated[
        bool,
        Meta(
            description='Whether "hold the image" (11.1: ESME, GSME, HCALCS) is said as GBCS 11.2.1 has it,'
            " in wildcards and 0xFFFFFFFF for both times. Else the image is named and the current time is"
            " given. A PPMID (11.4) is told to go on at once either way; that is an inference, as no source"
            " says what it is told."
        ),
    ] = _SERVER.gbcs_wait
    acknowledged_blocks: Annotated[
        bool,
        Meta(
            description="Whether blocks want an APS acknowledgement. Certification asks for it; without, a"
            " block takes half the air. Blocks that answer a page request never want one."
        ),
    ] = _SERVER.acknowledged_blocks
    serves_pages: Annotated[
        bool,
        Meta(
            description="Whether Image Page Requests are served. Without, a device falls back to blocks,"
            " which takes longer."
        ),
    ] = _SERVER.serves_pages
    page_window: Annotated[
        Positive,
        Meta(
            description="How many blocks of a lone page may be in the dongle at a time: one on the air and"
            " one behind it."
        ),
    ] = _SERVER.page_window
    page_spacing: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds between two blocks of a page, at least, whatever the device asks for. One"
            " vendor's servers raise it to 0.3 s; a device that needs it says so in its request.",
        ),
    ] = _SERVER.page_spacing
    downloads_at_once: Annotated[
        Positive | None,
        Meta(
            description="How many devices may download at a time; the others wait for their turn. Not"
            " given: all, as they share the air fairly.",
            examples=[2],
        ),
    ] = _SERVER.downloads_at_once
    pause_wait: Annotated[
        Seconds, Meta(description="Seconds after which a device that was paused is told to ask again.")
    ] = _SERVER.pause_wait
    turn_wait: Annotated[
        Seconds,
        Meta(description="Seconds after which a device that waits for its turn is told to ask again."),
    ] = _SERVER.turn_wait
    wait_at_most: Annotated[
        Seconds,
        Meta(
            description="No device is told to wait for more seconds: deployed ones cut a longer wait to an"
            " hour, and so does a good custom."
        ),
    ] = _SERVER.wait_at_most
    countdown_at_most: Annotated[
        Seconds,
        Meta(
            description="A device that is to upgrade in more seconds than so is told to wait, and told"
            " again: deployed ones cut a longer countdown to an hour and upgrade early."
        ),
    ] = _SERVER.countdown_at_most
    times: Annotated[
        Literal["delays", "utc"],
        Meta(
            description="How devices are told times: as delays, which those without a clock understand too,"
            " or in UTC, for those that want it so."
        ),
    ] = "delays"
    air_time_per_hour: Annotated[
        Seconds | None,
        Meta(
            description="Seconds for which the hub's radio may be on the air with blocks in any hour. Not"
            " given: as long as it takes. Sub-GHz radios are Limited from 54 s on, and Critical from 75 s.",
            examples=[54.0],
        ),
    ] = _SERVER.air_time_per_hour
    band: Annotated[
        Literal["2.4-ghz", "sub-ghz"],
        Meta(description="Where the hub's radio is, for the count of its air time. USB dongles are 2.4 GHz."),
    ] = "2.4-ghz"
    requests_per_second: Annotated[
        Positive,
        Meta(
            description="A device that asks for octets more often floods: no 2.4 GHz channel carries so"
            " many exchanges."
        ),
    ] = _SERVER.requests_per_second
    repeats_per_minute: Annotated[
        Positive,
        Meta(
            description="A device that asks for the same octets more often floods: one that waits for"
            " answers asks every 3 s."
        ),
    ] = _SERVER.repeats_per_minute
    queries_per_minute: Annotated[
        Positive,
        Meta(
            description="A device that asks for the next image more often floods, and is answered so often."
        ),
    ] = _SERVER.queries_per_minute
    flood_wait: Annotated[
        Seconds,
        Meta(
            description="Seconds after which a device that floods with requests for octets is told to ask"
            " again."
        ),
    ] = _SERVER.flood_wait
    repeats_before_smaller: Annotated[
        Positive,
        Meta(
            description="A device that asks so often for octets that its radio has acknowledged gets"
            " smaller blocks: it cannot take them so long."
        ),
    ] = _SERVER.repeats_before_smaller
    devices: Annotated[
        tuple[DeviceSection, ...],
        Meta(
            description="On what terms single devices are served, where that differs from the above; what"
            " is said with gbhan transfer configure on the running hub wins over it.",
            examples=[(_ONE_DEVICE,)],
        ),
    ] = ()

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
        except OurError as error:
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
