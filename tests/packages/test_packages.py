"""nginx from a repository of nginx.org's shape: installed, pinned, held, and left again."""

import pytest

from tests.capabilities.deployment import VERIFY
from tests.faults.files import differences
from tests.faults.playbook import Variables
from tests.packages.conftest import Site

GENERATION_DIGITS = 12
UNINSTALL = "playbooks/uninstall.yml"
KEYRING = "/etc/apt/keyrings/skywalking-oap-proxy.asc"
PRIORITY = "/etc/apt/preferences.d/skywalking-oap-proxy.pref"
SOURCES = "/etc/apt/sources.list.d/skywalking-oap-proxy.sources"
MARK = "/var/lib/misc/skywalking-oap-proxy.origin"
HELD = "/var/lib/misc/skywalking-oap-proxy.held"
# What apt and dpkg know, and what the roles note.
APT = ("/etc/apt", "/var/lib/misc")
OWN_SERVICE = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}


def serves(site: Site, user: str) -> None:
    """Hold that the proxy serves, with workers and logs of that user."""
    assert len(site.machine.generation()) == GENERATION_DIGITS
    workers = site.machine.run("ps", "-o", "user=", "--ppid", str(site.machine.pid("oap-proxy")))
    assert set(workers.split()) == {user}
    log = "/var/log/oap-proxy/access.log"
    assert site.machine.run("stat", "--format", "%U %G %a", log) == f"{user} adm 640"
    assert f"create 0640 {user} adm" in site.machine.run("cat", "/etc/logrotate.d/oap-proxy")
    assert site.machine.unit("nginx.service", *OWN_SERVICE) == OWN_SERVICE


def settles(site: Site, settings: Variables) -> None:
    """Bring settings live; then a second run changes nothing, and verify finds nothing to say."""
    site.proxy.install(settings)
    assert site.proxy.play(settings).changed() == 0
    assert site.proxy.play(settings, playbook=VERIFY).changed() == 0


def candidate(site: Site, package: str) -> str:
    """Return the version of a package that apt would install."""
    told = site.machine.run("apt-cache", "policy", package)
    return told.partition("Candidate: ")[2].partition("\n")[0]


@pytest.mark.parametrize("host", ["bookworm", "bullseye"])
def test_from_the_repository_and_back(request: pytest.FixtureRequest, host: str) -> None:
    """Each way on one host: its user, what apt trusts, and nothing of it once it is left."""
    site: Site = request.getfixturevalue(host)
    repository = site.repository
    settles(site, {})
    ours = site.installed()
    serves(site, "www-data")
    before = site.machine.listing(*APT)
    for path in (KEYRING, PRIORITY, SOURCES, MARK):
        assert path not in before

    settles(site, site.settings())
    assert site.installed() == repository.versions[-1]
    serves(site, "nginx")
    # Nothing that others may write, and a key that vouches for this repository alone.
    for path in (KEYRING, PRIORITY, SOURCES, MARK):
        assert site.machine.run("stat", "--format", "%U %G %a", path) == "root root 644"
    assert site.machine.run("stat", "--format", "%U %a", KEYRING.rpartition("/")[0]) == "root 755"
    assert f"Signed-By: {KEYRING}" in site.machine.run("cat", SOURCES).splitlines()
    for path in ("/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d/skywalking-oap-proxy.asc"):
        assert site.machine.status("test", "-e", path) != 0
    # logrotate is there too, in a version that is newer than Debian's.
    assert "99:1" in site.machine.run("apt-cache", "madison", "logrotate")
    assert not candidate(site, "logrotate").startswith("99:")
    assert candidate(site, "nginx") == repository.versions[-1]

    settles(site, {})
    assert site.installed() == ours
    serves(site, "www-data")
    left = differences(before, site.machine.listing(*APT))
    # apt's own directory, which Debian 11 does not bring.
    assert set(left) <= {KEYRING.rpartition("/")[0]}


def test_version_and_hold(bookworm: Site) -> None:
    """A version is kept to, up and down; a hold is ours, and gone when it is not wanted."""
    old, new = bookworm.repository.versions
    settles(bookworm, bookworm.settings(version=old, hold=True))
    assert (bookworm.installed(), bookworm.held()) == (old, True)
    # apt keeps to it, too: a hold apart.
    assert candidate(bookworm, "nginx") == old
    # What is there will do for the version of nginx itself, and where none is asked for.
    settles(bookworm, bookworm.settings(version=bookworm.repository.upstream, hold=True))
    assert bookworm.installed() == old
    settles(bookworm, bookworm.settings(hold=True))
    assert (bookworm.installed(), bookworm.held()) == (old, True)
    settles(bookworm, bookworm.settings(version=new, hold=True))
    assert (bookworm.installed(), bookworm.held()) == (new, True)
    settles(bookworm, bookworm.settings(version=old))
    assert (bookworm.installed(), bookworm.held()) == (old, False)
    assert bookworm.machine.status("test", "-e", HELD) != 0
    serves(bookworm, "nginx")


def test_hold_of_somebody(bookworm: Site) -> None:
    """What somebody else holds is not changed, and not let go of."""
    old, new = bookworm.repository.versions
    bookworm.proxy.install(bookworm.settings(version=old))
    bookworm.machine.run("apt-mark", "hold", "nginx")
    try:
        settles(bookworm, bookworm.settings(version=old))
        before = bookworm.machine.listing(*APT)
        message = bookworm.proxy.refused(bookworm.settings(version=new))
        assert differences(before, bookworm.machine.listing(*APT)) == {}
        assert (bookworm.installed(), bookworm.held()) == (old, True)
    finally:
        bookworm.machine.run("apt-mark", "unhold", "nginx")
    for part in (f"nginx is to be {new}", f"holds it at {old}", "apt-mark unhold nginx"):
        assert part in message


def test_run_that_was_killed_on_the_way(bookworm: Site) -> None:
    """A repository that is described, and nginx not yet from there: the next run goes on."""
    bookworm.proxy.install({})
    settings = bookworm.settings()
    for path, text in (
        (KEYRING, bookworm.repository.key("right")),
        (SOURCES, "# Managed by Ansible.\n"),
    ):
        bookworm.machine.write(path, text)
    settles(bookworm, settings)
    assert bookworm.installed() == bookworm.repository.versions[-1]
    # And so it does where everything was written, and the installation was not.
    bookworm.machine.run("rm", MARK)
    run = bookworm.proxy.play(settings)
    assert run.changed() == 1
    assert bookworm.machine.status("test", "-e", MARK) == 0


def test_verify_tells_of_what_was_changed(bookworm: Site) -> None:
    """A key that others may write, and a hold that was taken off, are told."""
    settings = bookworm.settings(hold=True)
    bookworm.proxy.install(settings)
    bookworm.machine.run("chmod", "0666", KEYRING)
    bookworm.machine.run("apt-mark", "unhold", "nginx")
    message = bookworm.proxy.play(settings, playbook=VERIFY).failure().message
    for part in (f"{KEYRING} is not as site.yml leaves it", "apt-mark does not hold nginx"):
        assert part in message
    settles(bookworm, settings)
    assert bookworm.machine.run("stat", "--format", "%a", KEYRING) == "644"


def test_package_that_cannot_be_installed(bookworm: Site) -> None:
    """What apt fails at after all leaves no repository behind on a host that had none."""
    bookworm.proxy.install({})
    before = bookworm.machine.listing("/etc/apt", "/var/lib/misc", "/var/lib/dpkg/info")
    settings = bookworm.settings()
    bookworm.repository.lose_packages()
    try:
        message = bookworm.proxy.play(settings).failure().message
    finally:
        bookworm.repository.make()
    after = bookworm.machine.listing("/etc/apt", "/var/lib/misc", "/var/lib/dpkg/info")
    assert differences(before, after) == {}
    for part in ("cannot install nginx=", "404", "No configuration was written"):
        assert part in message
    serves(bookworm, "www-data")


def test_uninstall(bookworm: Site) -> None:
    """Nothing of it is left but the package; while another proxy is there, all of it stays."""
    settings = bookworm.settings(hold=True)
    bookworm.proxy.install(settings)
    bookworm.machine.run("mkdir", "--parents", "/etc/nginx/other/generations")
    bookworm.proxy.play(settings, playbook=UNINSTALL).changed()
    assert bookworm.machine.status("test", "-e", SOURCES) == 0
    assert bookworm.held()

    bookworm.proxy.install(settings)
    bookworm.machine.run("rm", "--recursive", "/etc/nginx/other")
    bookworm.proxy.play(settings, playbook=UNINSTALL).changed()
    for path in (KEYRING, PRIORITY, SOURCES, MARK, HELD):
        assert bookworm.machine.status("test", "-e", path) != 0
    assert not bookworm.held()
    assert bookworm.installed() == bookworm.repository.versions[-1]
