"""The lab's parties as files: certificates and keys for whoever checks GBCS messages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from han.gbcs.parties import Purpose, authority_certificate, lab_party
from han.private_file import write_private
from hub.errors import SurroundingsError
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
