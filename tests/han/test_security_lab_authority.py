"""The test authority that comes with the package."""

import pytest

from han.security.certificate import public_key
from han.security.lab_authority import LAB_ISSUER, lab_authority, lab_credentials
from han.security.suite import Suite
from ota.eui64 import Eui64

DEVICE = Eui64.parse("00-DB-12-34-56-78-90-A4")


@pytest.mark.parametrize("suite", Suite)
def test_a_lab_certificate_names_its_device_and_its_issuer_and_yields_its_key(suite):
    credentials = lab_credentials(DEVICE, suite)

    assert credentials.certificate.subject == DEVICE
    assert credentials.certificate.issuer == LAB_ISSUER
    assert public_key(credentials.certificate, lab_authority(suite).root) == credentials.keys.public


@pytest.mark.parametrize("suite", Suite)
def test_the_lab_authority_is_the_same_on_every_machine(suite):
    key = {
        Suite.ONE: "03040fc6cf2316e483fc8d4979b65477e8d0120c6627",
        Suite.TWO: "0207dd8a4f3e4085f9196c580a519c3d90a6d8e1637bb7b8816ce1c820e7648694d1f54adf",
    }[suite]
    root = lab_authority(suite).root

    assert suite.curve.encode(root.public).hex() == key
