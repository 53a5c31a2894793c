"""The attributes by which others can see where a device stands (ZCL7 11.10). All are read-only."""

from __future__ import annotations

from enum import IntEnum

from ota.client_flash import Flash
from ota.client_settings import ClientSettings, Identity
from ota.client_states import State
from ota.eui64 import Eui64
from ota.image import Header


class Attribute(IntEnum):
    """Their ids."""

    UPGRADE_SERVER_ID = 0x0000
    FILE_OFFSET = 0x0001
    CURRENT_FILE_VERSION = 0x0002
    CURRENT_ZIGBEE_STACK_VERSION = 0x0003
    DOWNLOADED_FILE_VERSION = 0x0004
    DOWNLOADED_ZIGBEE_STACK_VERSION = 0x0005
    IMAGE_UPGRADE_STATUS = 0x0006
    MANUFACTURER_ID = 0x0007
    IMAGE_TYPE_ID = 0x0008
    MINIMUM_BLOCK_PERIOD = 0x0009
    IMAGE_STAMP = 0x000A
    UPGRADE_ACTIVATION_POLICY = 0x000B
    UPGRADE_TIMEOUT_POLICY = 0x000C
    CLUSTER_REVISION = 0xFFFD


def attributes_of(
    settings: ClientSettings,
    identity: Identity,
    state: State,
    flash: Flash,
    *,
    period: int,
    server: Eui64 | None,
) -> dict[int, int]:
    """Every attribute by its id.

    What is about a file is about the one being taken, or else the newest that is whole; where there is none,
    all bits are set.

    ``period`` is the minimum block period in force, in the unit of the cluster revision; ``server`` is whom
    the device asks, once it knows.
    """
    newest = flash.files[-1:]
    downloaded = Header.parse(newest[0].data) if newest else None
    concerns = flash.holds or (None if downloaded is None else downloaded.key)
    return {
        Attribute.UPGRADE_SERVER_ID: 0xFFFFFFFFFFFFFFFF if server is None else server,
        Attribute.FILE_OFFSET: 0xFFFFFFFF if flash.holds is None else len(flash.data),
        Attribute.CURRENT_FILE_VERSION: identity.file_version,
        Attribute.CURRENT_ZIGBEE_STACK_VERSION: identity.stack_version,
        Attribute.DOWNLOADED_FILE_VERSION: 0xFFFFFFFF if downloaded is None else downloaded.file_version,
        Attribute.DOWNLOADED_ZIGBEE_STACK_VERSION: 0xFFFF if downloaded is None else downloaded.stack_version,
        Attribute.IMAGE_UPGRADE_STATUS: state.value,
        Attribute.MANUFACTURER_ID: identity.manufacturer,
        Attribute.IMAGE_TYPE_ID: 0xFFFF if concerns is None or state is State.NORMAL else concerns.image_type,
        Attribute.MINIMUM_BLOCK_PERIOD: period,
        Attribute.IMAGE_STAMP: identity.image_stamp,
        Attribute.UPGRADE_ACTIVATION_POLICY: int(settings.out_of_band_only),
        Attribute.UPGRADE_TIMEOUT_POLICY: int(not settings.apply_after_timeout),
        Attribute.CLUSTER_REVISION: settings.cluster_revision,
    }
