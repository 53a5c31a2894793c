"""A hub that serves images on an empty air: frames with real seals and check sequences, and nothing else."""

from itertools import cycle

from han.sim.air.rebuild import Download
from han.sim.wire import aps, mac, nwk
from ota.eui64 import Eui64

HUB = Eui64.parse("00-DB-12-34-56-78-90-A4")
PPMID = Download(destination=0x1234, manufacturer=0x10D9, image_type=0x0001, file_version=0x01020304)
GSME = Download(destination=0x5678, manufacturer=0x10D9, image_type=0x0002, file_version=0x01020305)


class House:
    """Everything the hub says, as a sniffer would hear it."""

    def __init__(self, *, aps_security=False, network_key=bytes(range(16)), link_key=b"\x77" * 16):
        self.frames = []
        self.keys = [network_key, link_key]
        self._aps_security = aps_security
        self._counter = 0

    def serve(self, download, image, *, sizes=(50,), skip=()):
        """The image in blocks of these sizes in turn, without the blocks that begin in ``skip``."""
        offset, size = 0, cycle(sizes)
        while offset < len(image):
            data = image[offset : offset + next(size)]
            if offset not in skip:
                self.answer(
                    download,
                    b"\x00"
                    + download.manufacturer.to_bytes(2, "little")
                    + download.image_type.to_bytes(2, "little")
                    + download.file_version.to_bytes(4, "little")
                    + offset.to_bytes(4, "little")
                    + bytes((len(data),))
                    + data,
                )
            offset += len(data)

    def answer(self, download, fields):
        """An Image Block Response with these octets behind its ZCL header."""
        self._counter += 1
        count = self._counter % 256
        network_key, link_key = self.keys
        message = aps.ApsFrame(
            aps.FrameType.DATA, count, 1, 0x0019, 0x0109, 1, bytes((0x19, count, 0x05)) + fields
        )
        sealed = aps.seal(message, link_key, self._counter, HUB) if self._aps_security else message.to_bytes()
        frame = nwk.NwkFrame(nwk.FrameType.DATA, download.destination, 0, 30, count, sealed)
        outer = mac.MacFrame(
            mac.FrameType.DATA,
            count,
            0x1A62,
            download.destination,
            0,
            nwk.seal(frame, network_key, 0, self._counter, HUB),
            ack_request=True,
        )
        at = self._counter * 0.02
        self.frames += [(at, outer.to_psdu()), (at + 0.005, mac.ack_psdu(count))]
