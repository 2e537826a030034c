"""Certificates for tests: authorities, what they sign, and what they take back, all as PEM text."""

import datetime
import ipaddress
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KeyKind = Literal["ec", "rsa"]
Validity = Literal["now", "past", "future"]
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS = 2048
# Days from now on: since when, until when. What is valid is so for clocks that are a day off.
DAYS: dict[Validity, tuple[int, int]] = {"now": (-2, 30), "past": (-30, -2), "future": (2, 30)}
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Identity:
    """What a server or a client shows: its certificate, and the key that belongs to it."""

    certificate: str
    private_key: str = field(repr=False)
    # The intermediate authorities, from the one that signed upwards; the root is left out.
    intermediates: str = ""

    @property
    def chain(self) -> str:
        """The certificate and the intermediates, as a server is configured with them."""
        return self.certificate + self.intermediates

    @property
    def serial(self) -> int:
        """The certificate's number."""
        return _parsed(self.certificate).serial_number


@dataclass(frozen=True)
class Authority:
    """A certificate authority: a root, or an intermediate that another one has signed."""

    certificate: str
    private_key: str = field(repr=False)
    # As in Identity, for what this one signs: empty for a root.
    intermediates: str = ""

    def server(
        self,
        *names: str,
        key: KeyKind = "ec",
        validity: Validity = "now",
        password: str = "",
    ) -> Identity:
        """Sign a server's certificate for these names and addresses (IPv4 and IPv6)."""
        if not names:
            raise ValueError("a server's certificate needs a name")
        return self._sign(names[0], ExtendedKeyUsageOID.SERVER_AUTH, names, key, validity, password)

    def client(
        self,
        name: str,
        *,
        key: KeyKind = "ec",
        validity: Validity = "now",
        password: str = "",
        organization: str = "",
    ) -> Identity:
        """Sign a client's certificate with this common name."""
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._sign(name, purpose, (), key, validity, password, organization)

    def intermediate(self, name: str, *, key: KeyKind = "ec") -> "Authority":
        """Sign the certificate of an authority below this one."""
        made = _make_key(key)
        builder = _authority_builder(name, made).issuer_name(_parsed(self.certificate).subject)
        certificate = _signed(self._known_by(builder), self._key())
        return Authority(
            certificate, _key_pem(made, ""), intermediates=certificate + self.intermediates
        )

    def revocation_list(self, *revoked: Identity, validity: Validity = "now") -> str:
        """Sign a list of the certificates taken back."""
        now = datetime.datetime.now(datetime.UTC)
        since, until = (now + datetime.timedelta(days=days) for days in DAYS[validity])
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_parsed(self.certificate).subject)
            .last_update(since)
            .next_update(until)
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for identity in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(identity.serial)
            builder = builder.add_revoked_certificate(entry.revocation_date(since).build())
        return builder.sign(self._key(), hashes.SHA256()).public_bytes(_PEM).decode()

    def outlasts(self, days: int) -> bool:
        """Whether it is valid for so many days from now."""
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        return _parsed(self.certificate).not_valid_after_utc > end

    def _sign(
        self,
        name: str,
        purpose: x509.ObjectIdentifier,
        names: tuple[str, ...],
        key: KeyKind,
        validity: Validity,
        password: str,
        organization: str = "",
    ) -> Identity:
        made = _make_key(key)
        builder = (
            _builder(name, made, validity, organization)
            .issuer_name(_parsed(self.certificate).subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(one) for one in names]), critical=False
            )
        certificate = _signed(self._known_by(builder), self._key())
        return Identity(certificate, _key_pem(made, password), self.intermediates)

    def _known_by(self, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key().public_key())
        return builder.add_extension(above, critical=False)

    def _key(self) -> _Key:
        key = serialization.load_pem_private_key(self.private_key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return key


def authority(name: str, *, key: KeyKind = "ec") -> Authority:
    """Make a root. Two of one name are two authorities, and neither trusts the other's."""
    made = _make_key(key)
    builder = _authority_builder(name, made).issuer_name(_named(name))
    return Authority(_signed(builder, made), _key_pem(made, ""))


def _authority_builder(name: str, key: _Key) -> x509.CertificateBuilder:
    return (
        _builder(name, key, "now")
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )


def _builder(
    name: str, key: _Key, validity: Validity, organization: str = ""
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    since, until = (now + datetime.timedelta(days=days) for days in DAYS[validity])
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name, organization))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str, organization: str = "") -> x509.Name:
    within = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*within, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make_key(kind: KeyKind) -> _Key:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def _key_pem(key: _Key, password: str) -> str:
    """Return the key as PKCS#8, which every program here reads."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def _signed(builder: x509.CertificateBuilder, key: _Key) -> str:
    return builder.sign(key, hashes.SHA256()).public_bytes(_PEM).decode()


def _parsed(certificate: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.encode())
