"""What is wrong with a repository, its key or a version is told before anything is changed."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.faults.files import differences
from tests.faults.machine import EVERYTHING
from tests.packages.conftest import Site

PREFIX = "grpc_proxy_package_"
# What a run may not touch, apt's own lists among it.
PLACES = (*EVERYTHING, "/var/lib/apt", "/var/lib/misc", "/var/cache/apt")
# Whoever asks apt for anything renews these where they are older than its lists.
RENEWED = {f"/var/cache/apt/{name}.bin" for name in ("pkgcache", "srcpkgcache")}


def touched(site: Site, before: dict[str, str]) -> set[str]:
    """Return the files of the host that are not as before."""
    return set(differences(before, site.machine.listing(*PLACES))) - RENEWED


def refused(site: Site, **changed: object) -> str:
    """Return the message with which a run ends that changed nothing on the host."""
    settings = site.settings(**changed)
    before = site.machine.listing(*PLACES)
    message = site.proxy.refused(settings)
    assert touched(site, before) == set()
    assert "Nothing was changed" in message
    return message


@dataclass
class Served:
    """A text that the controller can fetch."""

    text: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """Serve a text on this machine, and yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the text."""
            served.requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served.text.encode())

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/nginx_signing.key"
        finally:
            server.shutdown()


def test_key_of_somebody_else(bookworm: Site) -> None:
    """A key whose fingerprint is not among those given is told by its own."""
    message = refused(bookworm, key=bookworm.repository.key("other"))
    for part in (
        f"{PREFIX}key has the fingerprint {bookworm.repository.fingerprint('other')}",
        f"{PREFIX}fingerprints",
    ):
        assert part in message


def test_key_with_another_beside_it(bookworm: Site) -> None:
    """A key that may be trusted brings no other with it."""
    both = bookworm.repository.key("right") + bookworm.repository.key("other")
    message = refused(bookworm, key=both)
    assert bookworm.repository.fingerprint("other") in message
    assert bookworm.repository.fingerprint("right") not in message


def test_fetched_key_of_somebody_else(bookworm: Site) -> None:
    """What an address brings is held against the fingerprints as well."""
    served = Served(bookworm.repository.key("other"))
    with serving(served) as address:
        message = refused(bookworm, key=address)
    assert served.requests == ["/nginx_signing.key"]
    for part in (address, bookworm.repository.fingerprint("other"), "Compare it"):
        assert part in message


def test_key_that_cannot_be_fetched(bookworm: Site) -> None:
    """Where nothing answers, the way out is told."""
    with serving(Served("")) as address:
        pass
    message = refused(bookworm, key=address)
    for part in (f"cannot fetch {PREFIX}key from {address}", "give the key as text"):
        assert part in message


def test_key_that_did_not_sign(bookworm: Site) -> None:
    """A key that may be trusted, of a repository that another one has signed."""
    other = bookworm.repository.fingerprint("other")
    message = refused(bookworm, key=bookworm.repository.key("other"), fingerprints=[other])
    signer = bookworm.repository.fingerprint("right")[-16:]
    for part in (f"from {bookworm.repository.url} bookworm", f"NO_PUBKEY {signer}", f"{PREFIX}key"):
        assert part in message


@pytest.mark.parametrize(
    ("names", "expression", "told"),
    [
        ("InRelease", "s/Origin: nginx/Origin: other/", "BADSIG"),
        ("nginx/*/Packages*", "$ a\\more", "unexpected size"),
    ],
)
def test_repository_that_was_tampered_with(
    bookworm: Site, names: str, expression: str, told: str
) -> None:
    """What was changed after it was signed is not taken."""
    bookworm.repository.tamper(names, expression)
    try:
        message = refused(bookworm)
    finally:
        bookworm.repository.make()
    assert told in message
    assert f"from {bookworm.repository.url} bookworm" in message


def test_repository_without_a_signature(bookworm: Site) -> None:
    """What nobody has signed is not taken, whatever the host allows."""
    allowed = "/etc/apt/apt.conf.d/99-careless"
    bookworm.machine.write(allowed, 'Acquire::AllowInsecureRepositories "true";\n')
    bookworm.repository.remove("InRelease")
    try:
        message = refused(bookworm)
    finally:
        bookworm.repository.make()
        bookworm.machine.run("rm", allowed)
    assert "is not signed" in message


def test_repository_that_is_not_there(bookworm: Site) -> None:
    """An address of nothing is told in apt's words."""
    message = refused(bookworm, repository=f"{bookworm.repository.url}/elsewhere")
    assert "does not have a Release file" in message


def test_repository_that_does_not_answer(bookworm: Site) -> None:
    """So is one where nothing listens."""
    message = refused(bookworm, repository="http://127.0.0.1:9/debian")
    assert "Could not connect to 127.0.0.1:9" in message


def test_repository_that_somebody_has_described(bookworm: Site) -> None:
    """Where apt could read no source at all any more, the host keeps those that it has."""
    source = "/etc/apt/sources.list.d/mine.list"
    url = bookworm.repository.url
    bookworm.machine.write(source, f"deb [signed-by=/etc/my.asc] {url} bookworm nginx\n")
    try:
        message = refused(bookworm)
    finally:
        bookworm.machine.run("rm", source)
    assert "Conflicting values set for option Signed-By" in message


@pytest.mark.parametrize("version", ["1.99.0", "1.22", "1.22.1-9"])
def test_version_that_there_is_not(bookworm: Site, version: str) -> None:
    """The versions that there are are named."""
    message = refused(bookworm, version=version)
    for part in (
        f"{PREFIX}version is {version}",
        ", ".join(reversed(bookworm.repository.versions)),
    ):
        assert part in message


def test_version_that_the_distribution_has_not(bookworm: Site) -> None:
    """The same without a repository."""
    message = refused(bookworm, source="distribution", version="1.99.0")
    for part in (f"{PREFIX}version is 1.99.0", "the host's own sources", "1.22.1-9"):
        assert part in message
    assert "~bookworm" not in message


def test_plan(bookworm: Site) -> None:
    """A run in check mode shows what would be installed and written, and changes nothing."""
    settings = bookworm.settings()
    # Back from there: where nobody knows that it came from there, it would be kept.
    bookworm.proxy.install(settings)
    bookworm.proxy.install({})
    before = bookworm.machine.listing(*PLACES)
    run = bookworm.proxy.play(settings, "--check", "--diff")
    assert run.changed() > 0
    assert touched(bookworm, before) == set()
    newest = bookworm.repository.versions[-1]
    for part in (
        f"Would install nginx={newest}",
        f"; nginx from {bookworm.repository.url} bookworm, instead of ",
        f"URIs: {bookworm.repository.url}",
        "Pin-Priority: 1001",
    ):
        assert part in run.output
