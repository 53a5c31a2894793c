import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.util.Arrays;
import org.bouncycastle.asn1.sec.SECNamedCurves;
import org.bouncycastle.asn1.x9.X9ECParameters;
import org.bouncycastle.crypto.ExtendedDigest;
import org.bouncycastle.crypto.agreement.ECMQVBasicAgreement;
import org.bouncycastle.crypto.digests.SHA256Digest;
import org.bouncycastle.crypto.engines.AESEngine;
import org.bouncycastle.crypto.generators.KDF2BytesGenerator;
import org.bouncycastle.crypto.macs.HMac;
import org.bouncycastle.crypto.params.ECDomainParameters;
import org.bouncycastle.crypto.params.ECPrivateKeyParameters;
import org.bouncycastle.crypto.params.ECPublicKeyParameters;
import org.bouncycastle.crypto.params.KDFParameters;
import org.bouncycastle.crypto.params.KeyParameter;
import org.bouncycastle.crypto.params.MQVPrivateParameters;
import org.bouncycastle.crypto.params.MQVPublicParameters;
import org.bouncycastle.crypto.signers.ECDSASigner;
import org.bouncycastle.crypto.signers.HMacDSAKCalculator;
import org.bouncycastle.math.ec.ECPoint;
import org.bouncycastle.util.encoders.Hex;

/**
 * Computes on sect163k1 and sect283k1 with BouncyCastle. One question a line on standard input, its words in hex but
 * for the first two, which are what to do and the curve; one answer a line on standard output.
 *
 * <pre>
 * multiply CURVE scalar point            a point
 * order    CURVE x y                     yes, if the point is on the curve and of prime order, or no
 * cbke     CURVE static ephemeral peer-static peer-ephemeral initiator responder initiator-point responder-point
 *                                        the shared secret, the link key, MACU and MACV; names are EUI-64s
 * extract  CURVE certificate point root  the public key of an implicit certificate: its hash * point + root
 * sign     CURVE private digest          r and s, with the nonce of RFC 6979 and SHA-256
 * verify   CURVE point digest r s        yes or no
 * </pre>
 */
public final class CurveOracle {
    private final ECDomainParameters domain;
    private final int size;

    private CurveOracle(String name) {
        X9ECParameters curve = SECNamedCurves.getByName(name);
        domain = new ECDomainParameters(curve.getCurve(), curve.getG(), curve.getN(), curve.getH());
        size = (curve.getCurve().getFieldSize() + 7) / 8;
    }

    public static void main(String[] arguments) throws Exception {
        CurveOracle one = new CurveOracle("sect163k1");
        CurveOracle two = new CurveOracle("sect283k1");
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            String[] words = line.split(" ");
            CurveOracle oracle = words[1].equals("sect163k1") ? one : two;
            System.out.println(oracle.answer(words));
            System.out.flush();
        }
    }

    private String answer(String[] words) {
        switch (words[0]) {
            case "multiply":
                return hex(point(words[3]).multiply(number(words[2])));
            case "order":
                return yes(hasPrimeOrder(number(words[2]), number(words[3])));
            case "cbke":
                byte[] secret = mqv(number(words[2]), number(words[3]), point(words[4]), point(words[5]));
                return Hex.toHexString(secret) + " " + confirmed(secret, words[6], words[7], words[8], words[9]);
            case "extract":
                BigInteger hash = new BigInteger(1, Mmo.of(Hex.decode(words[2])));
                return hex(point(words[3]).multiply(hash).add(point(words[4])));
            case "sign":
                ECDSASigner signer = new ECDSASigner(new HMacDSAKCalculator(new SHA256Digest()));
                signer.init(true, key(number(words[2])));
                BigInteger[] signature = signer.generateSignature(Hex.decode(words[3]));
                return fixed(signature[0]) + fixed(signature[1]);
            case "verify":
                ECDSASigner verifier = new ECDSASigner();
                verifier.init(false, new ECPublicKeyParameters(point(words[2]), domain));
                return yes(verifier.verifySignature(Hex.decode(words[3]), number(words[4]), number(words[5])));
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private boolean hasPrimeOrder(BigInteger x, BigInteger y) {
        try {
            ECPoint point = domain.getCurve().createPoint(x, y);
            return !point.isInfinity() && point.isValid();
        } catch (IllegalArgumentException offTheCurve) {
            return false;
        }
    }

    private byte[] mqv(BigInteger own, BigInteger ephemeral, ECPoint peer, ECPoint peerEphemeral) {
        ECMQVBasicAgreement agreement = new ECMQVBasicAgreement();
        agreement.init(new MQVPrivateParameters(key(own), key(ephemeral)));
        return Hex.decode(fixed(agreement.calculateAgreement(new MQVPublicParameters(
                new ECPublicKeyParameters(peer, domain), new ECPublicKeyParameters(peerEphemeral, domain)))));
    }

    private static String confirmed(byte[] secret, String u, String v, String pointOfU, String pointOfV) {
        KDF2BytesGenerator derivation = new KDF2BytesGenerator(new Mmo());
        derivation.init(new KDFParameters(secret, null));
        byte[] both = new byte[32];
        derivation.generateBytes(both, 0, both.length);
        byte[] macKey = Arrays.copyOfRange(both, 0, 16);
        byte[] linkKey = Arrays.copyOfRange(both, 16, 32);
        String macu = mac(macKey, "02" + u + v + pointOfU + pointOfV);
        String macv = mac(macKey, "03" + v + u + pointOfV + pointOfU);
        return Hex.toHexString(linkKey) + " " + macu + " " + macv;
    }

    private static String mac(byte[] key, String message) {
        HMac mac = new HMac(new Mmo());
        byte[] octets = Hex.decode(message);
        mac.init(new KeyParameter(key));
        mac.update(octets, 0, octets.length);
        byte[] result = new byte[16];
        mac.doFinal(result, 0);
        return Hex.toHexString(result);
    }

    /** AES-MMO of Zigbee's annex B.6, for messages below 2^16 bits, on BouncyCastle's block cipher. */
    private static final class Mmo implements ExtendedDigest {
        private final ByteArrayOutputStream message = new ByteArrayOutputStream();

        static byte[] of(byte[] octets) {
            Mmo digest = new Mmo();
            digest.update(octets, 0, octets.length);
            byte[] result = new byte[16];
            digest.doFinal(result, 0);
            return result;
        }

        @Override
        public String getAlgorithmName() {
            return "AES-MMO";
        }

        @Override
        public int getDigestSize() {
            return 16;
        }

        @Override
        public int getByteLength() {
            return 16;
        }

        @Override
        public void update(byte octet) {
            message.write(octet);
        }

        @Override
        public void update(byte[] octets, int from, int size) {
            message.write(octets, from, size);
        }

        @Override
        public void reset() {
            message.reset();
        }

        @Override
        public int doFinal(byte[] out, int from) {
            int bits = 8 * message.size();
            message.write(0x80);
            while (message.size() % 16 != 14) {
                message.write(0);
            }
            message.write(bits >> 8);
            message.write(bits);
            byte[] padded = message.toByteArray();
            byte[] digest = new byte[16];
            AESEngine cipher = new AESEngine();
            for (int at = 0; at < padded.length; at += 16) {
                cipher.init(true, new KeyParameter(digest));
                byte[] next = new byte[16];
                cipher.processBlock(padded, at, next, 0);
                for (int each = 0; each < 16; each++) {
                    next[each] ^= padded[at + each];
                }
                digest = next;
            }
            System.arraycopy(digest, 0, out, from, 16);
            reset();
            return 16;
        }
    }

    private ECPrivateKeyParameters key(BigInteger number) {
        return new ECPrivateKeyParameters(number, domain);
    }

    private ECPoint point(String octets) {
        return domain.getCurve().decodePoint(Hex.decode(octets));
    }

    private static BigInteger number(String octets) {
        return new BigInteger(octets, 16);
    }

    private static String hex(ECPoint point) {
        return Hex.toHexString(point.normalize().getEncoded(true));
    }

    private String fixed(BigInteger number) {
        return String.format("%0" + 2 * size + "x", number);
    }

    private static String yes(boolean verdict) {
        return verdict ? "yes" : "no";
    }
}
