"""The contract with the head end: every MQTT payload that a Communications Hub takes or gives.

Topics stand under ``gbhan/v1/hub/<EUI-64, lower-case hex>/``; each class below names its own in ``TOPIC``.
Payloads are JSON, QoS 1, and idempotent at the receiver: ``id`` is the same when a message is sent again, so
a receiver that remembers ids sees each message once. Unknown fields are ignored, so that a later minor
version may add some; another ``schema`` is refused.

How an image travels: the head end publishes an ImageOffer on ``request/offer`` and gets a Response. If that
is ok, the hub says with ImageWanted from which offset it wants the image, and answers *every* ImageChunk with
an ImageWanted: ``offset`` moves on when the chunk was taken and stands still when it was not (``code`` says
why). Nothing more is wanted when ``complete`` is true or ``code`` says that the image is no longer welcome.
After a restart of the hub, and when the same offer comes again, ImageWanted names the offset to go on from.

A request that gets no Response, and a chunk that gets no ImageWanted, are sent again by whoever waits for it:
the broker may have been away at either end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, TypedDict, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from hub.errors import TheirError
from hub.terms import Terms
from ota.eui64 import Eui64

ROOT: Final = "gbhan/v1/hub"

Text = Annotated[str, Meta(max_length=512)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
# A pattern alone would let a line break through behind the last digit; the length does not.
Device = Annotated[str, Meta(pattern=r"^[0-9A-F]{2}(-[0-9A-F]{2}){7}$", max_length=23)]
"""An EUI-64 as GB documents write it, ``00-DB-12-34-56-78-90-A4``; what ``str(Eui64)`` gives."""
DeviceType = Literal["PPMID", "HCALCS", "GSME", "ESME", "IHD", "ROUTER"]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Version = Annotated[str, Meta(pattern=r"^[0-9A-F]{8}$", max_length=8)]
"""A firmware version: the OTA header's file version as eight upper-case hex digits."""
Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*(?!\n)$", max_length=65536)]
"""Octets. Python's ``$`` alone would let a line break pass."""
Count = Annotated[int, Meta(ge=0, lt=2**32)]
Utc = Annotated[datetime, Meta(tz=True)]

MAXIMUM_CHUNK: Final = 262_144
"""Octets of image in one chunk; a larger chunk is refused before it is decoded further."""


class MessageError(TheirError):
    """A payload or a topic that breaks the contract. The text names the field, never a value."""


class Message(Struct, frozen=True, kw_only=True):
    """The envelope around everything: schema version, id, UTC time and the sender's sequence number."""

    TOPIC: ClassVar[str]

    id: Id
    utc: Utc
    seq: Count
    schema: Literal[1] = 1


class Stamp(TypedDict):
    """What an envelope needs; made by Envelopes."""

    id: str
    utc: datetime
    seq: int


class Envelopes:
    """Gives each outgoing message its id, time and sequence number.

    Args:
        utc: the present time in UTC.
        new_id: a fresh id, unique across restarts of the sender; from the seed under simulation.
    """

    def __init__(self, utc: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._utc = utc
        self._new_id = new_id
        self._seq = 0

    def stamp(self, known_id: str | None = None) -> Stamp:
        """The envelope fields of one message: ``HubState(..., **envelopes.stamp())``.

        ``known_id`` replaces the fresh id where the receiver must recognise the message as one it may have
        had.
        """
        self._seq += 1
        return {"id": known_id or self._new_id(), "utc": self._utc(), "seq": self._seq}


# --- requests: head end to hub ---


class JoinRequest(Message, frozen=True, kw_only=True):
    """Admit this device: its EUI-64 and its install code (CRC included, hex). The code is never logged."""

    TOPIC = "request/join"

    device: Device
    install_code: Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{2}){8,18}$")]
    device_type: DeviceType
    seconds: Annotated[int, Meta(ge=1, le=254)] = 254
    key_establishment: bool | None = None
    """Whether it has to agree a link key by certificate before protected clusters are open to it; None leaves
    that to the hub's configuration. False is for devices of a laboratory that have no certificate."""

    def __repr__(self) -> str:
        """Everything but the install code."""
        return (
            f"JoinRequest(device={self.device!r}, device_type={self.device_type!r}, install_code=<kept back>)"
        )


class RemoveRequest(Message, frozen=True, kw_only=True):
    """Remove this device: it is asked to leave, its keys are erased, and it stays out until admitted anew."""

    TOPIC = "request/remove"

    device: Device


class SwitchKeyRequest(Message, frozen=True, kw_only=True):
    """Give the network a new key: each device under its link key, or by ``broadcast`` under the old key."""

    TOPIC = "request/switch-key"

    broadcast: bool = False


class DevicesRequest(Message, frozen=True, kw_only=True):
    """List the devices of this HAN; answered by a Response with ``devices``."""

    TOPIC = "request/devices"


class TransferRequest(Message, frozen=True, kw_only=True):
    """Pause the download of a device, let it go on, or end it as failed.

    A paused download stays paused when the hub restarts; it ends with its image.
    """

    TOPIC = "request/transfer"

    device: Device
    action: Literal["pause", "resume", "abort"]


class ConfigureRequest(Message, frozen=True, kw_only=True):
    """Serve a device on these terms from now on, in mid-download too.

    What is left out stays as it is; null takes back what was said, so that the hub's configuration counts
    again. Answered by a Response with the ``terms`` that count.
    """

    TOPIC = "request/configure"

    device: Device
    terms: Terms


class Target(Struct, frozen=True, kw_only=True):
    """A device that an image is meant for."""

    device: Device
    device_type: Text


class ImageOffer(Message, frozen=True, kw_only=True):
    """An Upgrade Image is on its way to these devices (SR 11.1, 11.4). ``image_id`` is the file's SHA-256."""

    TOPIC = "request/offer"

    request_id: Id
    service_request: Literal["11.1", "11.4"]
    image_id: Sha256
    file_version: Version | None = None
    """What the request says; the alerts quote it for an image that goes before its header has come."""
    size: Count
    chunk_size: Annotated[int, Meta(ge=1, le=MAXIMUM_CHUNK)]
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=1024)]
    force_replace: bool = False
    """Whether the file's force-replace octet is 1. It stands at the end of the file, and the hub has to act
    on it at the beginning; when the file is whole, the hub compares."""


class ActivateRequest(Message, frozen=True, kw_only=True):
    """Bring this command to its device (SR 11.3, use case CS06).

    A Response says that the hub has taken it and delivers it as soon as the device can be reached; the
    outcome comes as ``alert/activation``.
    """

    TOPIC = "request/activate"

    request_id: Id
    device: Device
    gbcs: Hex
    """The CS06 command in hex, as the Supplier signed it and the ACB put its MAC to it."""


class ReadVersionRequest(Message, frozen=True, kw_only=True):
    """Read the device's firmware version (SR 11.2); answered by a Response with ``file_version``.

    With ``gbcs`` the device is asked by that message first, and the Response brings what it answered.
    """

    TOPIC = "request/read-version"

    request_id: Id
    device: Device
    gbcs: Hex = ""
    """The CS08 command in hex, with the MAC of the ACB; for a PPMID or an HCALCS."""


# --- responses: hub to head end ---

ResponseCode = Literal[
    "ok",
    "malformed",  # the payload broke this contract
    "too-busy",  # the slot holds an image of higher or equal priority that is still needed: try again later
    "too-large",  # the image exceeds its slot
    "unsupported-device-type",  # an IHD, a device type this request is not for, or targets of two slots
    "unknown-device",  # not in this hub's device list
    "invalid-image",  # not an OTA file, or its header disagrees with the offer
    "no-transfer",  # no image waits for this device, or it has it already, or its transfer has failed
    "ended",  # this request has already ended here; ask with a new request id
    "unreachable",  # the device did not answer
    "refused",  # the device answered and refused, or what was asked cannot be done here
    "radio-down",  # the hub's radio is not available: try again later
    "internal",  # our mistake; the reason says what to report
]


TransferState = Literal[
    "waiting",  # it has not asked for a block, as far as this hub knows
    "downloading",
    "paused",  # by the user
    "stalled",  # it fell silent in mid-download
    "interrupted",  # it broke off, and may try again
    "complete",  # it has the image
    "failed",
    "discarded",  # the image left its slot before the device had it
]


class TransferEntry(Struct, frozen=True, kw_only=True):
    """How a device stands with the image that is meant for it."""

    image_id: Sha256
    request_id: Text = ""
    state: TransferState
    offset: Count
    size: Count
    percent: Annotated[int, Meta(ge=0, le=100)]
    octets_per_second: float | None = None
    """Over the last half minute; None while it cannot be known."""
    seconds_left: float | None = None
    """At that speed; None while it cannot be foretold."""


class DeviceEntry(Struct, frozen=True, kw_only=True):
    """A device of this HAN as the hub knows it."""

    device: Device
    device_type: Text
    state: Literal["admitted", "joined", "left"]
    file_version: Version | None = None
    """The version it last told by itself or by an 11.2, if it ever did."""
    secured: bool = False
    """Whether it shares a link key with the hub, so that protected clusters are open to it."""
    trouble: Text = ""
    """Why it does not get in, or gets no link key; empty if all is well or nothing is known."""
    transfer: TransferEntry | None = None
    """How it stands with the image in a slot that is meant for it, if there is one."""


Verb = Literal[
    "join",
    "remove",
    "switch-key",
    "devices",
    "transfer",
    "configure",
    "offer",
    "activate",
    "read-version",
]
VERBS: Final[tuple[str, ...]] = get_args(Verb)


class Response(Message, frozen=True, kw_only=True):
    """The answer to one request, on ``response/<verb>``; ``in_reply_to`` is that request's ``id``."""

    TOPIC = "response/+"

    verb: Verb
    in_reply_to: Text
    request_id: Text = ""
    ok: bool
    code: ResponseCode
    reason: Text = ""
    devices: tuple[DeviceEntry, ...] = ()
    terms: Terms | None = None
    file_version: Version | None = None
    source: Literal["", "CS08", "OTA"] = ""
    """Where a version comes from: the device's own message, or the attribute that the hub has read."""
    gbcs: Hex = ""
    """The device's answer in hex, where it came in a GBCS message."""


# --- the image ---


class ImageChunk(Message, frozen=True, kw_only=True):
    """A piece of an offered image: ``data`` is base64 in JSON, ``sha256`` is over these octets."""

    TOPIC = "image/chunk"

    image_id: Sha256
    offset: Count
    data: bytes
    sha256: Sha256


class ImageWanted(Message, frozen=True, kw_only=True):
    """Where the hub stands with an image: send on from ``offset``.

    Sent when an offer is accepted, after every chunk, after a restart, and when the image is no longer
    welcome. ``code``: "ok" go on (or done, if ``complete``); "repeated", "out-of-order", "bad-hash" the chunk
    was not taken, send from ``offset``; "not-offered", "discarded", "invalid-image" stop sending: it will not
    be taken.
    """

    TOPIC = "image/wanted"

    image_id: Sha256
    offset: Count
    complete: bool
    code: Literal[
        "ok", "repeated", "out-of-order", "bad-hash", "not-offered", "discarded", "invalid-image", "too-busy"
    ] = "ok"
    reason: Text = ""
    request_id: Text = ""


# --- what the hub tells by itself ---


class HeldImage(Struct, frozen=True, kw_only=True):
    """What lies in a slot."""

    image_id: Sha256
    file_version: Version | None
    stage: Literal["arriving", "stored"]
    held_for: Text
    """The device type it is meant for."""
    received: Count
    size: Count
    unfinished: tuple[Device, ...]
    """Targets that have neither finished nor failed."""
    retained_until: Utc | None
    """Until then it stays; afterwards it may go, when the space is needed."""
    in_memory: bool = False
    """Whether it is in memory alone, until the hub restarts (the retention policy that was withdrawn)."""


class Dongle(Struct, frozen=True, kw_only=True):
    """What stands at the other end of the hub's serial line."""

    ezsp_version: Count
    manufacturer: Text = ""
    board: Text = ""
    firmware: Text = ""
    """Of the dongle; empty if it does not tell."""


class Health(Struct, frozen=True, kw_only=True):
    """How the hub is, beside the images that it holds."""

    version: Text
    """Of the hub's own program; empty where it was never installed."""
    since: Utc
    """When this run of the hub began."""
    uptime: float
    """Seconds since then when the message was made, whatever became of the clock."""
    radio_up: bool
    """Whether there is a working dongle; HubState's ``radio`` says why not."""
    radio_since: Utc
    """Since when that is so."""
    dongle: Dongle | None = None
    alerts_waiting: Count = 0
    """Alerts that the broker has not acknowledged."""
    alerts_since: Utc | None = None
    """When the one that has waited longest was raised."""
    flash_free: Annotated[int, Meta(ge=0)] | None = None
    """Octets that the disk of the state directory still takes; None: unknown."""
    flash_refusal: Text = ""
    """Why the disk takes nothing more; the hub ends with that, and has to be started anew."""


class HubState(Message, frozen=True, kw_only=True):
    """Whether the hub is there and what it holds; retained. The last will has ``online`` false.

    Published when something changed, and at most every ``state_every`` seconds of the hub's configuration.
    """

    TOPIC = "state"

    online: bool
    eui64: Device
    radio: Text = ""
    image: HeldImage | None = None
    """In the slot that GSME, PPMID and HCALCS share."""
    esme_image: HeldImage | None = None
    """In the ESMEs' slot."""
    health: Health | None = None
    """None in the last will, which was written before anything happened."""


class Progress(Message, frozen=True, kw_only=True):
    """How far a device has come with an image; at a bounded rate, and once at the end.

    See TransferEntry for the fields.
    """

    TOPIC = "progress"

    device: Device
    image_id: Sha256
    request_id: Text = ""
    state: TransferState = "downloading"
    offset: Count
    size: Count
    percent: Annotated[int, Meta(ge=0, le=100)]
    octets_per_second: float | None = None
    seconds_left: float | None = None


class Alert(Message, frozen=True, kw_only=True):
    """What every alert has. The ``id`` is the same however often it is sent: receivers count it once."""

    device: Device
    file_version: Version
    code: Text
    response: Annotated[int, Meta(ge=0, le=255)] | None
    at: float
    """Seconds on the hub's clock when it was raised."""
    reason: Text = ""
    gbcs: Hex = ""
    """The GBCS message in hex, where one exists: `gbhan gbcs decode` explains one that is whole."""


class FirmwareTransferAlert(Alert, frozen=True, kw_only=True):
    """CCS08. 0x8F8A with response 0: transferred; 0x8F89 with 1 discarded, 2 hardware mismatch, 3 failed."""

    TOPIC = "alert/firmware-transfer"

    image_id: Sha256
    request_id: Text


class PpmidActivationAlert(Alert, frozen=True, kw_only=True):
    """CS09 relayed from a PPMID: code 0x8F8B with response 0 success or 1 failure."""

    TOPIC = "alert/ppmid-activation"


class FirmwareVerificationAlert(Alert, frozen=True, kw_only=True):
    """A device's receipt, relayed: the signature of the image that it holds is good (0x8F72) or bad (0x8F1C).

    The message names the image by the hash that the device computed, and no version: ``file_version`` is
    FFFFFFFF, ``response`` None.
    """

    TOPIC = "alert/firmware-verification"

    manufacturer_image_hash: Sha256


class ActivationOutcome(Alert, frozen=True, kw_only=True):
    """What came of CS06, as the device tells it.

    Code "CS06" is its answer: response 0 to 3; None means accepted, to be executed later, or, to a command
    that cancels, that nothing is pending now. Code "0x8F66" (response 0) or "0x8F67" (1 to 3) is the alert by
    which it tells later how a future-dated command went. Code
    "removed" is the hub's own word, without a message: the device was removed from the HAN before it told the
    outcome, and will not tell it any more.
    """

    TOPIC = "alert/activation"

    request_id: Text


MESSAGES: Final[dict[str, type[Message]]] = {
    kind.TOPIC: kind
    for kind in (
        JoinRequest,
        RemoveRequest,
        SwitchKeyRequest,
        DevicesRequest,
        TransferRequest,
        ConfigureRequest,
        ImageOffer,
        ActivateRequest,
        ReadVersionRequest,
        ImageChunk,
        ImageWanted,
        HubState,
        Progress,
        FirmwareTransferAlert,
        PpmidActivationAlert,
        FirmwareVerificationAlert,
        ActivationOutcome,
    )
} | {f"response/{verb}": Response for verb in VERBS}
"""Topic below the hub's root -> what its payload is."""

REMOVED: Final = "removed"
"""Code of an ActivationOutcome that no device tells: see there."""

M = TypeVar("M", bound=Message)


def topic(hub: Eui64, below: str) -> str:
    """The full topic of this hub: ``topic(hub, ImageOffer.TOPIC)``, or ``topic(hub, "#")`` to subscribe."""
    return f"{ROOT}/{hub.hex}/{below}"


def topic_of(hub: Eui64, message: Message) -> str:
    """The full topic on which this message travels."""
    return topic(hub, f"response/{message.verb}" if isinstance(message, Response) else message.TOPIC)


def split_topic(full: str) -> tuple[Eui64, str]:
    """The hub and the part below its root.

    Raises:
        MessageError: if the topic is not one of a hub.
    """
    root, _, rest = full.partition(f"{ROOT}/")
    hub, _, below = rest.partition("/")
    if root or len(hub) != 16 or not below:
        raise MessageError(f"{full[:120]!r} is no topic of a hub: expected {ROOT}/<16 hex digits>/...")
    try:
        return Eui64.parse(hub), below
    except ValueError as error:
        raise MessageError(str(error)) from None


def encode(message: Message) -> bytes:
    """The message as JSON; the same message gives the same bytes."""
    return msgspec.json.encode(message)


def decode(payload: bytes, kind: type[M]) -> M:
    """Read a payload as one kind of message.

    Raises:
        MessageError: if it is not JSON, or a field is missing or wrong; the text names the field.
    """
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: nested too deep
        raise MessageError(f"a payload that is no {kind.__name__}: {error}") from None


def open_message(full_topic: str, payload: bytes) -> tuple[Eui64, Message]:
    """Read a payload as what its topic says it is; gives the hub and the message.

    Raises:
        MessageError: if the topic or the payload breaks the contract.
    """
    hub, below = split_topic(full_topic)
    kind = MESSAGES.get(below)
    if kind is None:
        raise MessageError(f"no message travels on {below[:120]!r}")
    return hub, decode(payload, kind)


def schema() -> dict[str, Any]:
    """The JSON Schema components of every message, for the published contract."""
    _, components = msgspec.json.schema_components(dict.fromkeys(MESSAGES.values()))
    return components
