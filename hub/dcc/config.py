"""The configuration file of the DSP stub and the CSP model: every value that no source settles, and why.

The reasons are written beside the fields and nowhere else: ``gbhan dsp --print-config`` shows them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub.config_file import ConfigError
from hub.dcc.carriage import CarriageSettings
from hub.dcc.controls import BatchSettings, InProgress, Milestone, Retries, Service
from hub.dcc.proof import Trust
from hub.dcc.requests import ResponseCodes, Rules
from hub.dcc.settings import AlertCodes, DspSettings
from ota.eui64 import Eui64

Seconds = Annotated[float, Meta(gt=0)]
SomeSeconds = Annotated[float, Meta(ge=0)]
Code = Annotated[str, Meta(min_length=1, max_length=16)]
DeviceTypes = tuple[Literal["ESME", "GSME", "HCALCS", "PPMID"], ...]
Ending = Literal["transferred", "activated"]

_DEFAULT = DspSettings()
_CONTROL_1 = _DEFAULT.rules.in_progress
_RETRIES = _DEFAULT.carriage.retries
_UPDATE, _PPMID_UPDATE = Service.UPDATE_FIRMWARE, Service.UPDATE_PPMID_FIRMWARE


class DoorSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[door]``: where Service Requests come in."""

    listen: Annotated[
        str,
        Meta(description="HOST:PORT where Service Requests are taken; --listen wins."),
    ] = "127.0.0.1:8417"
    token_file: Annotated[
        str | None,
        Meta(
            description="A file with the word that clients must say; --token-file wins.",
            examples=["/etc/gbhan/token"],
        ),
    ] = None
    tls_cert: Annotated[
        str | None,
        Meta(
            description="Certificate (PEM) for TLS; --tls-cert wins. Wanted as soon as other machines may"
            " come.",
            examples=["/etc/gbhan/door.pem"],
        ),
    ] = None
    tls_key: Annotated[
        str | None, Meta(description="Its key (PEM); --tls-key wins.", examples=["/etc/gbhan/door.key"])
    ] = None


class DevicesSection(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={
        "update": "11.1",
        "read_version": "11.2",
        "activate": "11.3",
        "update_ppmid": "11.4",
    },
):
    """``[devices]``: which device types each Service Request is for."""

    update: Annotated[
        DeviceTypes,
        Meta(
            description="Update Firmware. The final solution of SECMP0007 has HCALCS updated like meters;"
            " an earlier one spoke of PPMID and HCALCS together."
        ),
    ] = ("ESME", "GSME", "HCALCS")
    read_version: Annotated[
        DeviceTypes, Meta(description="Read Firmware Version: whatever has firmware that is updated.")
    ] = ("ESME", "GSME", "HCALCS", "PPMID")
    activate: Annotated[
        DeviceTypes, Meta(description="Activate Firmware: whatever holds an image until it is told.")
    ] = ("ESME", "GSME", "HCALCS")
    update_ppmid: Annotated[
        DeviceTypes,
        Meta(description="Update PPMID Firmware. An IHD can be given for none: it was dropped in 2019."),
    ] = ("PPMID",)


class Control1Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[control_1]``: see `hub.dcc.controls.InProgress`."""

    expiry: Annotated[
        Seconds,
        Meta(
            description="Seconds after which an update no longer blocks its device and ends as expired;"
            " --expiry wins. SECMP0007 says that there is such a time, and that it can be set; no source"
            " gives the number. Twice the minimum retention leaves room for an image that is kept beyond"
            " it."
        ),
    ] = _CONTROL_1.expiry
    activation_wait: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds to wait, once transferred, for the activation alert of a PPMID;"
            " --activation-wait wins. PPMIDs from before SECMP0007 never send it. No source."
        ),
    ] = _CONTROL_1.activation_wait
    update_ends: Annotated[
        Ending,
        Meta(
            description="When an 11.1 is complete for a device: the Firmware Transfer Alert, as guidance"
            " lets the next one be sent after it; activation is a request of its own (11.3)."
        ),
    ] = "transferred"
    ppmid_update_ends: Annotated[
        Ending,
        Meta(
            description="When an 11.4 is complete for a device: guidance says to wait for the activation"
            " alert before sending the next."
        ),
    ] = "activated"
    minimum_gap: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds between two attempts on one device, at least. Five days are guidance: a"
            " request that comes earlier is advised, not refused."
        ),
    ] = _DEFAULT.rules.minimum_gap


class Control2Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[control_2]``: see `hub.dcc.controls.Retries`."""

    immediate: Annotated[
        int,
        Meta(ge=0, description="So often it is tried again at once. One is what was done before SECMP0007."),
    ] = _RETRIES.immediate
    period: Annotated[
        Seconds,
        Meta(
            description="Seconds between two later tries; --retry-period wins. Hourly, as before SECMP0007."
        ),
    ] = _RETRIES.period
    horizon: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds after the first try until it is given up; --retry-horizon wins. 24 hours"
            " before SECMP0007; the working group proposed 4 days (345600) in all cases, and whether that"
            " was adopted is not known."
        ),
    ] = _RETRIES.horizon
    retried: Annotated[
        tuple[Literal["too-busy", "radio-down", "unreachable", "internal"], ...],
        Meta(
            description='Answers of a hub after which it is tried again, besides none at all ("not'
            ' available"). "too-busy" is what SECMP0007 added; a radio that is down comes back.'
        ),
    ] = ("radio-down", "too-busy")
    tries_when_hub_appears: Annotated[
        bool,
        Meta(
            description="Whether a hub that comes back is tried at once, not only at the regular times. A"
            " CSP sees a hub register on its network; whether a real one acts on it was not found."
        ),
    ] = _DEFAULT.tries_when_hub_appears


class Control3Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[control_3]``: see `hub.dcc.controls.BatchSettings`."""

    size: Annotated[
        int,
        Meta(
            ge=1,
            description="Notifications that make a batch; --batch-size wins. 1 hands each over at once:"
            " batches are described in words only.",
        ),
    ] = _DEFAULT.batch.size
    interval: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds after which an incomplete batch is handed over; --batch-interval wins."
            " Above 0 where a batch is more than one."
        ),
    ] = _DEFAULT.batch.interval


class WanSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[wan]``: see `hub.dcc.carriage.CarriageSettings`."""

    octets_per_second: Annotated[
        Seconds,
        Meta(
            description="What the WAN carries to one hub; --wan-rate wins. No source: 350 KB, the average"
            " that was forecast, take three minutes."
        ),
    ] = _DEFAULT.carriage.octets_per_second
    latency: Annotated[
        SomeSeconds, Meta(description="Seconds that a message is under way besides; --wan-latency wins.")
    ] = _DEFAULT.carriage.latency
    chunk_size: Annotated[
        int,
        Meta(
            ge=1,
            le=262_144,
            description="Octets of image in one message to the hub; --chunk-size wins.",
        ),
    ] = _DEFAULT.carriage.chunk_size
    answer_wait: Annotated[
        Seconds,
        Meta(
            description='Seconds without an answer after which a hub is "not available"; --answer-wait'
            " wins. No source."
        ),
    ] = _DEFAULT.carriage.answer_wait


class WaitsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[waits]``: see `hub.dcc.settings.DspSettings`."""

    alert_wait: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds to wait for the alert that a hub owes after it stopped taking an image. A"
            " hub keeps its alerts until they are delivered, so only one that is gone for good lets this"
            " pass."
        ),
    ] = _DEFAULT.alert_wait
    outcome_wait: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds to wait for the outcome of an 11.3, from its delivery or its execution"
            " time. No source; a gas meter that sleeps needs hours."
        ),
    ] = _DEFAULT.outcome_wait
    listing_wait: Annotated[
        SomeSeconds,
        Meta(
            description="Seconds to wait for the hubs' lists of devices when a request names one that is"
            " not known."
        ),
    ] = _DEFAULT.listing_wait


_CODES = ResponseCodes()


class ResponseCodesSection(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
):
    """``[response_codes]``: see `hub.dcc.requests.ResponseCodes`."""

    accepted: Annotated[Code, Meta(description="Accepted for every device: I99, an acknowledgement.")] = (
        _CODES.accepted
    )
    not_commissioned: Annotated[
        Code, Meta(description="The one device of an 11.2 or 11.3 has the wrong status: E5, by its meaning.")
    ] = _CODES.not_commissioned
    wrong_device_type: Annotated[
        Code,
        Meta(description="The request is not for the type of that device: E11, by its meaning."),
    ] = _CODES.wrong_device_type
    unknown_device: Annotated[Code, Meta(description="That device is not known: E19, by its meaning.")] = (
        _CODES.unknown_device
    )
    update_partial: Annotated[
        Code,
        Meta(
            description="11.1 accepted for some devices, the others listed. W110101 is the only warning of"
            " 11.1; its meaning follows from names alone."
        ),
    ] = _CODES.partial[_UPDATE]
    ppmid_update_partial: Annotated[Code, Meta(description="The same for 11.4.")] = _CODES.partial[
        _PPMID_UPDATE
    ]
    update_bad_image: Annotated[
        Code,
        Meta(
            description="11.1 with a file that is no Upgrade Image. That E110101 to E110103, E110105 and"
            " E110106 exist is sourced, and what each means is not: the choice among them is ours."
        ),
    ] = _CODES.bad_image[_UPDATE]
    ppmid_update_bad_image: Annotated[
        Code, Meta(description="The same for 11.4, of E110401 to E110403 and E110405.")
    ] = _CODES.bad_image[_PPMID_UPDATE]
    update_version_differs: Annotated[
        Code, Meta(description="11.1 whose FirmwareVersion is not the file's. Ours, as above.")
    ] = _CODES.version_differs[_UPDATE]
    ppmid_update_version_differs: Annotated[Code, Meta(description="The same for 11.4.")] = (
        _CODES.version_differs[_PPMID_UPDATE]
    )
    update_no_device_left: Annotated[
        Code, Meta(description="11.1 that no device may have, for more than one reason. Ours, as above.")
    ] = _CODES.no_device_left[_UPDATE]
    ppmid_update_no_device_left: Annotated[Code, Meta(description="The same for 11.4.")] = (
        _CODES.no_device_left[_PPMID_UPDATE]
    )
    update_in_progress: Annotated[
        Code,
        Meta(
            description="11.1 of which every device has another update in progress (control 1). Which code"
            " says so was not found; the devices stand in OtherRequestInProgressList either way."
        ),
    ] = _CODES.all_in_progress[_UPDATE]
    ppmid_update_in_progress: Annotated[Code, Meta(description="The same for 11.4.")] = (
        _CODES.all_in_progress[_PPMID_UPDATE]
    )

    def settings(self) -> ResponseCodes:
        """What the DSP makes of it."""

        def each(name: str) -> dict[Service, str]:
            return {
                _UPDATE: getattr(self, f"update_{name}"),
                _PPMID_UPDATE: getattr(self, f"ppmid_update_{name}"),
            }

        return ResponseCodes(
            accepted=self.accepted,
            not_commissioned=self.not_commissioned,
            wrong_device_type=self.wrong_device_type,
            unknown_device=self.unknown_device,
            partial=each("partial"),
            bad_image=each("bad_image"),
            version_differs=each("version_differs"),
            no_device_left=each("no_device_left"),
            all_in_progress=each("in_progress"),
        )


class AlertCodesSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[alert_codes]``: see `hub.dcc.settings.AlertCodes`."""

    delivered: Annotated[
        Code,
        Meta(
            description="The image is with the Communications Hub. The pair N60 and N61 is sourced; which"
            " of them means success is not, and their order suggests this."
        ),
    ] = _DEFAULT.alert_codes.delivered
    not_delivered: Annotated[Code, Meta(description="It could not be delivered there; see above.")] = (
        _DEFAULT.alert_codes.not_delivered
    )
    comms_hub: Annotated[
        Code,
        Meta(description="Brings a Firmware Transfer Alert (CCS08). N62 by the order of the schema."),
    ] = _DEFAULT.alert_codes.comms_hub
    ppmid: Annotated[
        Code,
        Meta(description="Brings a PPMID's activation alert (CS09). N39 is a recollection, not verified."),
    ] = _DEFAULT.alert_codes.ppmid


class DspConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    mqtt: Annotated[
        str,
        Meta(
            description="The broker, as for the hubs: mqtt://HOST:PORT,"
            " mqtts://USER@HOST?password_file=FILE or mqtt+unix:///PATH; --mqtt wins."
        ),
    ] = "mqtt://127.0.0.1:1883"
    client_id: Annotated[
        str, Meta(min_length=1, description="Our name at the broker, for us alone; --client-id wins.")
    ] = "gbhan-dsp"
    insecure: Annotated[
        str,
        Meta(
            description='The words "in the clear" allow another machine at either end without TLS or'
            " without a password; --insecure says the same. See SECURITY.md."
        ),
    ] = ""
    database: Annotated[
        str,
        Meta(
            description="Where requests are kept, as an SQLAlchemy URL; --db wins. PostgreSQL where more"
            " than one bench shares it."
        ),
    ] = "sqlite:///gbhan-dsp.db"
    hubs: Annotated[
        tuple[str, ...],
        Meta(
            description="Communications Hubs by their EUI-64, known before they are heard; others are"
            " learned. --hub adds to them.",
            examples=[("00-DB-12-34-56-78-90-A2",)],
        ),
    ] = ()
    service_user: Annotated[
        str,
        Meta(
            description="The originator in RequestIDs that the DSP gives: the lab's Supplier.",
            examples=["90-B3-D5-1F-30-00-00-07"],
        ),
    ] = str(_DEFAULT.service_user)
    access_control_broker: Annotated[
        str,
        Meta(
            description="The target in RequestIDs of 11.1 and 11.4: the lab's ACB.",
            examples=["90-B3-D5-1F-30-01-00-07"],
        ),
    ] = str(_DEFAULT.access_control_broker)
    parties: Annotated[
        str | None,
        Meta(
            description="Folder with the certificates of devices and hubs, EUI64-signing.pem each, by which"
            " their messages are checked; --parties wins. Not given: the lab's keys, which are made from the"
            " EUI-64 and known to everybody. Real devices have others.",
            examples=["parties"],
        ),
    ] = None
    unverified: Annotated[
        bool,
        Meta(
            description="Whether a message that cannot be checked, for want of a certificate, counts all the"
            " same and is marked in the story; --unverified says so too. By default nothing is concluded"
            " from it."
        ),
    ] = False
    door: Annotated[DoorSection, Meta(description="Where Service Requests come in.")] = DoorSection()
    devices: Annotated[
        DevicesSection, Meta(description="The device types that each Service Request is for.")
    ] = DevicesSection()
    control_1: Annotated[
        Control1Section, Meta(description="Control 1: one update at a time for each device.")
    ] = Control1Section()
    control_2: Annotated[
        Control2Section,
        Meta(description='Control 2: trying again after "too busy" and "not available".'),
    ] = Control2Section()
    control_3: Annotated[
        Control3Section, Meta(description="Control 3: handing delivery notices over in batches.")
    ] = Control3Section()
    wan: Annotated[
        WanSection, Meta(description="The model of the WAN; none of its numbers has a source.")
    ] = WanSection()
    waits: Annotated[WaitsSection, Meta(description="How long the DSP waits for what others owe.")] = (
        WaitsSection()
    )
    response_codes: Annotated[
        ResponseCodesSection, Meta(description="The DUIS codes that answer a Service Request.")
    ] = ResponseCodesSection()
    alert_codes: Annotated[
        AlertCodesSection, Meta(description="The codes of DCC Alerts to the Service User.")
    ] = AlertCodesSection()

    def settings(self) -> DspSettings:
        """What the DSP makes of it.

        Raises:
            ConfigError: if values do not go together, or an address is none.
        """
        try:
            return DspSettings(
                rules=Rules(
                    in_progress=InProgress(
                        completes={
                            _UPDATE: Milestone(self.control_1.update_ends),
                            _PPMID_UPDATE: Milestone(self.control_1.ppmid_update_ends),
                        },
                        expiry=self.control_1.expiry,
                        activation_wait=self.control_1.activation_wait,
                    ),
                    codes=self.response_codes.settings(),
                    devices_for={
                        _UPDATE: frozenset(self.devices.update),
                        Service.READ_FIRMWARE_VERSION: frozenset(self.devices.read_version),
                        Service.ACTIVATE_FIRMWARE: frozenset(self.devices.activate),
                        _PPMID_UPDATE: frozenset(self.devices.update_ppmid),
                    },
                    minimum_gap=self.control_1.minimum_gap,
                ),
                carriage=CarriageSettings(
                    retries=Retries(
                        immediate=self.control_2.immediate,
                        period=self.control_2.period,
                        horizon=self.control_2.horizon,
                    ),
                    chunk_size=self.wan.chunk_size,
                    octets_per_second=self.wan.octets_per_second,
                    latency=self.wan.latency,
                    answer_wait=self.wan.answer_wait,
                    retried=frozenset(self.control_2.retried),
                ),
                batch=BatchSettings(size=self.control_3.size, interval=self.control_3.interval),
                alert_codes=AlertCodes(**msgspec.structs.asdict(self.alert_codes)),
                alert_wait=self.waits.alert_wait,
                outcome_wait=self.waits.outcome_wait,
                listing_wait=self.waits.listing_wait,
                tries_when_hub_appears=self.control_2.tries_when_hub_appears,
                service_user=Eui64.parse(self.service_user),
                access_control_broker=Eui64.parse(self.access_control_broker),
                trust=Trust(is_required=not self.unverified),
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def known_hubs(self) -> tuple[Eui64, ...]:
        """The hubs that are named.

        Raises:
            ConfigError: if one is no EUI-64.
        """
        try:
            return tuple(Eui64.parse(each) for each in self.hubs)
        except ValueError as error:
            raise ConfigError(f"hubs: {error}") from None
