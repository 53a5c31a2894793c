"""Wireshark follows a small network of simulated nodes: each frame is whole, in order, and can be opened."""

import random

import pytest

from han.facts import Facts
from han.security.install_code import link_key, with_crc
from han.sim.air.capture import KeyFile, PcapWriter
from han.sim.air.medium import Air, Clear, Lossy, Sniffed
from han.sim.air.timeline import Timeline
from han.sim.node.node import Node
from han.sim.node.service import NetworkParameters, SendRequest, SimpleDescriptor
from ota.eui64 import Eui64

pytestmark = pytest.mark.oracle

NETWORK_KEY = bytes(range(0x40, 0x50))
CODE = with_crc(bytes(range(16)))
IMAGE_NOTIFY = bytes.fromhex("0901000064")
MESSAGES = 20


class House:
    """A coordinator and two devices on one sniffed air."""

    def __init__(self, folder, loss):
        self.capture, self.keys = folder / "house.pcap", folder / "house.keys"
        self.timeline = Timeline()
        self.file = self.capture.open("wb")
        writer = PcapWriter(self.file, 15, epoch=1_767_571_200)
        path = Lossy(Clear(), rate=loss, seed=7) if loss else Clear()
        self.air = Air(self.timeline, Sniffed(path, lambda flight: writer.write(flight.start, flight.psdu)))
        self.facts = Facts(lambda: self.timeline.now)
        self.hub = self.node("hub", 1, 0x8F)
        self.devices = [self.node("ppmid", 2, 0x8E), self.node("hcalcs", 3, 0x8C)]
        with KeyFile(self.keys) as keys:
            keys.add(NETWORK_KEY, "network key")
            keys.add(link_key(CODE), "link key")

    def node(self, name, number, capability):
        node = Node(
            eui64=Eui64(0x00DB123456789000 + number),
            air=self.air,
            timeline=self.timeline,
            dice=random.Random(f"{name} 7"),
            facts=self.facts,
            name=name,
            capability=capability,
        )
        node.endpoints[1] = SimpleDescriptor(0x0109, 0x0502, 0, (0x0000,), (0x0019,))
        return node

    def run(self, seconds):
        self.timeline.run(self.timeline.now + seconds)

    def live(self):
        """Form, let both devices join, and send each some messages, a part of them with APS security."""
        self.hub.form(NetworkParameters(15, 0x1A62, Eui64(0x00DB1234567890FF), NETWORK_KEY))
        self.hub.permit(255)
        for device in self.devices:
            self.hub.trust.transient[device.eui64] = link_key(CODE)
            results = []
            while not (results and device.nwk is not None):
                results.clear()
                device.join(link_key(CODE), results.append, (15,))
                self.run(30)
        for number in range(MESSAGES):
            for device in self.devices:
                request = SendRequest(
                    device.nwk,
                    0x0109,
                    0x0019,
                    1,
                    1,
                    IMAGE_NOTIFY,
                    aps_ack=True,
                    aps_security=number % 2 == 1,
                )
                self.hub.send(request, lambda _: None)
            self.run(10)
        self.file.close()


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_wireshark_opens_every_frame_of_a_network_of_simulated_nodes(tshark, tmp_path, loss):
    house = House(tmp_path, loss)
    house.live()

    assert tshark.faults(house.capture, house.keys) == []
    secured = tshark.rows(
        house.capture,
        ["zbee.sec.src64", "zbee.sec.counter", "wpan.seq_no", "zbee_nwk.seqno"],
        keys=house.keys,
        where="zbee_nwk.security == 1",
    )
    assert len(secured) >= 4 * MESSAGES

    last = {}
    for row in secured:
        sender, counter, frame = row["zbee.sec.src64"][0], int(row["zbee.sec.counter"][0]), row["wpan.seq_no"]
        # A MAC retry repeats the octets; everything else has a counter never seen before.
        previous = last.get(sender, (-1, ""))
        assert counter > previous[0] or (counter, frame) == previous
        last[sender] = (counter, frame)


def test_wireshark_sees_each_message_once_a_counter_and_acknowledged(tshark, tmp_path):
    house = House(tmp_path, loss=0.0)
    house.live()
    notifies = tshark.rows(
        house.capture,
        ["zbee_aps.counter", "wpan.dst16", "zbee_aps.security"],
        keys=house.keys,
        where="zbee_zcl_general.ota.query_jitter",
    )
    acks = tshark.rows(
        house.capture,
        ["zbee_aps.counter", "wpan.src16"],
        keys=house.keys,
        where="zbee_aps.type == 2 && zbee_aps.cluster == 0x0019",
    )

    assert len(notifies) == 2 * MESSAGES
    assert sorted((row["zbee_aps.counter"], row["wpan.dst16"]) for row in notifies) == sorted(
        (row["zbee_aps.counter"], row["wpan.src16"]) for row in acks
    )
    assert [row["zbee_aps.security"][0] for row in notifies].count("1") == MESSAGES
