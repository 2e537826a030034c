"""The configuration is wrong: what is refused, and what is found by its answers."""

from typing import Any

import pytest

from tests.faults.fault import PREFLIGHT, Fault, undergo
from tests.faults.secrets import NAME, planted
from tests.faults.site import CONFIGURE, MODULE, PORT, USUAL, Site, none_lost, snippet, together
from tests.faults.table import Story
from tests.hosts import inside
from tests.hosts.pki import DAYS

pytestmark = pytest.mark.nginx(USUAL, container=True)
# Files of the user's own on the host.
USERS = "/etc/oap-users"
LIMITS = f"{USERS}/limits.conf"
KEY = f"{USERS}/key.pem"
INCLUDED = snippet(f"include {LIMITS};", "http")
COLLECT = "/skywalking.v3.TraceSegmentReportService/"
MANAGEMENT = "/skywalking.v3.ManagementService/"
LOOK = "look for an error_page, a location, a return or a rewrite in grpc_proxy_snippets"
# A directive that this nginx does not know yet, or does not know any more.
UNKNOWN = {
    "1.18": "ssl_reject_handshake off;",
    "1.22": "http2 on;",
    "1.26": "keepalive_min_timeout 0;",
    "1.30": "ssl off;",
}


def certificate(name: str, key: str = "") -> dict[str, Any]:
    """Return the settings for a certificate that the user keeps on the host."""
    own = f"{USERS}/{name}-key.pem"
    paths = {"certificate_path": f"{USERS}/{name}.pem", "private_key_path": key or own}
    return {"grpc_proxy_tls": {**paths, "server_name": NAME}}


def shown(name: str) -> tuple[tuple[str, str], ...]:
    """Return the change in nginx's own words."""
    return (
        (r"ssl_certificate \S+;", f"ssl_certificate {USERS}/{name}.pem;"),
        (r"ssl_certificate_key \S+;", f"ssl_certificate_key {USERS}/{name}-key.pem;"),
    )


def own_fallback(lines: str) -> dict[str, Any]:
    """Return the settings for a location as the proxy has it, with a fallback of the user's."""
    return snippet(
        f"location ^~ {MANAGEMENT} {{\n"
        "    error_page 502 504 = @users;\n"
        "    include pools.d/skywalking.conf;\n"
        "    if ($oap_proxy_probe = unavailable) { grpc_pass grpc://oap_proxy_unavailable; }\n"
        "    grpc_pass grpc://oap_proxy_oaps;\n"
        f"}}\nlocation @users {{ {lines} }}"
    )


def overriding(name: str, settings: dict[str, Any], *says: str) -> Fault:
    """Return a fault of a configuration that answers wrongly, found by its answers."""
    return Fault(name, settings, "fallback", ("In a rehearsal", *says, LOOK))


FAULTS = [
    Fault(
        "syntax error",
        snippet("client_max_body_size 0"),
        "rejected",
        ("unexpected end of file", "server.d/90-snippet.conf:2"),
        log="unexpected end of file",
    ),
    Fault(
        "directive that this nginx does not know",
        lambda proxy: snippet(UNKNOWN[proxy.version]),
        "rejected",
        ("unknown directive", "server.d/90-snippet.conf:1"),
        log="unknown directive",
    ),
    Fault(
        "file missing",
        INCLUDED,
        "rejected",
        (f'"{LIMITS}" failed (2: No such file or directory)', "http.d/90-snippet.conf:1"),
        log="No such file",
        cause=f"rm -rf {LIMITS}",
        mend=f"touch {LIMITS}",
    ),
    Fault(
        "file that cannot be read (a directory)",
        INCLUDED,
        "rejected",
        (LIMITS, "21: Is a directory"),
        log="Is a directory",
        cause=f"rm -rf {LIMITS}; mkdir {LIMITS}",
        mend=f"rmdir {LIMITS}; touch {LIMITS}",
    ),
    Fault(
        "key of another certificate",
        certificate("now", KEY),
        "rejected",
        ("key values mismatch", "The private key does not fit its certificate", KEY),
        log="key values mismatch",
        cause=f"cp {USERS}/past-key.pem {KEY}",
        mend=f"cp {USERS}/now-key.pem {KEY}",
    ),
    Fault(
        "certificate has expired",
        certificate("past"),
        PREFLIGHT,
        (f"certificate_path ({USERS}/past.pem) has expired on", "renew it", NAME),
        exchange=shown("past"),
    ),
    Fault(
        "certificate is not yet valid",
        certificate("future"),
        PREFLIGHT,
        (f"({USERS}/future.pem) is valid from", "grpc_proxy_certificate_dates"),
        exchange=shown("future"),
    ),
    Fault(
        "name of an OAP does not resolve",
        {},
        PREFLIGHT,
        ("far-oap", "cannot resolve", "oap.invalid", "next boot", "give an address (oap_address"),
        oaps={"far-oap": {"oap_address": "oap.invalid"}},
        exchange=((rf"server [0-9.]+:{PORT}", f"server oap.invalid:{PORT}"),),
    ),
    Fault(
        "name of an upstream in a snippet does not resolve",
        snippet("upstream users { server oap.invalid:11800; }", "http"),
        "rejected",
        ('host not found in upstream "oap.invalid:11800"', "http.d/90-snippet.conf:1"),
        log="host not found",
    ),
    overriding(
        "snippet overrides the fallback",
        own_fallback('return 502 "The OAP is down";'),
        MANAGEMENT, "HTTP status 502 instead of 200",
    ),
    overriding(
        "snippet drops application/grpc",
        own_fallback("add_header grpc-status 14 always; return 200;"),
        MANAGEMENT, "instead of application/grpc",
    ),
    overriding(
        "snippet as it is widely copied: grpc-status 14 on a 204",
        own_fallback("default_type application/grpc; add_header grpc-status 14; return 204;"),
        MANAGEMENT, "HTTP status 204 instead of 200",
    ),
    overriding(
        "snippet answers 204 for one service",
        snippet(f"location ^~ {COLLECT} {{ return 204; }}"),
        COLLECT, "HTTP status 204 instead of 200",
    ),
    # It asks a real OAP, which no rehearsal can reach.
    Fault(
        "snippet shadows the location of a method",
        snippet(f"location = {COLLECT}collectInSync {{ grpc_pass grpc://oap_proxy_oaps; }}"),
        "fallback",
        (f"{COLLECT}collectInSync", LOOK),
        rolled_back=True,
        lossless=False,
    ),
    Fault(
        "snippet denies everyone",
        snippet("deny all;"),
        "fallback",
        ("In a rehearsal", "PERMISSION_DENIED", "let them allow the host's own addresses"),
    ),
    Fault(
        "snippet answers 204 for all",
        snippet("if ($request_method = POST) { return 204; }"),
        "not_live",
        ("In a rehearsal", "in the place of the proof", "grpc_proxy_snippets"),
    ),
    Fault(
        "snippet closes the location of the proof",
        snippet('if ($uri ~ "^/-/oap-proxy/") { return 404; }'),
        "not_live",
        ("In a rehearsal", "in the place of the proof", "grpc_proxy_snippets"),
    ),
]  # fmt: skip


def put_files(proxy: Site) -> None:
    """Put certificates by their validity, each with its key, on a host."""
    files = {LIMITS: ""}
    for validity in DAYS:
        identity = planted().authority.server(NAME, validity=validity)
        files[f"{USERS}/{validity}.pem"] = identity.chain
        files[f"{USERS}/{validity}-key.pem"] = identity.private_key
    inside.put(proxy.machine.container, files)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_row(proxies: tuple[Site, ...], story: Story, fault: Fault) -> None:
    """One row of the table."""

    def row(proxy: Site) -> None:
        put_files(proxy)
        undergo(proxy, story, fault)

    together(proxies, row)


def test_expired_certificate_by_choice(proxy: Site, story: Story) -> None:
    """With grpc_proxy_certificate_dates: warn it is deployed, and said."""
    put_files(proxy)
    live = proxy.have_usual()
    wanted = {**certificate("past"), "grpc_proxy_certificate_dates": "warn"}
    with proxy.load() as load:
        run = proxy.play(wanted, playbook=CONFIGURE)
    assert run.changed() == 1
    assert run.of_module(MODULE)["generation"] == proxy.generation() != live
    warned = str(run.of_module("ansible.builtin.debug")["msg"])
    assert f"grpc_proxy_tls.certificate_path ({USERS}/past.pem) has expired on" in warned
    none_lost(load)
    fault = "certificate has expired, grpc_proxy_certificate_dates: warn"
    story.tell(fault, "none: warns", "the new one", load)
