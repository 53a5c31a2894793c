"""Which messages of Smart Energy need a link key."""

from __future__ import annotations

import pytest

from han.clusters import PROTECTED_CLUSTERS, needs_link_key
from han.zcl import BASIC_CLUSTER, KEY_ESTABLISHMENT_CLUSTER, OTA_CLUSTER
from ota.commands import ImageNotify, QueryNextImageRequest

IDENTIFY_CLUSTER = 0x0003


@pytest.mark.parametrize("cluster", sorted(PROTECTED_CLUSTERS))
def test_a_protected_cluster_needs_a_link_key_for_its_own_and_for_global_commands(cluster):
    assert needs_link_key(cluster, command_id=0x01)
    assert needs_link_key(cluster)


@pytest.mark.parametrize("cluster", [BASIC_CLUSTER, IDENTIFY_CLUSTER, KEY_ESTABLISHMENT_CLUSTER])
def test_what_a_device_has_to_say_before_it_has_a_key_needs_none(cluster):
    assert not needs_link_key(cluster, command_id=0x00)


def test_an_image_notify_to_everybody_needs_no_link_key_but_one_to_a_device_does():
    notify = ImageNotify.COMMAND_ID

    assert not needs_link_key(OTA_CLUSTER, command_id=notify, broadcast=True)
    assert needs_link_key(OTA_CLUSTER, command_id=notify)


def test_nothing_else_to_everybody_goes_without():
    assert needs_link_key(OTA_CLUSTER, command_id=QueryNextImageRequest.COMMAND_ID, broadcast=True)
    assert needs_link_key(OTA_CLUSTER, command_id=None, broadcast=True)
    assert needs_link_key(0x0700, command_id=ImageNotify.COMMAND_ID, broadcast=True)
