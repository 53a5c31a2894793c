"""The image integrity code of an upgrade file with sub-elements: an AES-MMO digest of all before it. Pure.

It is no signature: whoever changes a file can compute it anew. Which octets it covers no public text says in
full; here it is what a signature in the same file covers, everything from the first octet up to the digest
itself. A signature goes behind it, and then changes the size in the header: so a code is checked against the
header as the file would have it if it ended with the code, too.
"""

from __future__ import annotations

from dataclasses import replace

from han.security.errors import SignatureError
from han.security.mmo import mmo_hash
from ota.elements import Element, Tag, build_elements, parse_elements
from ota.image import Finding, Image

_SIZE = 16


def with_integrity_code(file: bytes) -> bytes:
    """The file with an integrity code as its last sub-element.

    Raises:
        ImageFormatError: if it is no upgrade file with sub-elements.
        SignatureError: if it has a code already, or a signature, which would not hold any more.
    """
    image = Image.read(file)
    tags = {element.tag for element in parse_elements(image.body)}
    if Tag.INTEGRITY_CODE in tags:
        raise SignatureError("the file has an integrity code already")
    if tags & {Tag.SIGNATURE_SUITE_1, Tag.SIGNATURE_SUITE_2}:
        raise SignatureError("the file is signed: an integrity code goes before the signature")
    blank = Image.build(
        image.header, image.body + build_elements([Element(Tag.INTEGRITY_CODE, bytes(_SIZE))])
    ).to_bytes()
    return blank[:-_SIZE] + mmo_hash(blank[:-_SIZE])


def check_integrity_code(file: bytes) -> list[Finding]:
    """What is wrong with a file's integrity code; nothing if it has none.

    Raises:
        ImageFormatError: if it is no upgrade file with sub-elements.
    """
    image = Image.read(file)
    at = image.header.length
    findings = []
    for element in parse_elements(image.body):
        at += 6 + len(element.data)
        if element.tag is Tag.INTEGRITY_CODE:
            before = at - _SIZE
            alone = replace(image.header, total_size=at).to_bytes() + file[image.header.length : before]
            # The second digest is only computed where the first is another: a large file takes its time.
            if element.data != mmo_hash(file[:before]) and element.data != mmo_hash(alone):
                findings.append(Finding("integrity code", "not the digest of the octets before it"))
    return findings
