"""Wireshark follows an image over four hops: every frame opens, and relays, routes and records agree."""

from __future__ import annotations

import asyncio

import pytest
from house_radio import HeardFacts, hub_in
from mesh_world import image, move_in, new_house

from han.clock import rebind_for_simulation, virtual_loop_factory
from han.sim.air.capture import KeyFile

pytestmark = pytest.mark.oracle


class Recording:
    """A house of four hops that was moved into, became source-routed, and updated its PPMID."""

    def __init__(self, folder, loss):
        self.capture, self.keys = folder / "mesh.pcap", folder / "mesh.keys"
        self.loss = loss
        self.addresses = {}

    async def live(self):
        house = new_house("four-hops.toml", loss=self.loss)
        heard = HeardFacts(house.facts)
        with self.capture.open("wb") as file, KeyFile(self.keys) as keys:
            house.capture(file)
            house.write_keys(keys)
            async with hub_in(house, source_routing=True) as hub:
                await move_in(house, heard, hub)
                await asyncio.sleep(90.0)
                self.addresses = {name: device.node.nwk for name, device in house.devices.items()}
                hub.offer(image(house, 6000).to_bytes(), house.devices["ppmid"].eui64)
                await heard.wait_for("device.activated", "ppmid")


@pytest.fixture(scope="module", params=[0.0, 0.05], ids=["clear", "lossy"])
def recorded(request, tmp_path_factory):
    recording = Recording(tmp_path_factory.mktemp("mesh"), request.param)
    with rebind_for_simulation(seed=7), asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
        runner.run(recording.live())
    return recording


def test_wireshark_opens_every_frame_of_four_hops(recorded, tshark):
    assert tshark.faults(recorded.capture, recorded.keys) == []


def test_wireshark_reads_the_relays_from_records_and_routes_alike(recorded, tshark):
    names = ("stairs", "landing", "hall")
    relays = [f"0x{recorded.addresses[name]:04x}" for name in names]
    ppmid = f"0x{recorded.addresses['ppmid']:04x}"

    # A record grows by one relay on each hop; what the last hop carries is the whole way.
    records = tshark.rows(
        recorded.capture,
        ["zbee_nwk.cmd.relay_device"],
        keys=recorded.keys,
        where=f"zbee_nwk.cmd.id == 0x05 && zbee_nwk.src == {ppmid} && wpan.dst16 == 0x0000",
    )
    assert {tuple(row["zbee_nwk.cmd.relay_device"]) for row in records} == {tuple(relays)}

    routed = tshark.rows(
        recorded.capture,
        ["zbee_nwk.relay", "zbee_nwk.relay.index", "wpan.dst16"],
        keys=recorded.keys,
        where=f"zbee_nwk.dst == {ppmid} && zbee_nwk.relay.count == 3",
    )
    hops = {
        (
            tuple(f"0x{int(relay):04x}" for relay in row["zbee_nwk.relay"]),
            row["zbee_nwk.relay.index"][0],
            row["wpan.dst16"][0],
        )
        for row in routed
    }
    assert hops == {
        (tuple(relays), "2", relays[2]),
        (tuple(relays), "1", relays[1]),
        (tuple(relays), "0", relays[0]),
        (tuple(relays), "0", ppmid),
    }


def test_wireshark_sees_each_hop_sealed_by_its_own_router_with_a_counter_that_grows(recorded, tshark):
    rows = tshark.rows(
        recorded.capture,
        ["zbee.sec.src64", "zbee.sec.counter", "wpan.src16", "wpan.seq_no", "zbee_nwk.radius"],
        keys=recorded.keys,
        where="zbee_nwk.security == 1 && wpan.frame_type == 1",
    )
    sealers, last = {}, {}
    for row in rows:
        # The network layer's auxiliary header is the first; one of the APS layer may follow.
        sealer, counter = row["zbee.sec.src64"][0], int(row["zbee.sec.counter"][0])
        assert sealers.setdefault(row["wpan.src16"][0], sealer) == sealer
        sequence = row["wpan.seq_no"][0]
        previous = last.get(sealer, (-1, ""))
        assert counter > previous[0] or (counter, sequence) == previous
        last[sealer] = (counter, sequence)
    assert len(sealers) == 5


def test_wireshark_sees_every_command_of_a_mesh(recorded, tshark):
    rows = tshark.rows(recorded.capture, ["zbee_nwk.cmd.id"], keys=recorded.keys, where="zbee_nwk.cmd.id")
    seen = {int(row["zbee_nwk.cmd.id"][0], 16) for row in rows}
    assert {0x01, 0x02, 0x05, 0x08} <= seen  # route request, reply, record; link status
