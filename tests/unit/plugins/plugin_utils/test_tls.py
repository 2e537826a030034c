"""TLS of the listeners and towards the servers: what lacks, and what would be ignored."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.tls import (
    read_listener_tls,
    read_server_name,
    read_upstream_tls,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inventories import TEXTS, authority, clean, listener_tls, server, upstream_tls


def listening(given: dict[str, Any], wanted: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Read a grpc_proxy_tls; return what it says, and the complaints."""
    reader = Reader("proxy1")
    return read_listener_tls(reader, given, wanted, {}, "refuse"), reader.complaints


def upstream(given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read a grpc_proxy_upstream_tls; return what it says, and the complaints."""
    reader = Reader("proxy1")
    found = read_upstream_tls(reader, "x", given, "upstream", {}, "refuse")
    return found, reader.complaints


# Listeners


def test_a_listener() -> None:
    """The shortest that serves: a certificate and its key."""
    found, complaints = listening(listener_tls())
    assert complaints == []
    files, secrets = found.pop("files"), found.pop("secrets")
    assert [item["path"] for item in files] == ["tls/listener-certificate.pem"]
    assert [item["path"] for item in secrets] == ["tls/listener-private_key.pem"]
    assert found == {
        "certificate": "tls/listener-certificate.pem",
        "private_key": "tls/listener-private_key.pem",
        "client_ca": "",
        "client_crl": "",
        "client_names": [],
        "profile": "intermediate",
        "server_name": "",
    }


def test_all_that_a_listener_may_say() -> None:
    """Clients that are verified, by name too, and a list of those that are not any more."""
    found, complaints = listening(
        listener_tls(
            client_ca=authority().certificate,
            client_crl=authority().revocation_list(),
            client_names=["agent", "agent 1.a_b@c-d"],
            profile="modern",
            server_name="PROXY.example",
        )
    )
    assert complaints == []
    assert found["client_ca"] == "tls/listener-client_ca.pem"
    assert found["client_crl"] == "tls/listener-client_crl.pem"
    assert found["client_names"] == ["agent", "agent 1.a_b@c-d"]
    assert (found["profile"], found["server_name"]) == ("modern", "proxy.example")
    assert len(found["files"]) == 3


def test_nothing() -> None:
    """No listener with TLS and nothing set is nothing; set for no listener, it is told."""
    assert listening({}, wanted=False) == ({}, [])
    assert listening(listener_tls(), wanted=False) == (
        {},
        ["proxy1: grpc_proxy_tls is given, but no entry of grpc_proxy_listen has tls: true."],
    )


@pytest.mark.parametrize(
    "lacking", [["certificate"], ["private_key"], ["certificate", "private_key"]]
)
def test_what_lacks(lacking: list[str]) -> None:
    """Each part that lacks is named, with the path that would do too."""
    given = {key: text for key, text in listener_tls().items() if key not in lacking}
    assert listening(given)[1] == [
        f"proxy1: grpc_proxy_tls.{key} is missing; give it, or {key}_path, for a listener with tls."
        for key in lacking
    ]


@pytest.mark.parametrize(
    ("key", "value"), [("client_names", ["agent"]), ("client_crl", authority().revocation_list())]
)
def test_without_an_authority(key: str, value: Any) -> None:
    """Names and revocations say nothing where no client is verified."""
    assert listening(listener_tls(**{key: value}))[1] == [
        f"proxy1: grpc_proxy_tls.{key} is given without client_ca, so no client would be verified."
    ]


def test_an_empty_authority() -> None:
    """An authority that turns out empty must not let everyone in."""
    assert listening(listener_tls(client_ca=""))[1] == [
        "proxy1: grpc_proxy_tls.client_ca is empty; give it, or leave it out altogether."
    ]


@pytest.mark.parametrize(
    ("names", "quote"),
    [
        ("agent", "'agent'"),
        (7, "7"),
        ({"agent": 1}, "{'agent': 1}"),
        ([7], "7"),
        ([""], "''"),
        (["*"], "'*'"),
        (["agent*"], "'agent*'"),
        (["a,O=b"], "'a,O=b'"),
        (['a"b'], "'a\"b'"),
        (["a\n"], "'a\\n'"),
        (["a; }"], "'a; }'"),
        (["a(b"], "'a(b'"),
        (["a "], "'a '"),
        (["é"], "'é'"),
        (["a" * 65], repr("a" * 65)),
        ([["agent"]], "['agent']"),
    ],
)
def test_names_of_clients_that_do_not_do(names: Any, quote: str) -> None:
    """A name becomes a part of an expression; the one that does not do is shown."""
    given = listener_tls(client_ca=authority().certificate, client_names=names)
    (complaint,) = listening(given)[1]
    assert complaint.startswith(f"proxy1: grpc_proxy_tls.client_names is {quote}; give ")


@pytest.mark.parametrize("profile", ["old", "TLSv1.2", None, 7, ["modern"], "modern; }"])
def test_profiles_that_do_not_do(profile: Any) -> None:
    """There are two."""
    assert listening(listener_tls(profile=profile))[1] == [
        f"proxy1: grpc_proxy_tls.profile is {profile!r}; choose one of intermediate, modern."
    ]


def test_a_name_that_the_certificate_does_not_bear() -> None:
    """It is held against the certificate."""
    assert listening(listener_tls(server_name="other.example"))[1] == [
        "proxy1: grpc_proxy_tls.server_name is 'other.example'; the certificate is not for this "
        "name."
    ]


# Names


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, ""), ("", ""), ("A.Example", "a.example"), ("a.example.", "a.example"), ("a", "a")],
)
def test_server_names(value: Any, name: str) -> None:
    """In lower case, and without the dot that no client asks with."""
    reader = Reader("proxy1")
    assert (read_server_name(reader, "x", value), reader.complaints) == (name, [])


@pytest.mark.parametrize("value", ["a b", "*.example", "a;", "a\n", "~^a", 7, True, ["a"], ".a"])
def test_server_names_that_do_not_do(value: Any) -> None:
    """Nginx would take a star or a tilde for a pattern."""
    reader = Reader("proxy1")
    assert read_server_name(reader, "x", value) == ""
    assert reader.complaints == [f"proxy1: x is {value!r}; give a host name."]


@given(text=TEXTS)
def test_no_server_name_passes(text: str) -> None:
    """Either it is complained about, or what is read of it is clean."""
    reader = Reader("proxy1")
    found = read_server_name(reader, "x", text)
    assert bool(found) == (text != "" and not reader.complaints)
    assert clean(found)


# Servers


def test_upstream() -> None:
    """Verified by an authority and a name; a client certificate by choice."""
    found, complaints = upstream(upstream_tls())
    assert complaints == []
    assert {key: found[key] for key in ("ca", "certificate", "private_key", "name")} == {
        "ca": "tls/upstream-ca.pem",
        "certificate": "",
        "private_key": "",
        "name": "oap.example",
    }
    shown = server("proxy.example")
    given = upstream_tls(certificate=shown.certificate, private_key=shown.private_key)
    found, complaints = upstream(given)
    assert complaints == []
    assert (found["certificate"], found["private_key"]) == (
        "tls/upstream-certificate.pem",
        "tls/upstream-private_key.pem",
    )
    assert [item["path"] for item in found["secrets"]] == ["tls/upstream-private_key.pem"]


@pytest.mark.parametrize("given", [{}, {"enabled": False}, {"enabled": "no"}])
def test_no_upstream(given: dict[str, Any]) -> None:
    """Clear text, said or not."""
    assert upstream(given) == ({}, [])


def test_upstream_that_is_not_enabled() -> None:
    """What nothing would use is told, whatever its keys are."""
    given = {"name": "oap.example", "ca": authority().certificate, 7: 7}
    assert upstream(given)[1] == [  # type: ignore[arg-type]
        "proxy1: x has 7, ca, name but not enabled: true; nothing would use it."
    ]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"ca": None}, "x.ca is empty; give it, or leave it out altogether."),
        ({"name": None}, "x.name is missing; give the name that the servers' certificate bears."),
        ({"name": "a b"}, "x.name is 'a b'; give the name"),
        ({"name": "10.0.0.11"}, "x.name is '10.0.0.11'; give the name"),
        ({"name": "a; }"}, "x.name is 'a; }'; give the name"),
        ({"name": 7}, "x.name is 7; give the name"),
        ({"name": ["a"]}, "x.name is ['a']; give the name"),
        ({"enabled": "maybe"}, "x.enabled is 'maybe'; give true or false."),
        ({"certificate": server().certificate}, "x has one of certificate and private_key"),
        ({"private_key": server().private_key}, "x has one of certificate and private_key"),
        ({"ca": server().certificate}, "x.ca holds CN=proxy.example, which is no certificate"),
        ({"ca": "x"}, "x.ca holds no certificate in PEM"),
    ],
)
def test_complaints_about_upstream(changed: dict[str, Any], complaint: str) -> None:
    """Each names the whole variable."""
    complaints = upstream(upstream_tls(**changed))[1]
    assert complaints[0].startswith(f"proxy1: {complaint}")


@given(text=TEXTS | st.none())
def test_no_name_of_an_upstream_passes(text: str | None) -> None:
    """Either it is complained about, or what is read of it is clean."""
    found, complaints = upstream(upstream_tls(name=text))
    assert complaints or (found["name"] == text and clean(text))
