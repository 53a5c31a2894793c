"""Signed upgrade files of Smart Energy, both suites: not GB's own signature, see ``ota.gbcs_image`` for that.

The signer's certificate and then the signature stand as the last two sub-elements. Signed is everything from
the first octet of the file up to r and s: header, all elements, and the signer's name within the signature.
The digest is AES-MMO for both suites.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from han.security import ecdsa
from han.security.certificate import (
    SIGNING,
    Certificate,
    Certificate74,
    Credentials,
    Root,
    parse_certificate,
    public_key,
)
from han.security.errors import CertificateError, SignatureError
from han.security.mmo import mmo_hash
from han.security.suite import Suite
from ota.elements import Element, Tag, build_elements, parse_elements
from ota.eui64 import Eui64
from ota.image import Image
from ota.status import Status

__all__ = ["Signature", "sign", "signed_digest", "verify"]

_SIGNATURE = {Suite.ONE: Tag.SIGNATURE_SUITE_1, Suite.TWO: Tag.SIGNATURE_SUITE_2}
_CERTIFICATE = {Suite.ONE: Tag.CERTIFICATE_SUITE_1, Suite.TWO: Tag.CERTIFICATE_SUITE_2}


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was found good: of which suite, by whom."""

    suite: Suite
    signer: Eui64
    certificate: Certificate


def signed_digest(file: bytes, suite: Suite) -> bytes:
    """The AES-MMO digest of what the signature at a file's end signs."""
    return mmo_hash(file[: -suite.signature_size])


def sign(file: bytes, signer: Credentials) -> bytes:
    """The file with certificate and signature behind it and its new size in the header. The same every time.

    Raises:
        ImageFormatError: if it is no upgrade file with sub-elements.
        SignatureError: if it is signed already.
        CertificateError: if the certificate is not for signing.
    """
    if not _may_sign(signer.certificate):
        raise CertificateError(f"the certificate of {signer.certificate.subject} is not for signing")
    image = Image.read(file)
    elements = parse_elements(image.body)
    if any(element.tag in _SIGNATURE.values() for element in elements):
        raise SignatureError("the file carries a signature already")
    suite, certificate = signer.suite, signer.certificate
    head = image.body + build_elements(
        (
            Element(_CERTIFICATE[suite], certificate.to_bytes()),
            Element(_SIGNATURE[suite], certificate.subject.wire + bytes(suite.signature_size)),
        )
    )
    blank = Image.build(image.header, head).to_bytes()
    return blank[: -suite.signature_size] + ecdsa.sign(signer.keys, signed_digest(blank, suite))


def verify(file: bytes, roots: Mapping[Suite, Root], signers: Collection[Eui64] | None = None) -> Signature:
    """Who signed this file.

    Args:
        file: a whole upgrade file.
        roots: the authorities that the device trusts.
        signers: who may sign; anybody whom a root names, if None.

    Raises:
        ImageFormatError: if it is no upgrade file with sub-elements.
        SignatureError: for the first rule that it breaks, in the order in which deployed devices look: one
            signature and only one, at the end; a signer that may sign; the signer's certificate, by an
            authority that we trust; a signature that matches.
    """
    elements = parse_elements(Image.read(file).body)
    found = [
        (suite, element) for element in elements for suite, tag in _SIGNATURE.items() if element.tag is tag
    ]
    if len(found) != 1:
        raise SignatureError("the file is not signed" if not found else "the file carries two signatures")
    suite, element = found[0]
    if elements[-1] is not element:
        raise SignatureError("octets stand behind the signature that it does not sign")
    signer = Eui64.from_wire(element.data[:8])
    if signers is not None and signer not in signers:
        raise SignatureError(f"{signer} is none of those who may sign")
    certificate = _certificate(elements, suite)
    if certificate.subject != signer:
        raise SignatureError(f"{signer} signed with the certificate of {certificate.subject}")
    if suite not in roots:
        raise SignatureError(f"no authority of {suite} is known here to check it with", Status.ABORT)
    if not _may_sign(certificate):
        raise SignatureError(f"the certificate of {signer} is not for signing")
    try:
        key = public_key(certificate, roots[suite])
    except CertificateError as error:
        raise SignatureError(f"the certificate of {signer}: {error}") from error
    ecdsa.check(suite.curve, key, signed_digest(file, suite), element.data[8:])
    return Signature(suite, signer, certificate)


def _certificate(elements: list[Element], suite: Suite) -> Certificate:
    found = [element for element in elements if element.tag is _CERTIFICATE[suite]]
    if len(found) != 1:
        raise SignatureError(f"{len(found)} certificates of {suite} where the signer's alone should be")
    try:
        return parse_certificate(suite, found[0].data)
    except CertificateError as error:
        raise SignatureError(f"the signer's certificate: {error}") from error


def _may_sign(certificate: Certificate) -> bool:
    return not isinstance(certificate, Certificate74) or bool(certificate.key_usage & SIGNING)
