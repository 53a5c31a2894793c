"""Damage to octets, for tests that throw a lot of it at something."""

import random


def mutated(octets: bytes, dice: random.Random) -> bytes:
    """Bits turned, octets put in, taken out, or the end cut off."""
    damaged = bytearray(octets)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(damaged) + 1)
        match dice.randrange(4):
            case 0 if at < len(damaged):
                damaged[at] ^= 1 << dice.randrange(8)
            case 1:
                damaged[at:at] = dice.randbytes(dice.randint(1, 3))
            case 2:
                del damaged[at : at + dice.randint(1, 3)]
            case _:
                del damaged[at:]
    return bytes(damaged)
