"""The test authority that comes with gbhan: its private keys stand in this file for everybody to see.

Whoever has this file can make a certificate for any device, so its certificates prove nothing outside a
simulation or a closed laboratory. A production device trusts another authority and refuses them.
"""

from __future__ import annotations

import random
from functools import cache
from hashlib import sha512
from typing import Final

from han.security.certificate import Authority, Credentials, draft
from han.security.key_pair import KeyPair
from han.security.suite import Suite
from ota.eui64 import Eui64

LAB_ISSUER: Final = Eui64.parse("67-62-68-61-6E-00-CA-01")
"""Who issues them: ``gbhan``, and a number. No registered address begins with these octets."""


@cache
def lab_authority(suite: Suite) -> Authority:
    """The test authority of a suite: the same on every machine."""
    seed = sha512(f"gbhan test authority, {suite}, not secret".encode()).digest()
    return Authority(suite, LAB_ISSUER, KeyPair.of(suite.curve, int.from_bytes(seed, "big")))


@cache
def lab_credentials(subject: Eui64, suite: Suite = Suite.TWO) -> Credentials:
    """What a simulated device proves itself with: the same for the same EUI-64, so that runs repeat."""
    dice = random.Random(f"gbhan test certificate {suite} {subject}")
    return lab_authority(suite).enrol(draft(suite, subject), dice)
