"""What a home file says: which radios a simulated house holds, and what each of them is.

A home is a TOML file. It describes hardware as it leaves the shop: addresses, install codes, firmware
versions. What happens afterwards (which network was joined, which firmware runs) is the business of the house
that is built from it. Everything a person can get wrong in such a file is refused here, by name, before any
radio exists.

Homes that come with the package are known by their name (`demo`); any other is a path to a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from han.security.errors import InstallCodeError
from han.security.install_code import parse_install_code
from han.sim.fault import Fault
from han.sim.personality import Outcome, Personality
from han.stub_clusters import StubCluster
from ota.eui64 import Eui64

_SIXTEEN_BITS = Meta(ge=0, le=0xFFFF)
_THIRTY_TWO_BITS = Meta(ge=0, le=0xFFFF_FFFF)

NO_IMAGE_TYPE = 0xFFFF
"""No device has it: in a query of the OTA cluster it stands for any."""
NO_VERSION = 0xFFFF_FFFF

SEVEN_HUNDRED_FIFTY_KILOBYTES = 750 * 1024
"""Largest PPMID image that the modification expects; what a simulated device has room for by default."""


LINK_STATUS_PERIOD = 15.0
"""Seconds between two link status commands of a router (nwkLinkStatusPeriod)."""
LEAST_BAUD, MOST_BAUD = 9600, 4_000_000
DONGLE = "dongle"
"""What links call the dongle's radio."""


class HomeError(ValueError):
    """The home cannot be used. The message names the file, the place in it and what to write instead."""


class Kind(Enum):
    """The devices of GB homes that a firmware image can be meant for and that a simulated house can hold."""

    PPMID = "PPMID"
    HCALCS = "HCALCS"
    GSME = "GSME"
    ESME = "ESME"
    ROUTER = "ROUTER"
    """A range extender: it relays for others and has no firmware that would concern anybody."""


TWO_STAGE = frozenset({Kind.HCALCS, Kind.GSME, Kind.ESME})
"""Whose images carry the Supplier's signature, and run on a GBCS message (CS06) only."""


class Profile(Enum):
    """The application profile on which a device speaks."""

    SMART_ENERGY = "smart-energy"
    HOME_AUTOMATION = "home-automation"


class Certificate(Enum):
    """What a device can prove itself with."""

    LAB = "lab"
    NONE = "none"


class Conduct(Enum):
    """How a device conducts itself in key establishment: honestly, or with a fault on demand.

    Each ``SILENT_AFTER`` says no more once it has sent that command; ``DEAF_TO_CONFIRM_KEY`` misses the last
    one, so that the hub takes the key for established and the device does not; each ``TERMINATES`` says so
    where its ephemeral key is due.
    """

    HONEST = "honest"
    WRONG_ISSUER = "wrong-issuer"
    WRONG_NAME = "wrong-name"
    WRONG_MAC = "wrong-mac"
    OFF_CURVE = "off-curve"
    MALFORMED = "malformed"
    SILENT_AFTER_INITIATE = "silent-after-initiate"
    SILENT_AFTER_EPHEMERAL_DATA = "silent-after-ephemeral-data"
    DEAF_TO_CONFIRM_KEY = "deaf-to-confirm-key"
    SLOW = "slow"
    TOO_LATE = "too-late"
    TWICE = "twice"
    TERMINATES_UNKNOWN_ISSUER = "terminates-unknown-issuer"
    TERMINATES_BAD_KEY_CONFIRM = "terminates-bad-key-confirm"
    TERMINATES_BAD_MESSAGE = "terminates-bad-message"
    TERMINATES_NO_RESOURCES = "terminates-no-resources"
    TERMINATES_UNSUPPORTED_SUITE = "terminates-unsupported-suite"
    TERMINATES_INVALID_CERTIFICATE = "terminates-invalid-certificate"


class Quirks(Enum):
    """How thoroughly the virtual dongle behaves like dongles met in the field."""

    REAL = "real"
    PLAIN = "plain"


class InstallCode(bytes):
    """An install code with its CRC. It never shows itself in a text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "InstallCode(hidden)"

    __str__ = __repr__


class PartDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something in a device besides its firmware that has files of its own: a second processor, its settings.

    A `device_specific` file is made for this one device, and is asked for by its address.
    """

    image_type: Annotated[int, _SIXTEEN_BITS]
    file_version: Annotated[int, _THIRTY_TWO_BITS]
    device_specific: bool = False


class DeviceDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device as it is delivered.

    Times are in seconds. `query_period` is how often it asks for a new image by itself; `first_query_within`
    bounds the random delay before the first time. With a `page_size` it asks for so many octets of an image
    at once, to come in blocks `response_spacing` apart (0: as fast as the hub can); without, block by block.
    Where its requests for octets are not `acknowledged`, their loss is noticed later and the air is freer.
    It asks for its `parts` in turn; if it `upgrades_together`, it takes a file for each before any of them
    runs. In `cluster_revision` 2 a minimum block period counts seconds, in the others milliseconds.
    `heeds_notify` says whether an Image Notify makes it ask at once: a GSME's radio sleeps through it. A
    `silent` PPMID is one from before SECMP0007: it activates an image but never sends the activation alert.
    `activates = false` is a fault on demand: the new firmware never starts, the old one goes on.
    `supplier_key` is the public key (P-256, uncompressed point, hex) with which an ESME, a GSME or an HCALCS
    checks the signature behind the manufacturer image; without one it trusts it. `receipt_alert` says whether
    it then tells the Supplier what it found (Firmware Distribution Receipt Alert). GBCS has that alert for
    the two meters. No source says whether an HCALCS sends one, and in which form: by default it does not, and
    where the home says that it does, it writes it as a GSME would.
    A PPMID with ``profile = "home-automation"`` is no device of a GB home: it shows what hosts that know no
    Smart Energy make of the dongle. It has an OTA client and no tunnel, so it tells nobody of its activation.
    A device that `sleeps` is no router: its radio is off while idle, and every `poll_period` it asks its
    parent what waits for it. A GB gas meter does that every half hour, to spare its battery; others are given
    the five minutes of a widespread stack. While it talks it asks four times a second.
    A device with a ``lab`` certificate (by another authority if the home names one) establishes a link key
    (CBKE) under one of its cryptographic `suites` and protects what Smart Energy protects; one with ``none``
    does neither. Home Automation knows neither. `establishment` says how it conducts itself while it does the
    former. `stub_clusters` it serves besides what its kind does. `personality` is in which way its OTA client
    is peculiar (`han.sim.personality`), and what it `expects` is how an update of it has to end at best.
    """

    kind: Kind
    profile: Profile = Profile.SMART_ENERGY
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    eui64: Eui64
    install_code: InstallCode
    manufacturer: Annotated[int, _SIXTEEN_BITS] = 0x121D
    image_type: Annotated[int, _SIXTEEN_BITS] = NO_IMAGE_TYPE
    file_version: Annotated[int, _THIRTY_TWO_BITS] = NO_VERSION
    hardware_version: Annotated[int, _SIXTEEN_BITS] | None = None
    storage: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] = SEVEN_HUNDRED_FIFTY_KILOBYTES
    silent: bool = False
    activates: bool = True
    heeds_notify: bool | None = None
    sleeps: bool = False
    poll_period: Annotated[float, Meta(ge=1, le=7 * 86_400)] | None = None
    query_period: Annotated[float, Meta(ge=1)] | None = None
    first_query_within: Annotated[float, Meta(ge=0)] = 30.0
    page_size: Annotated[int, Meta(ge=64, le=0xFFFF)] | None = None
    response_spacing: Annotated[float, Meta(ge=0, le=65.535)] | None = None
    acknowledged: bool = True
    cluster_revision: Literal[1, 2, 3] = 3
    parts: tuple[PartDescription, ...] = ()
    upgrades_together: bool = False
    join_retry: Annotated[float, Meta(ge=1)] = 15.0
    receipt_alert: bool | None = None
    supplier_key: Annotated[str, Meta(pattern=r"^04[0-9a-fA-F]{128}$")] | None = None
    certificate: Certificate = Certificate.LAB
    suites: Annotated[tuple[Literal[1, 2], ...], Meta(min_length=1)] = (2,)
    establishment: Conduct = Conduct.HONEST
    stub_clusters: tuple[StubCluster, ...] = ()
    personality: str = Personality.HONEST
    expects: Outcome = Outcome.UPDATED

    def __repr__(self) -> str:
        return f"DeviceDescription({self.kind.value} {self.name!r} {self.eui64})"

    @property
    def seconds_between_queries(self) -> float:
        """How often the device asks by itself: daily; a GSME every six hours, as nothing else reaches it."""
        if self.query_period is not None:
            return self.query_period
        return 6 * 3600.0 if self.kind is Kind.GSME else 24 * 3600.0

    @property
    def seconds_between_polls(self) -> float:
        """How often a device that sleeps asks its parent what waits for it, while nothing goes on."""
        if self.poll_period is not None:
            return self.poll_period
        return 1800.0 if self.kind is Kind.GSME else 300.0

    @property
    def seconds_between_page_blocks(self) -> float:
        """How far apart it wants the blocks of a page: 50 ms, as a widespread stack does."""
        return 0.05 if self.response_spacing is None else self.response_spacing

    @property
    def establishes_keys(self) -> bool:
        """Whether it proves itself by certificate and keeps to Smart Energy's protection."""
        return self.certificate is Certificate.LAB and self.profile is Profile.SMART_ENERGY

    @property
    def tells_receipt(self) -> bool:
        """Whether it tells the Supplier that it has checked an image."""
        return self.kind in (Kind.ESME, Kind.GSME) if self.receipt_alert is None else self.receipt_alert

    @property
    def is_reached_by_notify(self) -> bool:
        """Whether an Image Notify makes the device ask at once."""
        if self.heeds_notify is None:
            return self.kind not in (Kind.GSME, Kind.ROUTER)
        return self.heeds_notify


class DongleDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The virtual dongle that stands for the hub's radio: its address, EZSP version and serial speed.

    `key_table` is how many link keys it was built for, one for each device that has its own. Retail firmware
    has 12 rows; a Communications Hub may have 16 devices. `faults` is what is wrong with it. With `baud` 0
    the serial line takes no time, so that only the air is left to measure.
    """

    eui64: Eui64
    ezsp: Literal[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19] = 13
    baud: Annotated[int, Meta(ge=0, le=MOST_BAUD)] = 115_200
    behaves: Quirks = Quirks.REAL
    key_table: Annotated[int, Meta(ge=0, le=254)] = 16
    faults: tuple[Fault, ...] = ()


class LinkDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Radios that hear each other: each of `between` every other one, by name; the dongle's is "dongle".

    `lqi` is how well, `loss` the share of the frames that are lost on the way. With `one_way` the second is
    heard by nobody: it hears the first.
    """

    between: Annotated[tuple[str, ...], Meta(min_length=2)]
    lqi: Annotated[int, Meta(ge=1, le=255)] = 255
    loss: Annotated[float, Meta(ge=0, le=1)] = 0.0
    one_way: bool = False


class Home(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A house: one dongle and any number of devices.

    Without `links` all hear all, in one room. With them only those hear each other that a link names; of two
    links between the same radios the later one counts. `link_status_period` is how often, in seconds, a
    router tells its neighbours how well it hears them; 0: never. The standard asks for 15 s, and a house
    with links does that. In one room it would tell nobody anything new, and a fortnight of idling, which
    passes in seconds here, would be filled with it.

    `channel` is the one 2.4 GHz channel (11 to 26) on which the devices look for a network; without it they
    try them all. `seed` decides everything that is left to chance, unless whoever opens the house gives
    another. `keys` is a folder that ``gbhan keys`` made, seen from where the file is: the devices prove
    themselves with what its authority issued them, instead of the public lab authority. `stub_clusters` are
    for the hub that the demo runs in this house; a hub of its own has them from its configuration file.
    """

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    dongle: DongleDescription
    devices: tuple[DeviceDescription, ...] = ()
    links: tuple[LinkDescription, ...] = ()
    link_status_period: Annotated[float, Meta(ge=0)] | None = None
    channel: Annotated[int, Meta(ge=11, le=26)] | None = None
    seed: Annotated[int, Meta(ge=0)] = 1
    keys: str | None = None
    stub_clusters: tuple[StubCluster, ...] = ()

    @property
    def seconds_between_link_statuses(self) -> float:
        """How often a router tells its neighbours how well it hears them; 0: never."""
        if self.link_status_period is not None:
            return self.link_status_period
        return LINK_STATUS_PERIOD if self.links else 0.0


def parse_home(text: bytes, *, source: str = "home") -> Home:
    """Read a home from the bytes of its TOML file. `source` is what the messages call it.

    Raises:
        HomeError: if anything in it is wrong; nothing is guessed.
    """
    try:
        home = msgspec.toml.decode(text, type=Home, dec_hook=_decode_field)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:  # the last: nested too deep
        raise HomeError(f"{source}: {error}") from error
    for complaint in _complaints(home):
        raise HomeError(f"{source}: {complaint}")
    return home


def read_home(name_or_path: str) -> Home:
    """The home that comes with the package under this name, or the one in the file at this path.

    Raises:
        HomeError: if there is no such home or file, or it cannot be used.
    """
    if "/" not in name_or_path and not name_or_path.endswith(".toml"):
        if name_or_path not in home_names():
            known = ", ".join(home_names())
            raise HomeError(
                f"no home is called {name_or_path!r}: there are {known}, or give a path to a .toml file"
            )
        return parse_home(
            (_packaged() / f"{name_or_path}.toml").read_bytes(), source=f"home {name_or_path!r}"
        )
    try:
        text = Path(name_or_path).read_bytes()
    except OSError as error:
        raise HomeError(f"{name_or_path}: cannot be read ({error.strerror})") from error
    home = parse_home(text, source=name_or_path)
    if home.keys is None:
        return home
    # A path in the file is meant from where the file is.
    return msgspec.structs.replace(home, keys=str(Path(name_or_path).parent / home.keys))


def home_names() -> tuple[str, ...]:
    """The names of the homes that come with the package, in alphabetical order."""
    files = (entry.name for entry in _packaged().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


def _packaged() -> resources.abc.Traversable:
    return resources.files("han.sim") / "homes"


def _decode_field(kind: type[Any], value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"write it as text in quotes, not as {value!r}")  # noqa: TRY004 - msgspec names the place for a ValueError only
    if kind is Eui64:
        return Eui64.parse(value)
    if kind is InstallCode:
        return _install_code(value)
    raise NotImplementedError(f"a home has no fields of type {kind.__name__}")


def _install_code(text: str) -> InstallCode:
    try:
        return InstallCode(parse_install_code(text))
    except InstallCodeError as error:
        raise ValueError(str(error)) from None


def _complaints(home: Home) -> Iterator[str]:
    names: dict[str, int] = {}
    addresses: dict[Eui64, str] = {home.dongle.eui64: "the dongle"}
    if 0 < home.dongle.baud < LEAST_BAUD:
        yield f"the dongle's baud is from {LEAST_BAUD} to {MOST_BAUD}, or 0 for a line that takes no time"
    for place, device in enumerate(home.devices):
        if device.name == DONGLE:
            yield f"device {place} is called {DONGLE!r}: links call the hub's radio that"
        if device.name in names:
            yield f"devices {names[device.name]} and {place} are both called {device.name!r}: give them names"
        if device.eui64 in addresses:
            yield f"device {device.name!r} has the EUI-64 of {addresses[device.eui64]}: give it its own"
        yield from _complaints_about(device)
        yield from _complaints_about_kind(device)
        yield from _complaints_about_files(device)
        yield from _complaints_about_personality(device)
        names[device.name] = place
        addresses[device.eui64] = repr(device.name)
    yield from _complaints_about_links(home.links, names)


def _complaints_about(device: DeviceDescription) -> Iterator[str]:
    if device.kind is not Kind.ROUTER and device.image_type == NO_IMAGE_TYPE:
        yield f"device {device.name!r} needs its image_type: it tells which images are for it"
    if device.kind is not Kind.ROUTER and device.file_version == NO_VERSION:
        yield f"device {device.name!r} needs the file_version of the firmware that it runs"
    if device.poll_period is not None and not device.sleeps:
        yield f"device {device.name!r} always listens: write sleeps = true beside its poll_period"
    if len(set(device.suites)) != len(device.suites):
        yield f"device {device.name!r} names a suite twice: write each once, as in suites = [1, 2]"


def _complaints_about_kind(device: DeviceDescription) -> Iterator[str]:
    if device.silent and device.kind is not Kind.PPMID:
        yield f"device {device.name!r} is a {device.kind.value}: only a PPMID can be silent"
    if device.supplier_key is not None and device.kind is Kind.PPMID:
        yield f"device {device.name!r} is a PPMID: its images carry no signature, so no supplier_key"
    if device.receipt_alert is not None and device.kind not in TWO_STAGE:
        yield f"device {device.name!r} is a {device.kind.value}: it checks no signature, so no receipt_alert"
    if device.profile is Profile.HOME_AUTOMATION and device.kind in TWO_STAGE:
        yield (
            f"device {device.name!r} is a {device.kind.value}: it activates by a GBCS message only,"
            " which home-automation cannot carry"
        )
    if device.sleeps and device.kind is Kind.ROUTER:
        yield f"device {device.name!r} is a {device.kind.value}: whoever relays cannot sleep"
    if device.sleeps and device.kind is Kind.ESME:
        yield f"device {device.name!r} is an ESME: it is on the mains and never sleeps"


def _complaints_about_files(device: DeviceDescription) -> Iterator[str]:
    types = [device.image_type, *(part.image_type for part in device.parts)]
    if len(set(types)) < len(types):
        yield f"device {device.name!r} has two parts of one image_type: each has its own"
    if device.upgrades_together and not device.parts:
        yield f"device {device.name!r} has one file only: write its parts beside upgrades_together"
    if device.page_size is None and device.response_spacing is not None:
        yield f"device {device.name!r} asks for no pages: write a page_size beside its response_spacing"


def _complaints_about_personality(device: DeviceDescription) -> Iterator[str]:
    # It is read as text, so that the complaint can name those that there are.
    known = [each.value for each in Personality]
    if device.personality not in known:
        there_are = ", ".join(known)
        yield f"device {device.name!r} has the personality {device.personality!r}: there are {there_are}"
    elif device.kind is Kind.ROUTER and device.personality != Personality.HONEST:
        yield f"device {device.name!r} is a {device.kind.value}: it has no firmware, so no personality"


def _complaints_about_links(links: tuple[LinkDescription, ...], names: Iterable[str]) -> Iterator[str]:
    known = {DONGLE, *names}
    for link in links:
        for name in link.between:
            if name not in known:
                yield f"a link names {name!r}: there are {', '.join(sorted(known))}"
        if len(set(link.between)) < len(link.between):
            yield f"a link between {', '.join(link.between)} names a radio twice"
        if link.one_way and len(link.between) > 2:
            yield "a one-way link has two ends: the first is heard by the second"
