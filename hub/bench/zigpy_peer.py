"""The same download from zigpy's own OTA manager, on bellows, both as they are, on the same virtual dongle.

zigpy knows no Smart Energy: its devices speak Home Automation, under NWK security.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import zigpy.config
import zigpy.device
import zigpy.types
import zigpy.util
from bellows.zigbee.application import ControllerApplication
from zigpy.ota import OtaImageWithMetadata
from zigpy.ota.image import OTAImage
from zigpy.ota.providers import BaseOtaImageMetadata
from zigpy.zcl import foundation

from han.sim.home import DeviceDescription
from hub.bench.setup import CHANNEL, IMAGE_TYPE, MANUFACTURER, NEW
from hub.errors import SurroundingsError

PATIENCE = 300.0
"""Seconds until a device must have joined and told all about itself."""


class ZigpyHost:
    """A zigpy application with one device, which has been let in and interviewed."""

    def __init__(self, app: Any, device: DeviceDescription) -> None:  # noqa: ANN401 - zigpy carries no types for us
        self._app = app
        self._ieee = zigpy.types.EUI64.deserialize(device.eui64.wire)[0]

    async def update(self, image: bytes, progress: Callable[[int, int, float], None] | None = None) -> None:
        """Run zigpy's OTA manager to its end; ``progress`` hears octets served, octets in all, and percent.

        Raises:
            SurroundingsError: if it does not end well.
        """
        about = BaseOtaImageMetadata(file_version=NEW, manufacturer_id=MANUFACTURER, image_type=IMAGE_TYPE)
        firmware = OtaImageWithMetadata(metadata=about, firmware=OTAImage.deserialize(image)[0])
        status = await self._app.get_device(self._ieee).update_firmware(firmware, progress)
        if status is not foundation.Status.SUCCESS:
            raise SurroundingsError(f"zigpy's update ended with {status!r}")


@asynccontextmanager
async def open_zigpy(
    url: str, device: DeviceDescription, switch_on: Callable[[], None] = lambda: None
) -> AsyncIterator[ZigpyHost]:
    """Form a network on the dongle at ``url`` and let the device in, whose power ``switch_on`` turns on."""
    config = {
        zigpy.config.CONF_DEVICE: {zigpy.config.CONF_DEVICE_PATH: url},
        "use_thread": False,  # a thread of its own would not be on the loop whose clock is turned
        zigpy.config.CONF_NWK: {zigpy.config.CONF_NWK_CHANNEL: CHANNEL},
        zigpy.config.CONF_OTA: {zigpy.config.CONF_OTA_ENABLED: False},  # its providers ask the internet
        zigpy.config.CONF_TOPO_SCAN_ENABLED: False,
        zigpy.config.CONF_NWK_BACKUP_ENABLED: False,
    }
    # Forming resets the dongle, which bellows does not tell its endpoints again: form first, then begin.
    former = await ControllerApplication.new(config, auto_form=True, start_radio=True)
    await former.shutdown()
    async with AsyncExitStack() as stack:
        app = await ControllerApplication.new(config, auto_form=False, start_radio=True)
        stack.push_async_callback(app.shutdown)
        newcomer = _Newcomer()
        app.add_listener(newcomer)
        host = ZigpyHost(app, device)
        code = zigpy.util.convert_install_code(bytes(device.install_code))
        await app.permit_with_link_key(host._ieee, code, time_s=254)  # noqa: SLF001 - its own host
        switch_on()
        async with asyncio.timeout(PATIENCE):
            await newcomer.is_known.wait()
        yield host


class _Newcomer:
    """A listener of zigpy's that waits for a device's interview to end."""

    def __init__(self) -> None:
        self.is_known = asyncio.Event()

    def device_initialized(self, _device: zigpy.device.BaseDevice) -> None:
        """Called by zigpy."""
        self.is_known.set()
