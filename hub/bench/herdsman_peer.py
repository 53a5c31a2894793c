"""The same download from zigbee-herdsman's OTA session with its defaults, under Node.js, in real time.

The script is the one that the tests use, in a checkout of this project; herdsman is what npm installed beside
it. Herdsman sends a block each 250 ms, whatever the air would take, so a whole image takes an hour: a small
one is measured instead, and the rest reckoned from its seconds for an octet.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from han.clock import run
from han.sim.air.capture import read_keys, read_pcap
from hub.bench.download import Outcome, Stopwatch
from hub.bench.exchanges import block_requests
from hub.bench.head_end import Watch
from hub.bench.processes import run_program, serve_house
from hub.bench.setup import Setup

SCRIPT = Path(__file__).parents[2] / "tests" / "oracles" / "herdsman" / "ota.mjs"
REQUEST_TIMEOUT = "150"
"""Seconds; herdsman's own default."""


def missing() -> str:
    """What is not here that herdsman needs; empty if nothing."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    if not SCRIPT.exists():
        return "tests/oracles/herdsman is not here: this is no checkout"
    if not (SCRIPT.parent / "node_modules" / "zigbee-herdsman").exists():
        return "zigbee-herdsman is not installed: npm ci in tests/oracles/herdsman"
    return ""


def measure_herdsman(setup: Setup) -> Outcome:
    """The download of ``setup`` from herdsman, with an ear on the air; ``virtual`` is in real seconds.

    Raises:
        SurroundingsError: if herdsman does not come to a good end.
    """
    with TemporaryDirectory(prefix="gbhan-bench-") as name:
        return run(_herdsman(setup, Path(name)))


async def _herdsman(setup: Setup, folder: Path) -> Outcome:
    capture, keys, image = folder / "air.pcap", folder / "air.keys", folder / "image.ota"
    image.write_bytes(setup.image())
    (device,) = setup.home().devices
    async with serve_house(setup, folder, "--pcap", str(capture), "--keys", str(keys)) as house:
        stopwatch, watch = Stopwatch(), Watch(house.facts)
        house.facts.subscribe(stopwatch.hear)
        code = bytes(device.install_code).hex()
        url = await house.url()
        arguments = (url, str(folder / "herdsman"), str(device.eui64), code, str(image))
        await run_program("node", str(SCRIPT), *arguments, "--within", REQUEST_TIMEOUT)
        await watch.until(device.name, "ota.complete")
    with capture.open("rb") as file:
        asked = block_requests(read_pcap(file), [key for key, _ in read_keys(keys)])
    return stopwatch.outcome(tuple(asked), 0)
