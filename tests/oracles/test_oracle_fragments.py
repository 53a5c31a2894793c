"""Wireshark puts long messages of ours together, in both directions, and agrees with what was sent.

Hub and devices cut and reassemble with the same code, so what fits it proves little; Wireshark's is another.
"""

import asyncio
import random
from pathlib import Path

import pytest
from dongle_house import CODE, DEVICE_ENDPOINT, NETWORK, PPMID, DongleHouse, Ears, registered, start
from house_radio import HeardFacts, hub_in
from node_neighbourhood import NETWORK_KEY, Neighbourhood, install_code_key

import han.sim  # noqa: F401 - registers sim://
from han.coordinator import SecuritySettings
from han.fragments import FragmentSettings
from han.security.install_code import link_key
from han.sim.air.capture import KeyFile, PcapWriter
from han.sim.air.medium import Clear, Lossy, Sniffed
from han.sim.air.timeline import Timeline
from han.sim.home import read_home
from han.sim.house import House
from han.sim.node.service import SendRequest, SendStatus
from han.zcl import SMART_ENERGY_PROFILE, TUNNELLING_CLUSTER, TransferData, encode_tunnel

pytestmark = pytest.mark.oracle

HOMES = Path(__file__).parents[2] / "fixtures" / "homes"
EPOCH = 1_767_571_200
UNKNOWN_CLUSTER = 0xFC42
"""Nobody's: behind the ZCL header Wireshark shows the octets as they are."""
ZCL_HEADER = bytes.fromhex("010100")


def gbcs(number: int) -> bytes:
    """A message of the size that GBCS sends, in a tunnel."""
    data = random.Random(number).randbytes(1200)
    return encode_tunnel(TransferData(number, data, from_server=number % 2 == 0), number)


def reassembled(tshark, capture, keys, where: str = "") -> list[tuple[str, str, str]]:
    """Source, length and payload of every message that Wireshark put together."""
    rows = tshark.rows(
        capture,
        ["wpan.src16", "zbee_aps.reassembled.length", "data.data"],
        keys=keys,
        where="zbee_aps.reassembled.length" + where,
    )
    return [
        (row["wpan.src16"][0], row["zbee_aps.reassembled.length"][0], row["data.data"][-1]) for row in rows
    ]


class Recording:
    """What a sniffer kept of an air."""

    def __init__(self, folder) -> None:
        self.capture, self.keys = folder / "air.pcap", folder / "air.keys"
        self._file = self.capture.open("wb")
        self._writer = PcapWriter(self._file, 15, epoch=EPOCH)

    def of(self, path):
        """The path, listened to."""
        return Sniffed(path, lambda flight: self._writer.write(flight.start, flight.psdu))

    def end(self, *keys: bytes) -> None:
        self._file.close()
        with KeyFile(self.keys) as file:
            for number, key in enumerate(keys):
                file.add(key, f"key {number}")


@pytest.fixture
def recording(tmp_path):
    return Recording(tmp_path)


def between_nodes(recording, *, secured: bool, loss: float, window: int):
    """Long messages between two nodes that fragment by themselves; what was sent, and by whom."""
    street = Neighbourhood(7)
    street.fragments = FragmentSettings(window=window)
    street.air.path = recording.of(Clear())
    hub, device = street.hub(), street.node("ppmid")
    assert street.join(hub, device).ok
    street.air.path = recording.of(Lossy(Clear(), loss, 7) if loss else Clear())
    sent = []
    for number in range(6):
        sender, to = (device, hub) if number % 2 else (hub, device)
        payload = ZCL_HEADER + random.Random(number).randbytes(1200 - number)
        statuses = []
        request = SendRequest(
            to.nwk, SMART_ENERGY_PROFILE, UNKNOWN_CLUSTER, 1, 1, payload, aps_security=secured
        )
        sender.send(request, statuses.append)
        street.run_until(lambda statuses=statuses: bool(statuses))
        assert statuses == [SendStatus.OK]
        sent.append((sender.nwk, payload))
    recording.end(NETWORK_KEY, install_code_key(device.eui64 & 0xFF))
    return street, sent


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("secured", [False, True], ids=["network key", "link key"])
def test_wireshark_puts_together_what_nodes_cut(tshark, recording, secured, loss, window):
    street, sent = between_nodes(recording, secured=secured, loss=loss, window=window)

    assert tshark.faults(recording.capture, recording.keys) == []
    found = reassembled(tshark, recording.capture, recording.keys)
    assert list(dict.fromkeys(found)) == [
        (f"0x{nwk:04x}", str(len(payload)), payload[3:].hex()) for nwk, payload in sent
    ]
    facts = [fact.size for fact in street.heard if fact.what == "aps.reassembled"]
    assert [str(size) for size in facts] == [length for _, length, _ in dict.fromkeys(found)]


def test_wireshark_reads_counts_indices_and_acknowledgements_as_we_mean_them(tshark, recording):
    between_nodes(recording, secured=True, loss=0.0, window=3)
    rows = tshark.rows(
        recording.capture,
        ["zbee_aps.type", "zbee_aps.fragmentation", "zbee_aps.block", "zbee_aps.block_acks"],
        keys=recording.keys,
        where="zbee_aps.fragmentation",
    )
    kinds = {"0": "data", "2": "ack"}
    seen = [
        (
            kinds[str(int(row["zbee_aps.type"][0], 0))],
            int(row["zbee_aps.fragmentation"][0], 0),
            int((row["zbee_aps.block"] or ["-1"])[0], 0),
            [int(bits, 0) for bits in row["zbee_aps.block_acks"]],
        )
        for row in rows
    ]

    assert seen[:4] == [("data", 1, 20, []), ("data", 2, 1, []), ("data", 2, 2, []), ("ack", 1, 0, [0xFF])]
    assert seen[4:8] == [("data", 2, 3, []), ("data", 2, 4, []), ("data", 2, 5, []), ("ack", 2, 3, [0xFF])]


async def between_hub_and_device(recording, ezsp: int, *, secured: bool) -> list[tuple[int, bytes]]:
    """GBCS-sized messages of hub and device, over the dongle; what was sent, and by whom."""
    with registered(DongleHouse(ezsp=ezsp, path=recording.of(Clear()))) as house:
        ears = Ears()
        security = SecuritySettings(
            link_keys=lambda _: link_key(CODE) if secured else None, require_key_establishment=secured
        )
        hub = await start(house, ears, security=security)
        node = house.new_device()
        await hub.admit(PPMID, CODE, "PPMID")
        await house.join(node, link_key(CODE))
        await asyncio.sleep(2)
        heard = []
        node.on_message = heard.append
        for number in range(4):
            if number % 2 == 0:
                await hub.send(PPMID, TUNNELLING_CLUSTER, gbcs(number))
                continue
            done = asyncio.get_running_loop().create_future()
            request = SendRequest(
                0,
                SMART_ENERGY_PROFILE,
                TUNNELLING_CLUSTER,
                DEVICE_ENDPOINT,
                1,
                gbcs(number),
                aps_security=secured,
            )
            house.pump.wake()
            node.send(request, done.set_result)
            house.pump.wake()
            assert await done is SendStatus.OK
        await asyncio.sleep(1)
        nwk = node.nwk
        await hub.close()
    assert [message.payload for message in heard] == [gbcs(0), gbcs(2)]
    assert [payload for _, _, payload, _ in ears.messages] == [gbcs(1), gbcs(3)]
    recording.end(NETWORK.network_key, link_key(CODE))
    return [(nwk if number % 2 else 0x0000, gbcs(number)) for number in range(4)]


async def test_wireshark_puts_together_a_key_establishment_that_four_hops_cut(rebound, tshark, recording):
    loop = asyncio.get_running_loop()
    house = House(read_home(str(HOMES / "four-hops.toml")), timeline=Timeline(loop.time()))
    heard = HeardFacts(house.facts)
    with recording.capture.open("wb") as file, KeyFile(recording.keys) as keys:
        house.capture(file)
        house.write_keys(keys)
        async with hub_in(house, source_routing=True) as hub:
            for device in house.devices.values():
                us = device.description
                await hub.coordinator.admit(us.eui64, us.install_code, us.kind.value)
                device.power_on()
                await heard.wait_for("device.attached", device.name, 300.0)
            await asyncio.sleep(120)
            house.pump.wake()
            house.devices["ppmid"]._messenger.send(bytes(1200))
            house.pump.wake()
            await heard.wait_for("tunnel.delivered", "ppmid", 60.0)
            await hub.coordinator.establish(house.devices["ppmid"].eui64)
            await heard.wait_for("keys.established", "hub", 120.0)

    assert tshark.faults(recording.capture, recording.keys) == []
    rows = tshark.rows(
        recording.capture,
        ["zbee_aps.reassembled.length", "zbee_nwk.relay.count", "zbee_zcl_se.ke.cmd.srv_rx.id"],
        keys=recording.keys,
        where="zbee_aps.reassembled.length && zbee_aps.cluster == 0x0800",
    )
    # Initiate Key Establishment of suite 2, put together where its last fragment is first seen.
    assert [list(row.values()) for row in rows] == [[["81"], ["3"], ["0x00"]]]


@pytest.mark.parametrize("secured", [False, True], ids=["network key", "link key"])
@pytest.mark.parametrize("ezsp", [13, 17])
async def test_wireshark_puts_together_what_hub_and_device_cut_through_the_dongle(
    rebound, tshark, recording, ezsp, secured
):
    sent = await between_hub_and_device(recording, ezsp, secured=secured)

    assert tshark.faults(recording.capture, recording.keys) == []
    found = reassembled(tshark, recording.capture, recording.keys, " && zbee_zcl_se.tun.tunnel_id")
    # Behind the ZCL header and the tunnel's number Wireshark shows the data as they are.
    assert found == [(f"0x{nwk:04x}", str(len(zcl)), zcl[5:].hex()) for nwk, zcl in sent]
