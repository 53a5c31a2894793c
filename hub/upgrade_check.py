"""Everything that is wrong with an upgrade file of either kind: GB's, or plain Zigbee with sub-elements."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from han.security.certificate import Root
from han.security.errors import SignatureError
from han.security.ota_integrity import check_integrity_code
from han.security.ota_signature import verify
from han.security.suite import Suite
from ota.eui64 import Eui64
from ota.gbcs_image import Layout
from ota.gbcs_image import check as check_gbcs
from ota.image import Finding, ImageFormatError
from ota.image import check as check_header


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose word counts; what is left out is not asked for."""

    supplier: EllipticCurvePublicKey | None = None
    """Whose authorisation a GB file must carry."""
    roots: Mapping[Suite, Root] = field(default_factory=dict)
    """Authorities by whose certificates a file with sub-elements must be signed."""
    signers: Collection[Eui64] | None = None
    """Who may sign such a file; anybody with a certificate, if None."""


NOBODY = Trust()


def check_any(data: bytes, layout: Layout | None, trust: Trust = NOBODY) -> list[Finding]:
    """What is wrong with a file; a layout of None stands for sub-elements."""
    findings = check_header(data)
    if findings:
        return findings
    if layout is not None:
        return check_gbcs(data, layout, trust.supplier)
    try:
        findings = check_integrity_code(data)
        if trust.roots:
            verify(data, trust.roots, trust.signers)
    except ImageFormatError as error:
        return [Finding(error.field, error.problem)]
    except SignatureError as error:
        findings.append(Finding("signature", str(error)))
    return findings
