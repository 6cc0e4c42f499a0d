"""TLS between homes without a certificate authority: who issues a broker's certificate is a key the charter names.

A home's broker gets a TLS key of its own at every start, and a certificate for it signed with the home's key. Whoever
connects trusts exactly one issuer, the key in the charter: OpenSSL checks that within the handshake, before anything
is said. So a link needs no new trust and no field in the charter, and Mosquitto never has the home's key.

What is signed here begins with the byte 0x30 of a DER sequence; messages begin with `{` and papers with words, so no
signature can be taken for one of another kind.
"""

import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coordinator.identity import Identity, home_id

VALID = timedelta(days=365)
"""Into the past as well: a Pi has no clock of its own, and a link must not be what fails first when one is wrong."""
RENEW = timedelta(days=180)

_CERTIFICATE_HAS_EXPIRED = 10
_CERTIFICATE_IS_NOT_YET_VALID = 9

WRONG_KEY = "its certificate is not signed with the right key: another machine answers there, or somebody in between"
NO_TLS = "nothing there speaks TLS: an mqtt:// port, or no broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """What a broker serves TLS with: PEM texts. `issued_at` is by the wall's clock."""

    certificate: bytes
    private_key: bytes
    issued_at: datetime

    def old(self, now: datetime) -> bool:
        """Return whether a new one is due: by age, or because the clock was wrong when it was issued."""
        return abs(now - self.issued_at) > RENEW


def issue(identity: Identity, now: datetime, valid: timedelta = VALID) -> ServerCertificate:
    """Return a new TLS key with a certificate signed by a home's key.

    Args:
        now: By the wall's clock: TLS knows no other.
        valid: Before and after `now`.
    """
    key = Ed25519PrivateKey.generate()
    builder = (
        x509.CertificateBuilder()
        .issuer_name(_name(home_id(identity.public_key)))
        .subject_name(_name(f"broker of {identity.id}"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - valid)
        .not_valid_after(now + valid)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return ServerCertificate(
        certificate=identity.certify(builder).public_bytes(Encoding.PEM),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        issued_at=now,
    )


def server_context(server: ServerCertificate) -> ssl.SSLContext:
    """Return the context of a broker in this process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile(prefix="cw-") as file:  # readable by its owner only, and gone at once
        file.write(server.private_key + server.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@lru_cache(maxsize=1024)
def client_context(pin: bytes) -> ssl.SSLContext:
    """Return the context of links to the broker whose certificate `pin`, a raw public key, has signed.

    No name is checked: an address may change and a name in DNS may lie, the key is who it is.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=_anchor(pin))
    context.sslsocket_class = _TidySocket
    return context


def _anchor(pin: bytes) -> bytes:
    """Return a certificate that says "trust this key", as OpenSSL wants to be told it (DER).

    Nobody looks at its own signature, which a key made for it and thrown away gives. It may issue no issuers.
    """
    now = datetime(2000, 1, 1)  # noqa: DTZ001  # X.509 has UTC
    builder = (
        x509.CertificateBuilder()
        .issuer_name(_name("trusted here"))
        .subject_name(_name(home_id(pin)))
        .public_key(Ed25519PublicKey.from_public_bytes(pin))
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(datetime(9999, 12, 31))  # noqa: DTZ001
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return builder.sign(Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho would leave it to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def explain_tls(error: ssl.SSLError) -> str:
    """Return why a handshake failed, in plain words."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code == _CERTIFICATE_HAS_EXPIRED:
            return "its certificate has expired by this machine's clock: the clock here or there is wrong"
        case ssl.SSLCertVerificationError(verify_code=code) if code == _CERTIFICATE_IS_NOT_YET_VALID:
            return "its certificate is not valid yet by this machine's clock: the clock here or there is wrong"
        case ssl.SSLCertVerificationError():
            return WRONG_KEY
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return NO_TLS
        case _ if error.reason == "WRONG_VERSION_NUMBER":
            return NO_TLS
        case _:
            return f"no encrypted link ({(error.reason or str(error)).lower().replace('_', ' ')})"
