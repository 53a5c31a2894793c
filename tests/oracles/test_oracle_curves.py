"""BouncyCastle computes what we compute on the binary curves. Others wrote it, from the same standards."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from han.security import ecdsa
from han.security.binary_curve import Point
from han.security.cbke import Party, SecretKeys
from han.security.certificate import Authority, accept, draft
from han.security.ecmqv import shared_secret
from han.security.errors import SignatureError
from han.security.key_pair import KeyPair
from han.security.mmo import mmo_hash
from han.security.suite import Suite
from ota.eui64 import Eui64

pytestmark = pytest.mark.oracle

DEVICES, EXCHANGES = 10, 200
SIGNATURES = 12
ISSUER = Eui64.parse("54-45-53-54-53-45-43-41")
SOURCE = Path(__file__).parent / "java" / "CurveOracle.java"
JAR = Path("/usr/share/java/bcprov.jar")
both_suites = pytest.mark.parametrize("suite", Suite, ids=str)


class BouncyCastle:
    """Answers lists of questions: see ``java/CurveOracle.java`` for the words."""

    def __init__(self, process):
        self._process = process

    def ask(self, questions):
        answers = []
        for question in questions:
            self._process.stdin.write(" ".join(question) + "\n")
            self._process.stdin.flush()
            answers.append(self._process.stdout.readline().rstrip("\n"))
        return answers


@pytest.fixture(scope="session")
def bouncy_castle(program, present, tmp_path_factory):
    java, compiler, jar = program("java"), program("javac"), present("libbcprov-java", JAR)
    classes = tmp_path_factory.mktemp("java")
    subprocess.run([compiler, "-cp", jar, "-d", classes, SOURCE], check=True, timeout=120)
    command = [java, "-cp", f"{classes}{os.pathsep}{jar}", "CurveOracle"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield BouncyCastle(process)
        process.stdin.close()
        process.wait(timeout=60)


class House:
    """Random numbers of one suite, as the two sides of ``EXCHANGES`` runs would draw them."""

    def __init__(self, suite):
        self.suite, self.curve = suite, suite.curve
        self.dice = random.Random(f"oracle {suite}")
        self.generator = self.curve.encode(self.curve.generator).hex()

    def scalar(self):
        return self.dice.randrange(1, self.curve.order)

    def octets(self, scalar):
        return self.curve.encode_scalar(scalar).hex()

    def question(self, verb, *words):
        return [verb, self.curve.name, *words]

    def public(self, scalar):
        return self.question("multiply", self.octets(scalar), self.generator)


@both_suites
def test_random_exchanges_end_in_the_same_keys_and_proofs_as_with_bouncycastle(suite, bouncy_castle):
    house, curve = House(suite), suite.curve
    devices = [house.scalar() for _ in range(DEVICES)]
    device_points = bouncy_castle.ask(map(house.public, devices))
    pairs = [
        KeyPair(curve, private, curve.decode(bytes.fromhex(point)))
        for private, point in zip(devices, device_points, strict=True)
    ]
    ours, theirs = [], []
    for _ in range(EXCHANGES):
        us, peer = house.dice.sample(range(DEVICES), 2)
        own_ephemeral, peer_ephemeral = house.scalar(), house.scalar()
        points = bouncy_castle.ask([house.public(own_ephemeral), house.public(peer_ephemeral)])
        own_point, peer_point = (curve.decode(bytes.fromhex(point)) for point in points)
        own_pair = KeyPair(curve, own_ephemeral, own_point)
        secret = shared_secret(pairs[us], own_pair, pairs[peer].public, peer_point)
        keys = SecretKeys.derive(secret)
        parties = [Party(Eui64(house.dice.getrandbits(64)), bytes.fromhex(point)) for point in points]
        house.dice.shuffle(parties)  # either may be the initiator
        macs = keys.initiator_mac(*parties), keys.responder_mac(*parties)
        ours.append(" ".join(octets.hex() for octets in (secret, keys.link_key, *macs)))
        scalars = house.octets(devices[peer]), house.octets(peer_ephemeral)
        sides = [party.name.hex for party in parties] + [party.ephemeral.hex() for party in parties]
        theirs.append(house.question("cbke", *scalars, device_points[us], points[0], *sides))

    assert ours == bouncy_castle.ask(theirs)


@both_suites
def test_what_our_authority_issues_has_the_public_key_that_bouncycastle_computes(suite, bouncy_castle):
    house, curve = House(suite), suite.curve
    authority = Authority(suite, ISSUER, KeyPair.draw(curve, house.dice))
    root = curve.encode(authority.root.public).hex()
    for _ in range(30):
        secret = KeyPair.draw(curve, house.dice)
        blank = draft(suite, Eui64(house.dice.getrandbits(64)))
        certificate, contribution = authority.issue(blank, secret.public, house.dice)
        certified = accept(certificate, contribution, secret, authority.root)
        octets, point = certificate.to_bytes().hex(), certificate.point.hex()
        theirs = bouncy_castle.ask(
            [house.question("extract", octets, point, root), house.public(certified.keys.private)]
        )

        assert [curve.encode(certified.keys.public).hex()] * 2 == theirs


@both_suites
def test_multiples_of_random_points_are_those_of_bouncycastle(suite, bouncy_castle):
    house, curve = House(suite), suite.curve
    edges = [1, 2, 3, curve.order - 1, curve.order - 2, curve.order + 1, 2 * curve.order - 1]
    scalars = edges + [house.dice.getrandbits(curve.field.degree) for _ in range(13)]
    bases = bouncy_castle.ask(house.public(house.scalar()) for _ in scalars)
    questions = [
        house.question("multiply", f"{scalar:x}", base) for scalar, base in zip(scalars, bases, strict=True)
    ]
    ours = [
        (curve.multiply(scalar, point), curve.multiply_secret(scalar, point))
        for scalar, point in zip(scalars, map(curve.decode, map(bytes.fromhex, bases)), strict=True)
    ]

    answers = bouncy_castle.ask(questions)

    assert [(curve.encode(one).hex(), curve.encode(two).hex()) for one, two in ours] == [
        (answer, answer) for answer in answers
    ]


@both_suites
def test_bouncycastle_and_we_let_the_same_points_in(suite, bouncy_castle):
    house, curve = House(suite), suite.curve
    order_two = Point(0, 1)
    points = [order_two, Point(1, 0), Point(1, 1), Point(0, 0), curve.generator]
    for at in range(20):
        good = curve.multiply(2 + at, curve.generator)
        points += [good, curve.add(good, order_two), Point(good.x, good.y ^ 1)]
        if curve.cofactor == 4:
            points.append(curve.add(good, Point(1, 0)))
    questions = [house.question("order", f"{point.x:x}", f"{point.y:x}") for point in points]
    ours = ["yes" if curve.contains(p) and curve.has_prime_order(p) else "no" for p in points]

    assert ours == bouncy_castle.ask(questions)
    assert ours.count("yes") == 21


@both_suites
def test_bouncycastle_makes_and_believes_the_same_signatures(suite, bouncy_castle):
    house, curve = House(suite), suite.curve
    size = curve.coordinate_size
    ours, signing, checking = [], [], []
    for at in range(SIGNATURES):
        keys = KeyPair.of(curve, house.scalar())
        digest = mmo_hash(house.dice.randbytes(at))
        signature = ecdsa.sign(keys, digest)
        ours.append(signature.hex())
        signing.append(house.question("sign", house.octets(keys.private), digest.hex()))
        point, r, s = curve.encode(keys.public).hex(), signature[:size].hex(), signature[size:].hex()
        checking.append(house.question("verify", point, digest.hex(), r, s))
        checking.append(house.question("verify", point, mmo_hash(digest).hex(), r, s))

    assert ours == bouncy_castle.ask(signing)
    assert bouncy_castle.ask(checking) == ["yes", "no"] * SIGNATURES


@both_suites
def test_we_believe_the_signatures_of_bouncycastle_and_no_others(suite, bouncy_castle):
    house, curve = House(suite), suite.curve
    privates = [house.scalar() for _ in range(5)]
    digest, other = mmo_hash(b"image"), mmo_hash(b"another")
    signatures = bouncy_castle.ask(
        house.question("sign", house.octets(private), digest.hex()) for private in privates
    )
    keys = bouncy_castle.ask(house.public(private) for private in privates)
    for key, signature in zip(keys, signatures, strict=True):
        point = curve.decode(bytes.fromhex(key))
        ecdsa.check(curve, point, digest, bytes.fromhex(signature))
        with pytest.raises(SignatureError, match="does not match"):
            ecdsa.check(curve, point, other, bytes.fromhex(signature))
