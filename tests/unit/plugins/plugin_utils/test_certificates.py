"""Keys and certificates of a real authority: what is wrong with them is told, and never shown."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils import certificates
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.certificates import (
    HIDDEN,
    Material,
    is_readable,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.pem import time_of
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hosts import pki
from tests.unit.inventories import authority, clean, server

PEM = serialization.Encoding.PEM


def judged(
    given: Mapping[str, Any],
    on_host: Mapping[str, str] | None = None,
    dates: str = "refuse",
    name: str = "",
) -> Material:
    """Place and judge all that a dictionary may hold."""
    material = Material(Reader("proxy1"), "x", given, "listener", on_host or {}, dates)
    for key in ("certificate", "ca", "crl"):
        material.place(key)
    material.place("private_key", secret=True)
    material.judge_pair(name)
    material.judge_authorities("ca")
    material.judge_revocations("crl", "ca")
    return material


def found(
    given: Mapping[str, Any],
    on_host: Mapping[str, str] | None = None,
    dates: str = "refuse",
    name: str = "",
) -> tuple[list[str], list[str]]:
    """Return complaints and warnings; no key is in any of them."""
    reader = judged(given, on_host, dates, name).reader
    for text in (*reader.complaints, *reader.warnings):
        assert text.startswith("proxy1: x.")
        assert text.endswith(".")
        assert text.isprintable()
        assert "PRIVATE" not in text
        assert key_of(given)[40:80] not in text
    return reader.complaints, reader.warnings


def key_of(given: Mapping[str, Any]) -> str:
    """Return some bytes of the key that was given, or what no text holds."""
    text = str(given.get("private_key") or given.get("private_key_path") or "")
    return text if len(text) > 80 else "\0" * 80


def pair(shown: pki.Identity) -> dict[str, Any]:
    """Return certificate, with its chain, and key."""
    return {"certificate": shown.chain, "private_key": shown.private_key}


def made(
    subject: x509.Name,
    authority_says: bool | None = None,
    names: list[x509.GeneralName] | None = None,
) -> str:
    """Return a certificate of this kind that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=99))
    )
    if authority_says is not None:
        says = x509.BasicConstraints(authority_says, None)
        builder = builder.add_extension(says, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


def called(name: str) -> x509.Name:
    """Return a subject of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


# Where it is kept


def test_text_is_kept_in_the_generation() -> None:
    """Certificates as files, keys as secrets that the owner alone reads."""
    shown = server()
    material = judged(pair(shown))
    assert material.reader.complaints == []
    assert material.files == [
        {"path": "tls/listener-certificate.pem", "content": shown.certificate, "mode": "0644"}
    ]
    assert material.secrets == [
        {"path": "tls/listener-private_key.pem", "content": shown.private_key, "mode": "0600"}
    ]


def test_text_ends_with_one_line_end() -> None:
    """However YAML has it."""
    material = judged({"certificate": "\n" + server().certificate.strip()})
    assert [item["content"] for item in material.files] == [server().certificate]


def test_a_path_is_where_nginx_finds_it() -> None:
    """A path goes into the configuration as it is, and no file is written."""
    given = {"certificate_path": "/etc/ssl/proxy.pem", "private_key_path": "/etc/ssl/proxy.key"}
    material = Material(Reader("proxy1"), "x", given, "listener", {}, "refuse")
    assert material.place("certificate") == "/etc/ssl/proxy.pem"
    assert material.place("private_key", secret=True) == "/etc/ssl/proxy.key"
    assert material.place("ca") == ""
    assert (material.files, material.secrets, material.reader.complaints) == ([], [], [])


@pytest.mark.parametrize("key", ["certificate", "private_key", "ca", "crl"])
def test_text_and_path(key: str) -> None:
    """One of them, not both."""
    shown = server()
    texts = {
        **pair(shown),
        "ca": authority().certificate,
        "crl": authority().revocation_list(),
    }
    given = {key: texts[key], f"{key}_path": "/etc/ssl/x.pem"}
    complaints, _warnings = found(given)
    assert complaints == [f"proxy1: x.{key} and {key}_path are both given; give one of them."]


@pytest.mark.parametrize(
    "path",
    [
        "proxy.pem",
        "./proxy.pem",
        "~/proxy.pem",
        "tls/proxy.pem",
        "/etc/ssl/",
        "/",
        "/etc/../root/proxy.pem",
        "/etc/ssl/..",
        "/etc/./ssl/x.pem",
        "//etc/ssl/x.pem",
        "/etc/ssl/a b.pem",
        "/etc/ssl/a;b.pem",
        "/etc/ssl/$host.pem",
        "/etc/ssl/{a}.pem",
        "/etc/ssl/a'b.pem",
        '/etc/ssl/a"b.pem',
        "/etc/ssl/a#b.pem",
        "/etc/ssl/a\\b.pem",
        "/etc/ssl/*.pem",
        "/etc/ssl/a.pem\n",
        "/etc/ssl/a\0.pem",
        "data:,x",
        "engine:pkcs11:x",
        7,
        ["/etc/ssl/x.pem"],
    ],
)
def test_paths_that_do_not_do(path: Any) -> None:
    """A path is absolute and has nothing in it that nginx would read as something else."""
    remedy = "give an absolute path without special characters."
    assert found({"certificate_path": path}) == (
        [f"proxy1: x.certificate_path is {str(path)!r}; {remedy}"],
        [],
    )
    assert not is_readable(str(path))


@pytest.mark.parametrize("place", HIDDEN)
def test_places_that_the_unit_does_not_see(place: str) -> None:
    """They are told as such, before nginx tells that there is no such file."""
    path = f"{place}proxy.pem"
    (complaint,), _warnings = found({"private_key_path": path})
    assert complaint.startswith(f"proxy1: x.private_key_path is '{path}'; ")
    assert f"does not see {place}; keep it below /etc" in complaint
    assert not is_readable(path)


@given(path=st.text(max_size=20) | st.text("/etc.;{}$ \n'\"\\", max_size=20).map("/{}".format))
@example(path="/etc/ssl/certs/ca.pem")
def test_no_path_passes(path: str) -> None:
    """Either a path is complained about, or it is clean."""
    material = Material(Reader("proxy1"), "x", {"certificate_path": path}, "listener", {}, "warn")
    placed = material.place("certificate")
    assert bool(placed) == (path != "" and not material.reader.complaints)
    assert clean(placed)
    assert placed in ("", path)


def test_a_key_in_the_place_of_a_path() -> None:
    """It is not shown, and is not taken for a path."""
    for text in (server().private_key, server().private_key.splitlines()[1]):
        (complaint,), _warnings = found({"private_key_path": text})
        assert complaint == (
            "proxy1: x.private_key_path is '(not shown)'; "
            "give an absolute path without special characters."
        )


# Certificate and key


def test_a_right_pair() -> None:
    """Of a root, and of an authority below it with the chain."""
    below = authority().intermediate("below")
    for shown in (server(), below.server("proxy.example"), authority().server("a", key="rsa")):
        assert found(pair(shown)) == ([], [])
    whole = below.server("proxy.example")
    given = {**pair(whole), "certificate": whole.chain + authority().certificate}
    assert found(given) == ([], [])


def test_a_key_of_another_certificate() -> None:
    """The certificate is named."""
    given = {**pair(server()), "private_key": server("other.example").private_key}
    assert found(given)[0] == [
        "proxy1: x.private_key does not fit the certificate: the key of CN=proxy.example is "
        "another one."
    ]


def test_a_key_with_a_passphrase() -> None:
    """Nginx would ask for it at the terminal."""
    shown = authority().server("proxy.example", password="s3cret")  # noqa: S106
    (complaint,), _warnings = found(pair(shown))
    assert complaint.startswith("proxy1: x.private_key is encrypted; give it without")


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "\ud800",
        7,
        ["x"],
    ],
)
def test_a_key_that_is_none(text: Any) -> None:
    """It is refused without being shown."""
    (complaint,), _warnings = found({"private_key": text})
    assert complaint == "proxy1: x.private_key holds no private key in PEM that can be read."


def test_a_certificate_in_the_place_of_a_key() -> None:
    """That is no key."""
    (complaint,), _warnings = found({"private_key": server().certificate})
    assert "holds no private key in PEM" in complaint


@pytest.mark.parametrize("key", ["certificate", "ca"])
def test_a_key_in_the_place_of_a_certificate(key: str) -> None:
    """Such files may be read by everyone, so a key among certificates is refused."""
    shown = server()
    for text in (shown.private_key, shown.certificate + shown.private_key):
        complaints, _warnings = found({key: text})
        assert complaints == [f"proxy1: x.{key} holds a private key; give certificates only."]


@pytest.mark.parametrize(
    "text", ["x", "-----BEGIN CERTIFICATE-----\nMIG\n-----END CERTIFICATE-----\n", "\ud800"]
)
@pytest.mark.parametrize("key", ["certificate", "ca"])
def test_a_certificate_that_is_none(key: str, text: str) -> None:
    """Told without being quoted, which would be long."""
    (complaint,), _warnings = found({key: text})
    assert complaint in (
        f"proxy1: x.{key} holds no certificate in PEM that can be read.",
        f"proxy1: x.{key} is empty; give it, or leave it out altogether.",
    )


@pytest.mark.parametrize("key", ["ca", "ca_path", "certificate", "private_key_path"])
@pytest.mark.parametrize("value", [None, "", " "])
def test_what_is_given_and_empty(key: str, value: Any) -> None:
    """It would leave off in silence what was meant, such as the demand for certificates."""
    complaints, _warnings = found({key: value})
    assert complaints == [f"proxy1: x.{key} is empty; give it, or leave it out altogether."]


def test_authorities_that_end_before_their_root() -> None:
    """Nginx verifies up to a root, so an intermediate alone verifies nobody."""
    root = authority()
    below = root.intermediate("below")
    (complaint,), _warnings = found({"ca": below.certificate})
    assert complaint.startswith("proxy1: x.ca ends before its root: CN=below was issued by CN=")
    assert found({"ca": below.certificate + root.certificate}) == ([], [])


def test_a_chain_in_the_wrong_order() -> None:
    """Who follows whom is told."""
    below = authority().intermediate("below")
    shown = below.server("proxy.example")
    given = {**pair(shown), "certificate": below.certificate + shown.certificate}
    (complaint,), _warnings = found(given)
    assert complaint.startswith(
        "proxy1: x.certificate is a chain in the wrong order: CN=proxy.example follows CN=below "
        "and did not issue it. "
    )


def test_a_chain_of_a_stranger() -> None:
    """An authority of the same name with another key did not issue it."""
    stranger = pki.authority("root")
    given = {**pair(server()), "certificate": server().certificate + stranger.certificate}
    (complaint,), _warnings = found(given)
    assert "CN=root follows CN=proxy.example and did not issue it" in complaint


@pytest.mark.parametrize(
    ("name", "asked", "fits"),
    [
        ("proxy.example", "proxy.example", True),
        ("proxy.example", "PROXY.example", True),
        ("PROXY.example", "proxy.example", True),
        ("proxy.example", "other.example", False),
        ("proxy.example", "a.proxy.example", False),
        ("*.example", "proxy.example", True),
        ("*.example", "a.proxy.example", False),
        ("*.example", "example", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("fd00::1", "fd00::1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_names(name: str, asked: str, fits: bool) -> None:
    """A certificate is for the names in it; a star stands for one label."""
    complaints, _warnings = found(pair(server(name)), name=asked)
    wrong = f"proxy1: x.server_name is {asked!r}; the certificate is not for this name."
    assert complaints == ([] if fits else [wrong])


def test_a_certificate_without_names() -> None:
    """A common name counts for nothing with today's clients."""
    (complaint,), _warnings = found({"certificate": made(called("a.b"))}, name="a.b")
    assert complaint.endswith("; the certificate is not for this name.")


def test_covers() -> None:
    """What cannot be read is not judged."""

    def material(**given: str) -> Material:
        return Material(Reader("proxy1"), "x", given, "", {}, "refuse")

    assert material(certificate=server().certificate).covers("proxy.example")
    assert not material(certificate=server().certificate).covers("other.example")
    assert material(certificate_path="/etc/x").covers("other.example")
    assert material(certificate="x").covers("other.example")


def test_a_subject_that_would_break_a_sentence() -> None:
    """Line ends in a certificate's name are written out."""
    text = made(called("a\nproxy2: b"), authority_says=False)
    (complaint,), _warnings = found({"ca": text})
    assert "CN=a\\nproxy2: b, which is no certificate authority." in complaint


# Dates


@pytest.mark.parametrize("key", ["certificate", "ca"])
@pytest.mark.parametrize(
    ("validity", "sentence"), [("past", "has expired on "), ("future", "is valid from ")]
)
def test_dates(key: str, validity: pki.Validity, sentence: str) -> None:
    """What is not valid now is refused, or warned of."""
    text = {
        "certificate": server(validity=validity).certificate,
        "ca": server(validity=validity).certificate,
    }[key]
    complaints, warnings = found({key: text})
    assert complaints[0].startswith(f"proxy1: x.{key} {sentence}")
    assert complaints[0].endswith(
        "UTC (CN=proxy.example); renew it, or set grpc_proxy_certificate_dates to warn."
        if validity == "past"
        else "UTC on only (CN=proxy.example); renew it, or set grpc_proxy_certificate_dates to "
        "warn."
    )
    assert warnings == []
    complaints, warnings = found({key: text}, dates="warn")
    assert not any(sentence in text for text in complaints)
    (warning,) = warnings
    assert warning.startswith(f"proxy1: x.{key} {sentence}")
    assert "renew" not in warning


@pytest.mark.parametrize("dates", ["refuse", "warn"])
def test_soon(monkeypatch: pytest.MonkeyPatch, dates: str) -> None:
    """What expires soon is a warning either way, and none when there is time left."""
    monkeypatch.setattr(certificates, "SOON", datetime.timedelta(days=31))
    complaints, (warning,) = found({"certificate": server().certificate}, dates=dates)
    assert complaints == []
    assert warning.startswith("proxy1: x.certificate expires on ")
    monkeypatch.setattr(certificates, "SOON", datetime.timedelta(days=29))
    assert found({"certificate": server().certificate}, dates=dates) == ([], [])


def test_dates_of_a_whole_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those above the server's own count, too."""
    monkeypatch.setitem(pki.DAYS, "now", (-9, 3))
    short = pki.authority("short")
    monkeypatch.undo()
    given = {"certificate": short.server("a").certificate + short.certificate}
    complaints, (warning,) = found(given)
    assert complaints == []
    assert warning.startswith("proxy1: x.certificate expires on ")
    assert warning.endswith("(CN=short).")


def test_certificates_on_the_host() -> None:
    """What the user keeps on the host is judged like text; what was not read is not."""
    past = server(validity="past")
    given = {"certificate_path": "/etc/ssl/a.pem", "private_key_path": "/etc/ssl/a.key"}
    (complaint,), _warnings = found(given, {"/etc/ssl/a.pem": past.certificate})
    assert complaint.startswith("proxy1: x.certificate_path (/etc/ssl/a.pem) has expired on ")
    (complaint,), _warnings = found(given, {"/etc/ssl/a.pem": "nothing"})
    named = "proxy1: x.certificate_path (/etc/ssl/a.pem)"
    assert complaint == f"{named} holds no certificate in PEM that can be read."
    assert found(given) == ([], [])
    assert found(given, {"/etc/ssl/a.pem": server().certificate}) == ([], [])
    mixed = {"certificate_path": "/etc/ssl/a.pem", "private_key": server("b").private_key}
    (complaint,), _warnings = found(mixed, {"/etc/ssl/a.pem": server().certificate})
    assert "does not fit the certificate" in complaint


class Old:
    """A certificate as cryptography before 42 has it: times without a zone alone."""

    not_valid_before = datetime.datetime(2020, 1, 1)  # noqa: DTZ001
    next_update = None


def test_times_without_a_zone() -> None:
    """They are in UTC."""
    expected = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    assert time_of(Old(), "not_valid_before") == expected
    assert time_of(Old(), "next_update") is None


# Authorities


def test_authorities() -> None:
    """Several of them, also those that say nothing of it and sign themselves."""
    below = authority().intermediate("below")
    old = made(called("old"))
    assert found({"ca": authority().certificate + below.certificate + old}) == ([], [])


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_authority(text: str) -> None:
    """An empty list would let nobody in, or everybody: it is refused."""
    complaints, _warnings = found({"ca": text})
    assert "proxy1: x.ca is empty; give it, or leave it out altogether." in complaints


def test_an_authority_beside_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two that has expired is a warning; when no one is left, it is refused."""
    monkeypatch.setitem(pki.DAYS, "now", (-9, -3))
    expired = pki.authority("expired").certificate
    monkeypatch.undo()
    complaints, (warning,) = found({"ca": expired + authority().certificate})
    assert complaints == []
    assert warning.startswith("proxy1: x.ca has expired on ")
    assert len(found({"ca": expired + expired})[0]) == 2


def test_no_authority() -> None:
    """A server's certificate is none, and is named."""
    complaints, _warnings = found({"ca": authority().certificate + server().certificate})
    assert complaints == ["proxy1: x.ca holds CN=proxy.example, which is no certificate authority."]


# Revocations


def test_revocations() -> None:
    """A list that an authority of ours has issued, and one of each where there are two."""
    other = authority("other")
    lists = authority().revocation_list(server()) + other.revocation_list()
    assert found({"ca": authority().certificate, "crl": authority().revocation_list()}) == ([], [])
    assert found({"ca": authority().certificate + other.certificate, "crl": lists}) == ([], [])


def test_revocations_that_have_expired() -> None:
    """Nginx would refuse every client then, so a warning would not do; each list is held."""
    good, expired = authority().revocation_list(), authority().revocation_list(validity="past")
    for text in (expired, good + expired):
        given = {"ca": authority().certificate, "crl": text}
        for dates in ("refuse", "warn"):
            (complaint,), _warnings = found(given, dates=dates)
            assert complaint.startswith("proxy1: x.crl has expired on ")
            assert complaint.endswith(" UTC (CN=root); nginx would refuse every client.")


def test_revocations_of_a_stranger() -> None:
    """The issuer is named."""
    given = {"ca": authority().certificate, "crl": authority("other").revocation_list()}
    assert found(given)[0] == ["proxy1: x.crl is issued by CN=other, not by ca."]


def test_revocations_of_some_authorities() -> None:
    """Nginx wants a list of each, and would refuse the clients of the one without."""
    both = authority().certificate + authority("other").certificate
    given = {"ca": both, "crl": authority().revocation_list()}
    assert found(given)[0] == [
        "proxy1: x.crl has no list of CN=other, which is in ca; nginx would refuse all of its "
        "clients."
    ]


@pytest.mark.parametrize(
    "text", ["x", "-----BEGIN X509 CRL-----\nMIG\n-----END X509 CRL-----\n", "\ud800"]
)
def test_revocations_that_are_none(text: str) -> None:
    """Told as such."""
    complaints, _warnings = found({"ca": authority().certificate, "crl": text})
    assert complaints == ["proxy1: x.crl holds no list of revoked certificates in PEM."]


def test_a_certificate_in_the_place_of_revocations() -> None:
    """That is no list."""
    complaints, _warnings = found({"ca": authority().certificate, "crl": authority().certificate})
    assert complaints == ["proxy1: x.crl holds no list of revoked certificates in PEM."]


# Damage


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(place=st.integers(0, 2000), byte=st.integers(1, 255))
def test_damaged_material(place: int, byte: int) -> None:
    """A certificate, a key or a list with a wrong byte is judged or refused, and raises nothing."""
    shown = server()
    texts = {**pair(shown), "ca": authority().certificate, "crl": REVOKED}
    for key, text in texts.items():
        data = pem_bytes(text)
        at = place % len(data)
        wrong = data[:at] + bytes([data[at] ^ byte]) + data[at + 1 :]
        kind = text[11 : text.index("-----", 11)]
        found({**texts, key: pem(kind, wrong)}, name="proxy.example")


REVOKED = authority().revocation_list(server())


def pem_bytes(text: str) -> bytes:
    """Return what is in a PEM text."""
    return base64.b64decode("".join(text.splitlines()[1:-1]))


def pem(kind: str, data: bytes) -> str:
    """Return bytes as a PEM text."""
    return f"-----BEGIN {kind}-----\n{base64.b64encode(data).decode()}\n-----END {kind}-----\n"
