"""What a device's one endpoint says of itself: the clusters that it serves and those that it uses."""

from __future__ import annotations

from han.clusters import KEEP_ALIVE_CLUSTER, METERING_CLUSTER, TIME_CLUSTER
from han.sim.devices.errands import ERRANDS
from han.sim.devices.kinds import Nature
from han.sim.home import DeviceDescription, Kind
from han.sim.node.service import SimpleDescriptor
from han.zcl import BASIC_CLUSTER, KEY_ESTABLISHMENT_CLUSTER, OTA_CLUSTER, TUNNELLING_CLUSTER


def descriptor(description: DeviceDescription, nature: Nature) -> SimpleDescriptor:
    """The endpoint's simple descriptor.

    Every device serves Basic and what its home file describes; all but range extenders use OTA Upgrade. Both
    ends of a tunnel are there if the kind has one, and of Key Establishment if the device has a certificate;
    then it uses what Smart Energy hubs serve, whether its own does or not. Meters serve Metering.
    """
    both: list[int] = []
    served = [BASIC_CLUSTER]
    used = [OTA_CLUSTER]
    if nature.has_tunnel:
        both.append(TUNNELLING_CLUSTER)
    if description.establishes_keys:
        both.append(KEY_ESTABLISHMENT_CLUSTER)
        used += [TIME_CLUSTER, KEEP_ALIVE_CLUSTER]
        used += [errand.cluster for errand in ERRANDS[description.kind]]
        if description.kind in (Kind.ESME, Kind.GSME):
            served.append(METERING_CLUSTER)
    served += [stub.cluster for stub in description.stub_clusters]
    return SimpleDescriptor(
        profile=nature.profile,
        device_id=nature.zigbee_device_id,
        input_clusters=_each_once(served + both),
        output_clusters=_each_once(used + both),
    )


def _each_once(clusters: list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(clusters))
