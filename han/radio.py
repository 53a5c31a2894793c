"""From a URL to a running Smart Energy network: bellows on a dongle, real or virtual.

`open_radio` connects, looks at the network that the dongle holds, and resumes, forms, adopts, replaces or
refuses according to `han.network_memory`. A network that the hub did not form is backed up before anything
else happens. `probe` only looks. What can go wrong around the dongle becomes one `SurroundingsError` that
says what to do next.

A ``sim://`` URL is merely passed on: whoever wants the simulation imports it, which registers the scheme.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bellows.ezsp
import bellows.types as ezsp_types
import zigpy.config
import zigpy.exceptions
import zigpy.types
from bellows.ash import NcpFailure
from bellows.exception import EzspError
from serialx import SerialException
from serialx.common import UnknownUriScheme

from han import trust_centre_policy
from han.errors import OurError, SurroundingsError
from han.facts import Facts
from han.fragments import FragmentSettings
from han.network_memory import KnownNetwork, Network, NetworkMemory, Step, next_step
from han.stack import Listener, Stack
from ota.eui64 import Eui64

BAUD_RATES = (115200, 460800, 57600)
"""What common dongles run at; `probe` tries them in this order when the URL names none."""

_TOLD = {
    Step.RESUME: "network.resumed",
    Step.ADOPT: "network.adopted",
    Step.FORM: "network.formed",
    Step.REPLACE: "network.replaced",
}

_DEAD = (NcpFailure, EzspError, TimeoutError, AssertionError)
"""What bellows raises while it talks to something that is no EZSP dongle, or a dying one."""


@dataclass(frozen=True)
class RadioUrl:
    """A radio's place, as the serial library wants it."""

    path: str
    baudrate: int | None = None
    flow_control: str | None = None

    @classmethod
    def parse(cls, url: str) -> RadioUrl:
        """Read a serial port with ``?baud=460800&flow=hardware``, ``tcp://host:port``, ``socket://`` or ``sim://``.

        Raises:
            OurError: if it is none of these, naming what is wrong.
        """
        parts = urlsplit(url)
        if parts.scheme in ("tcp", "socket"):
            if not parts.hostname or _port(url) is None:
                raise OurError(f"radio {url!r}: expected {parts.scheme}://HOST:PORT")
            return cls(url)
        if parts.scheme == "sim":
            return cls(url)
        if parts.scheme or not parts.path.startswith("/"):
            raise OurError(
                f"radio {url!r}: expected a port such as /dev/serial/by-id/NAME?baud=115200,"
                " tcp://HOST:PORT, socket://HOST:PORT or sim://HOME"
            )
        query = parse_qs(parts.query, keep_blank_values=True)
        unknown = sorted(query.keys() - {"baud", "flow"})
        if unknown:
            raise OurError(f"radio {url!r}: a port takes baud= and flow=, not {', '.join(unknown)}")
        flow = query.get("flow", ["software"])[-1]
        if flow not in ("software", "hardware"):
            raise OurError(f"radio {url!r}: flow is software or hardware, not {flow!r}")
        baud = query.get("baud", [""])[-1]
        if "baud" in query and not (baud.isdecimal() and int(baud) > 0):
            raise OurError(f"radio {url!r}: baud is a number such as 115200, not {baud!r}")
        return cls(parts.path, int(baud) if baud else None, flow)


@dataclass(frozen=True)
class RadioSettings:
    """Which radio, and how far the hub may go with the network on it.

    Attributes:
        url: see `RadioUrl.parse`.
        state: where the note on the network and backups are kept; None remembers nothing, and so can neither
            adopt nor reform.
        adopt: take over a network that this hub did not form.
        reform: replace whatever network is there by a new one.
        further_clusters: what the hub's endpoint names as served beside its own: stub clusters.
        unsecured_rejoins: whether a device that lost the network key gets it again under its link key.
            Without that a device which sleeps through a change of the key is lost until it is admitted anew,
            as Smart Energy gives the next key only to those that listen.
        watchdog_period: seconds between two questions whether the dongle lives.
        source_routing: be a concentrator: ask every device, every minute, for the way to it, and send along
            that way. Off as in zigpy and bellows: a house of one hop has no use for it, and each relay on a
            way takes two octets off every message.
        entropy: where keys and ids that the network settings leave open come from.
        fragments: how messages travel that do not fit one frame.
    """

    url: str
    state: Path | None = None
    adopt: bool = False
    reform: bool = False
    unsecured_rejoins: bool = True
    further_clusters: tuple[int, ...] = ()
    watchdog_period: float = 10.0
    source_routing: bool = False
    entropy: Callable[[int], bytes] = field(default=os.urandom, repr=False)
    fragments: FragmentSettings = field(default_factory=FragmentSettings)


@dataclass(frozen=True)
class NetworkSettings:
    """The network to form, if one has to be formed. What is None is drawn; an open channel is measured."""

    channel: int | None = None
    pan_id: int | None = None
    extended_pan_id: Eui64 | None = None
    network_key: bytes | None = field(default=None, repr=False)


async def open_radio(
    settings: RadioSettings,
    network: NetworkSettings,
    listener: Listener,
    *,
    facts: Facts,
    memory: NetworkMemory | None = None,
    meet: Callable[[Eui64], None] = lambda _: None,
) -> Stack:
    """Connect to the dongle and bring its network up.

    ``meet`` is called with the dongle's address before anything on it is changed. What it raises ends this.

    Raises:
        OurError: if the URL or the network settings cannot be.
        SurroundingsError: no such port, held by another program, silent, or a network that may not be
            touched.
    """
    url = RadioUrl.parse(settings.url)
    memory = memory or NetworkMemory(settings.state)
    async with _explained(settings.url, url):
        stack = await _connected(url, settings, network, listener)
        async with _closed_on_error(stack):
            found = await stack.network()
            meet(await stack.own_eui64())
            known = memory.recall()
            step, why = next_step(found, known, adopt=settings.adopt, reform=settings.reform)
            if found is not None and step is not Step.RESUME:
                is_kept = await _back_up(stack, found, memory, facts)
                if not is_kept and step is not Step.REFUSE:
                    raise OurError("a network is replaced or taken over only where its backup can be kept")
            if step is Step.REFUSE:
                facts.say("radio", "network.refused", why=why)
                raise SurroundingsError(why)
            is_written = False
            if step in (Step.ADOPT, Step.RESUME) and found is not None:
                # Also where a power cut came between forming the network and noting that it was done.
                memory.note(KnownNetwork(found.eui64, found.extended_pan_id, is_formed=True))
                is_written = await _keys_separated(stack, found, memory, facts)
            if step in (Step.FORM, Step.REPLACE):
                await _form(stack, settings, network, memory)
                is_written = True
            if is_written:
                # A reset while forming made the dongle forget its endpoints: start anew.
                await stack.shutdown()
                stack = await _connected(url, settings, network, listener)
        async with _closed_on_error(stack):
            await stack.initialize(auto_form=False)
            running = await stack.network()
            if running is None:
                raise SurroundingsError(f"{settings.url}: the dongle lost its network while it started")
    facts.say(
        "radio",
        _TOLD[step],
        eui64=str(running.eui64),
        extended_pan_id=str(running.extended_pan_id),
        pan_id=running.pan_id,
        channel=running.channel,
    )
    return stack


async def _form(
    stack: Stack, settings: RadioSettings, network: NetworkSettings, memory: NetworkMemory
) -> None:
    eui64 = await stack.own_eui64()
    complete = _complete(network, settings.entropy)
    assert complete.extended_pan_id is not None
    memory.note(KnownNetwork(eui64, complete.extended_pan_id, is_formed=False))
    stack.config[zigpy.config.CONF_NWK].update(_network_config(complete))
    if not trust_centre_policy.has_transient_keys(stack.ezsp_version):
        # Whoever holds this key may join while anybody is expected: not the one that everybody knows.
        key = zigpy.types.KeyData.deserialize(settings.entropy(16))[0]
        stack.config[zigpy.config.CONF_NWK][zigpy.config.CONF_NWK_TC_LINK_KEY] = key
    await stack.form_network()
    memory.note(KnownNetwork(eui64, complete.extended_pan_id, is_formed=True))


async def _keys_separated(stack: Stack, found: Network, memory: NetworkMemory, facts: Facts) -> bool:
    """Whether the network was written anew, because its link keys all came of one secret.

    Other hosts form such networks, and so did this one before it established keys. A dongle may then not
    heed a key that is imported for a device. The network stays what it is to its devices: ids, channel,
    network key, and counters that go on.
    """
    if not stack.derives_link_keys:
        return False
    if not await _back_up(stack, found, memory, facts):
        why = "its link keys come of one secret, and without a state directory no backup can be kept"
        facts.say("radio", "network.left-as-it-is", why=why)
        return False
    await stack.separate_link_keys()
    facts.say("radio", "network.keys-separated", extended_pan_id=str(found.extended_pan_id))
    return True


async def _connected(
    url: RadioUrl, settings: RadioSettings, network: NetworkSettings, listener: Listener
) -> Stack:
    stack = Stack(
        _config(url, network, source_routing=settings.source_routing),
        listener,
        settings.watchdog_period,
        settings.fragments,
        unsecured_rejoins=settings.unsecured_rejoins,
        further_clusters=settings.further_clusters,
    )
    await stack.connect()
    return stack


async def _back_up(stack: Stack, found: Network, memory: NetworkMemory, facts: Facts) -> bool:
    """Whether there is a place to keep it."""
    backup = await stack.backups.create_backup(load_devices=True)
    stamp = backup.backup_time.strftime("%Y%m%dT%H%M%SZ")
    name = f"network-{found.extended_pan_id.hex}-{stamp}.json"
    path = memory.keep_backup(name, json.dumps(backup.as_open_coordinator_json(), indent=1))
    if path is None:
        return False
    facts.say("radio", "network.backed-up", path=str(path), extended_pan_id=str(found.extended_pan_id))
    return True


def _complete(network: NetworkSettings, entropy: Callable[[int], bytes]) -> NetworkSettings:
    pan_id = network.pan_id
    while pan_id is None or not 0 < pan_id < 0xFFFF:
        if network.pan_id is not None:
            raise OurError(f"a PAN id is 0x0001 to 0xFFFE, not {network.pan_id:#x}")
        pan_id = int.from_bytes(entropy(2), "little")
    return NetworkSettings(
        network.channel,
        pan_id,
        network.extended_pan_id or Eui64.from_wire(entropy(8)),
        network.network_key or entropy(16),
    )


def _network_config(network: NetworkSettings) -> dict[str, Any]:
    given: dict[str, Any] = {zigpy.config.CONF_NWK_CHANNEL: network.channel}
    if network.pan_id is not None:
        given[zigpy.config.CONF_NWK_PAN_ID] = zigpy.types.PanId(network.pan_id)
    if network.extended_pan_id is not None:
        given[zigpy.config.CONF_NWK_EXTENDED_PAN_ID] = zigpy.types.ExtendedPanId.deserialize(
            network.extended_pan_id.wire
        )[0]
    if network.network_key is not None:
        given[zigpy.config.CONF_NWK_KEY] = zigpy.types.KeyData.deserialize(network.network_key)[0]
    return given


def _device_config(url: RadioUrl) -> dict[str, Any]:
    return {
        zigpy.config.CONF_DEVICE_PATH: url.path,
        zigpy.config.CONF_DEVICE_BAUDRATE: url.baudrate or BAUD_RATES[0],
        zigpy.config.CONF_DEVICE_FLOW_CONTROL: url.flow_control,
    }


def _config(url: RadioUrl, network: NetworkSettings, *, source_routing: bool) -> dict[str, Any]:
    if network.channel is not None and not 11 <= network.channel <= 26:
        raise OurError(f"a 2.4 GHz channel is 11 to 26, not {network.channel}")
    return {
        zigpy.config.CONF_DEVICE: _device_config(url),
        zigpy.config.CONF_NWK: {zigpy.config.CONF_NWK_CHANNEL: network.channel},
        # A thread of its own would take the radio off the loop whose clock the simulation turns.
        bellows.config.CONF_USE_THREAD: False,
        # The hub keeps its own list of devices; zigpy's database runs in a thread.
        zigpy.config.CONF_DATABASE: None,
        # zigpy's OTA server asks the internet for images.
        zigpy.config.CONF_OTA: {zigpy.config.CONF_OTA_ENABLED: False},
        # Backups are made where the network changes, not by the day.
        zigpy.config.CONF_NWK_BACKUP_ENABLED: False,
        zigpy.config.CONF_TOPO_SCAN_ENABLED: False,
        zigpy.config.CONF_SOURCE_ROUTING: source_routing,
    }


@contextlib.asynccontextmanager
async def _closed_on_error(stack: Stack) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await stack.shutdown()
        raise


@contextlib.asynccontextmanager
async def _explained(name: str, url: RadioUrl) -> AsyncIterator[None]:
    """Turn what the serial library and bellows raise into one error that says what to do next."""
    try:
        yield
    except UnknownUriScheme as error:
        raise OurError(f"radio {name!r}: nothing in this program serves such radios") from error
    except FileNotFoundError as error:
        raise SurroundingsError(
            f"{url.path} does not exist: plug the dongle in, or see /dev/serial/by-id for its present name"
        ) from error
    except PermissionError as error:
        raise SurroundingsError(_busy_or_forbidden(url.path)) from error
    except _DEAD as error:
        raise SurroundingsError(
            f"{name}: nothing answers there as an EZSP dongle ({type(error).__name__}). Check the port, the"
            " baud rate (gbhan radio probe tries the usual ones), and that its firmware is NCP, not RCP"
        ) from error
    except (ConnectionError, SerialException, OSError) as error:
        if url.path.startswith("sim:") and getattr(error, "errno", None) is None:
            raise OurError(f"radio {name!r}: {error}") from error
        raise SurroundingsError(
            f"{name} cannot be opened: {error.strerror or error}. Is the dongle there, or the program that"
            " serves it running?"
        ) from error
    except (AttributeError, RuntimeError) as error:
        if not _raised_by_bellows(error):
            raise
        raise SurroundingsError(
            f"{name}: the connection ended while the dongle was being started. Another program may have it (a"
            " dongle serves one at a time: stop that program first), or it was unplugged"
        ) from error
    except (zigpy.exceptions.RadioException, zigpy.exceptions.ZigbeeException) as error:
        raise SurroundingsError(
            f"{name}: the dongle did not start its network ({type(error).__name__}: {error}). Unplug it, plug"
            " it in again and retry; gbhan radio probe says what it holds"
        ) from error


def _raised_by_bellows(error: Exception) -> bool:
    """Whether it arose in bellows' own code, which goes on using what the lost connection has taken away."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals["__name__"]).partition(".")[0] == "bellows"


def _busy_or_forbidden(path: str) -> str:
    if not os.access(path, os.R_OK | os.W_OK):
        return f"{path} may not be opened: join the group that owns it (often dialout) and log in again"
    held = holders(path)
    by = f"by {' and '.join(held)}" if held else "by another program (of another user: try lsof as root)"
    return f"{path} is held {by}: stop that program first"


def holders(path: str, proc: Path = Path("/proc")) -> list[str]:
    """Who has this port open, as far as we may see: ``name (process 123)`` each. Linux only, else empty."""
    port = Path(path).resolve()
    found = []
    for process in sorted(proc.glob("[0-9]*"), key=lambda entry: int(entry.name)):
        if int(process.name) == os.getpid():
            continue
        # A process may end, or not be ours to look into, while we look.
        with contextlib.suppress(OSError):
            if any(_leads_to(link, port) for link in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
    return found


def _leads_to(link: Path, port: Path) -> bool:
    with contextlib.suppress(OSError):
        return link.readlink() == port
    return False


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


@dataclass(frozen=True)
class ProbeResult:
    """What is at the other end of a port; ``baudrate`` only where there is a serial line."""

    url: str
    baudrate: int | None
    ezsp_version: int
    firmware: str | None
    manufacturer: str | None
    board: str | None
    eui64: Eui64
    network: Network | None

    @property
    def is_usable(self) -> bool:
        """Whether a hub can run on it."""
        return self.ezsp_version >= LOWEST_EZSP


LOWEST_EZSP = 4
"""The oldest version that bellows speaks. What is newer than it knows it takes for the newest it knows."""


async def probe(url: str) -> ProbeResult:
    """Say what answers at ``url``. Starts the network that the dongle holds, and changes nothing else.

    Raises:
        OurError: if the URL cannot be.
        SurroundingsError: if nothing usable answers.
    """
    parsed = RadioUrl.parse(url)
    is_port = parsed.path.startswith("/")
    rates = BAUD_RATES if is_port and parsed.baudrate is None else (parsed.baudrate,)
    async with _explained(url, parsed):
        for baudrate in rates[:-1]:
            with contextlib.suppress(*_DEAD):
                return await _probe_at(url, parsed, baudrate)
        return await _probe_at(url, parsed, rates[-1])


async def _probe_at(url: str, parsed: RadioUrl, baudrate: int | None) -> ProbeResult:
    ezsp = bellows.ezsp.EZSP(_device_config(RadioUrl(parsed.path, baudrate, parsed.flow_control)))
    await ezsp.connect(use_thread=False)
    try:
        manufacturer, board, firmware = await ezsp.get_board_info()
        (address,) = await ezsp.getEui64()
        eui64 = Eui64.from_wire(address.serialize())
        return ProbeResult(
            url, baudrate, ezsp.ezsp_version, firmware, manufacturer, board, eui64, await _stored(ezsp, eui64)
        )
    finally:
        await ezsp.disconnect()


async def _stored(ezsp: bellows.ezsp.EZSP, eui64: Eui64) -> Network | None:
    (state,) = await ezsp.networkState()
    if state != ezsp_types.EmberNetworkStatus.JOINED_NETWORK:
        with ezsp.wait_for_stack_status(ezsp_types.sl_Status.NETWORK_UP) as up:
            if await ezsp.initialize_network() != ezsp_types.sl_Status.OK:
                return None
            async with asyncio.timeout(10):
                await up
    status, _, parameters = await ezsp.getNetworkParameters()
    if ezsp_types.sl_Status.from_ember_status(status) != ezsp_types.sl_Status.OK:
        return None
    return Network(
        eui64,
        Eui64.from_wire(parameters.extendedPanId.serialize()),
        int(parameters.panId),
        int(parameters.radioChannel),
    )
