"""Parties as files: the lab's certificates and keys, and the certificates of others to check messages by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import Certificate, load_pem_x509_certificate

from han.gbcs.parties import Purpose, authority_certificate, lab_party
from han.private_file import write_private
from hub.errors import OurError, SurroundingsError
from ota.eui64 import Eui64

AUTHORITY_FILE: Final = "authority.pem"


def write_parties(folder: Path, parties: Iterable[Eui64], *, private: bool = False) -> list[Path]:
    """Write the authority's certificate, and two for each party: ``<eui64>-signing.pem``, ``-agreement.pem``.

    With ``private`` also ``.key`` files (PKCS 8), for their owner alone although they are no secret: tools
    complain otherwise.

    Raises:
        SurroundingsError: if the folder cannot be written to.
    """
    certificates = {AUTHORITY_FILE: authority_certificate()}
    keys = {}
    for eui64 in parties:
        party = lab_party(eui64)
        for purpose in Purpose:
            stem = f"{eui64.hex}-{purpose.name.lower()}"
            certificates[f"{stem}.pem"] = party.certificate(purpose)
            keys[f"{stem}.key"] = party.key(purpose)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, certificate in certificates.items():
            (folder / name).write_bytes(certificate.public_bytes(Encoding.PEM))
            written.append(folder / name)
    except OSError as error:
        raise SurroundingsError(f"{folder} cannot be written to: {error.strerror}") from error
    for name, key in keys.items() if private else ():
        octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(folder / name, octets.decode("ascii"))
        written.append(folder / name)
    return written


def read_parties(folder: Path, purpose: Purpose) -> dict[Eui64, EllipticCurvePublicKey]:
    """The public keys of one purpose, by party, from a folder laid out as `write_parties` does it.

    Where the authority's certificate lies beside them, each must have been issued by it.

    Raises:
        OurError: if the folder has no such certificate, or a file is not what its name says.
    """
    try:
        files = sorted(folder.glob(f"*-{purpose.name.lower()}.pem"))
        authority_file = folder / AUTHORITY_FILE
        authority = _certificate(authority_file) if authority_file.exists() else None
        keys = {}
        for file in files:
            certificate = _certificate(file)
            if authority is not None:
                certificate.verify_directly_issued_by(authority)
            key = certificate.public_key()
            if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
                raise OurError(f"{file} is of no key on P-256, and GBCS keys are")
            keys[Eui64.parse(file.name.split("-")[0])] = key
    except OSError as error:
        raise OurError(f"{folder} cannot be read: {error.strerror}") from None
    except InvalidSignature:
        raise OurError(f"{file} was not issued by the authority of {authority_file}") from None
    except (ValueError, TypeError) as error:
        raise OurError(f"{folder}: {error}; name files EUI64-{purpose.name.lower()}.pem") from None
    if not keys:
        raise OurError(
            f"{folder} has no certificate: expected files EUI64-{purpose.name.lower()}.pem, as gbhan keys"
            " parties writes them"
        )
    return keys


def _certificate(file: Path) -> Certificate:
    try:
        return load_pem_x509_certificate(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise OurError(f"{file} is no certificate in PEM") from None
