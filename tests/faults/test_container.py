"""What can be wrong with a container and its engine, beside what can be wrong with any nginx."""

import json
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.faults.around import CHANGE, Disturbance, heals
from tests.faults.playbook import Variables
from tests.faults.site import (
    CONFIGURE,
    CONTAINER,
    GENERATION,
    MODULE,
    PORT,
    ROOT,
    SITE,
    UNIT,
    VERIFY,
    Site,
    none_lost,
    refused,
    steady,
)
from tests.faults.table import Story
from tests.hosts import images, lab
from tests.hosts.load import CALL_SECONDS, OPTIONS

pytestmark = pytest.mark.nginx(CONTAINER)
NEXT = f"{UNIT}-next"
ENGINE_SECONDS = 30.0
LOG_SECONDS = 5.0
# It says of itself what it is, tests what it is given, and does not serve.
BROKEN = """\
FROM {image}
RUN mv /usr/sbin/nginx /usr/sbin/nginx-real && printf '%s\\n' '#!/bin/sh' \
 'case " $* " in *" -V "*|*" -t "*) exec /usr/sbin/nginx-real "$@";; esac' \
 'echo "nginx: [emerg] this one does not serve" >&2; exit 1' > /usr/sbin/nginx \
 && chmod 755 /usr/sbin/nginx
"""
NOT_NGINX = "FROM {image}\nRUN rm /usr/sbin/nginx\n"
# As docker save writes one, which docker load takes for any architecture.
OF_ANOTHER_ARCHITECTURE = """\
mkdir -p /root/elsewhere
cd /root/elsewhere
tar -cf layer.tar -C / etc/hostname
layer=$(sha256sum layer.tar | cut -d' ' -f1)
printf '{"architecture": "arm64", "os": "linux", "config": {}, "rootfs": \
{"type": "layers", "diff_ids": ["sha256:%s"]}}' "$layer" > config.json
echo '[{"Config": "config.json", "RepoTags": ["IMAGE"], "Layers": ["layer.tar"]}]' > manifest.json
tar -c config.json layer.tar manifest.json | docker load --quiet
"""
REGISTRY = "localhost:5000"
PRIVATE = f"{REGISTRY}/team/nginx:1"
LOGIN = {"url": REGISTRY, "username": "team", "password": "of-the-registry"}
REGISTRY_CONFIG = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}
http: {addr: 127.0.0.1:5000}
auth: {htpasswd: {realm: faults, path: /etc/docker/registry/htpasswd}}
"""


def docker(proxy: Site, *arguments: str) -> str:
    """Run a command of docker on the host."""
    return proxy.machine.run("docker", *arguments)


def built(proxy: Site, tag: str, dockerfile: str) -> str:
    """Have an image made from the usual one on the host; return its name."""
    text = dockerfile.format(image=proxy.image)
    proxy.machine.write("/root/Dockerfile", text)
    proxy.machine.run("sh", "-c", f"docker build --quiet --tag {tag} - < /root/Dockerfile")
    return tag


def containers(proxy: Site) -> dict[str, str]:
    """Return state and name of each container on the host."""
    lines = docker(proxy, "ps", "--all", "--format={{.Names}} {{.State}}").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def image_of(proxy: Site) -> str:
    """Return the name of the image of the container that serves."""
    return docker(proxy, "inspect", "--format={{.Config.Image}}", UNIT)


@pytest.fixture
def other_image(proxy: Site) -> str:
    """Return another image with the same nginx."""
    return built(proxy, "oap-proxy-lab/other:1", "FROM {image}\nLABEL other=1\n")


@pytest.mark.parametrize(
    "fault",
    [
        Disturbance("container stopped", f"docker stop {UNIT}", "started", ("does not run",)),
        Disturbance("container killed", f"docker kill {UNIT}", "started", ("does not run",)),
        Disturbance(
            "what is on disk cannot start, the engine tries again and again",
            f"echo nonsense > {ROOT}/current/nginx.conf\n"
            f"docker kill --signal=TERM {UNIT}\nsleep 2\n",
            "started",
            ("was edited since it was sealed (nginx.conf)",),
        ),
    ],
    ids=lambda fault: fault.name,
)
def test_heals(proxy: Site, story: Story, fault: Disturbance) -> None:
    """A run starts it and proves it; the run after changes nothing."""
    heals(proxy, story, fault)


def test_removed(proxy: Site, story: Story) -> None:
    """A container that is gone is created anew."""
    proxy.have_usual()
    docker(proxy, "rm", "--force", UNIT)
    failure = proxy.play(playbook=VERIFY).failure()
    assert "proxy1: " in failure.message
    run = proxy.play()
    assert run.of_module(MODULE)["action"] == "started"
    assert run.changed() >= 1
    proxy.usual = proxy.generation()
    assert proxy.usual == proxy.current()
    assert proxy.play().changed() == 0
    story.tell("container removed", "none: started", "the usual one")


def test_paused(proxy: Site, story: Story) -> None:
    """A container that is paused acts on nothing: told, and untouched."""
    live = proxy.have_usual()
    docker(proxy, "pause", UNIT)
    try:
        for _time in range(2):
            failure = proxy.play(CHANGE, playbook=CONFIGURE).failure()
            refused(
                failure, "not_live", "is paused", f"docker unpause {UNIT}", "Nothing was changed"
            )
    finally:
        docker(proxy, "unpause", UNIT)
    assert proxy.generation() == proxy.current() == live
    story.tell("container paused", "not_live", "nothing, as before")
    proxy.play(CHANGE, playbook=CONFIGURE).changed()
    assert proxy.generation() != live


def test_health(proxy: Site) -> None:
    """What docker asks for the health of the container, on each listener, by IPv6 and TLS too."""
    live = proxy.have_usual()
    asked = docker(proxy, "exec", UNIT, "sh", f"{ROOT}/current/health.sh")
    assert asked == f"generation {live}"
    assert f"{ROOT}/current/health.sh" in docker(
        proxy, "inspect", "--format={{.Config.Healthcheck.Test}}", UNIT
    )


def test_rehearsed(proxy: Site) -> None:
    """A change is proven in a container of its own before it serves."""
    proxy.have_usual()
    result = proxy.play(CHANGE, playbook=CONFIGURE).of_module(MODULE)
    assert (result["rehearsed"], result["not_rehearsed"]) == (True, None)


def test_engine_stopped(proxy: Site, story: Story) -> None:
    """Without an engine nothing is done; when it is back, its containers are."""
    live = proxy.have_usual()
    before = proxy.machine.listing()
    proxy.machine.run("systemctl", "stop", "docker.socket", "docker.service")
    try:
        failure = proxy.play(CHANGE).failure()
        for part in ("the docker engine does not answer", "systemctl status docker"):
            assert part in failure.message, failure.message
        assert "Nothing was changed" in failure.message
    finally:
        proxy.machine.run("systemctl", "start", "docker.service")
    end = time.monotonic() + ENGINE_SECONDS
    while proxy.machine.generation(PORT, proxy.address) != live:
        assert time.monotonic() < end, "the engine did not start the container again"
        time.sleep(0.1)
    assert proxy.machine.listing() == before
    assert proxy.play().changed() == 0
    story.tell("engine stopped", "preflight", "nothing, as before")


def test_image_gone(proxy: Site, story: Story) -> None:
    """The container serves on; what would be tested with it is not there."""
    live = proxy.have_usual()
    absent = {"grpc_proxy_container_image": "oap-proxy-lab/absent:1"}
    with proxy.load() as load:
        failure = proxy.play({**CHANGE, **absent}).failure()
        for part in ("oap-proxy-lab/absent:1 is not on this host", "Nothing was changed"):
            assert part in failure.message, failure.message
        pulled = {**absent, "grpc_proxy_container_pull": "missing"}
        failure = proxy.play({**CHANGE, **pulled}).failure()
        for part in ("cannot pull oap-proxy-lab/absent:1", "What serves was not touched"):
            assert part in failure.message, failure.message
        steady(load)
    none_lost(load)
    assert proxy.generation() == proxy.current() == live
    story.tell("image that is not there, and cannot be pulled", "preflight", "as before", load)


def test_image_without_nginx(proxy: Site, story: Story) -> None:
    """Refused before anything is replaced."""
    live = proxy.have_usual()
    image = built(proxy, "oap-proxy-lab/without:1", NOT_NGINX)
    before = containers(proxy)
    with proxy.load() as load:
        failure = proxy.play({"grpc_proxy_container_image": image}).failure()
        for part in (f"the nginx of {image} cannot be a gRPC proxy", "What serves was not touched"):
            assert part in failure.message, failure.message
        steady(load)
    none_lost(load)
    assert containers(proxy) == before
    assert proxy.generation() == live
    story.tell("image without nginx", "preflight", "as before", load)


def test_image_of_another_architecture(proxy: Site, story: Story) -> None:
    """Told as what it is, before anything is replaced."""
    live = proxy.have_usual()
    image = "oap-proxy-lab/elsewhere:1"
    proxy.machine.run("sh", "-euc", OF_ANOTHER_ARCHITECTURE.replace("IMAGE", image))
    before = containers(proxy)
    failure = proxy.play({"grpc_proxy_container_image": image}).failure()
    for part in (f"{image} is for arm64, this host is amd64", "What serves was not touched"):
        assert part in failure.message, failure.message
    assert (containers(proxy), proxy.generation()) == (before, live)
    story.tell("image of another architecture", "preflight", "as before")


@pytest.fixture
def registry(proxy: Site) -> None:
    """A registry on the host that knows one user, with an image that the engine has not."""
    machine = proxy.machine
    machine.run("apt-get", "install", "--yes", "docker-registry", "apache2-utils")
    machine.write("/etc/docker/registry/config.yml", REGISTRY_CONFIG)
    words = LOGIN["username"], LOGIN["password"]
    machine.run("htpasswd", "-Bbc", "/etc/docker/registry/htpasswd", *words)
    machine.run("systemctl", "restart", "docker-registry")
    pushes(proxy)
    docker(proxy, "image", "rm", PRIVATE)


def pushes(proxy: Site) -> None:
    """Have somebody push another image than the one before, with the usual nginx."""
    built(proxy, PRIVATE, f"FROM {{image}}\nLABEL pushed={time.monotonic()}\n")
    docker(
        proxy,
        "login",
        f"--username={LOGIN['username']}",
        f"--password={LOGIN['password']}",
        REGISTRY,
    )
    docker(proxy, "push", "--quiet", PRIVATE)
    docker(proxy, "logout", REGISTRY)


@pytest.mark.usefixtures("registry")
def test_private_registry(proxy: Site, story: Story) -> None:
    """An image comes with the right password alone, which nobody is told; always asks again."""
    live = proxy.have_usual()
    asked = {"grpc_proxy_container_image": PRIVATE, "grpc_proxy_container_pull": "missing"}
    before = containers(proxy)
    for login in ({}, {**LOGIN, "password": "of-nobody"}):
        run = proxy.play({**asked, "grpc_proxy_container_registry": login})
        for part in (f"cannot pull {PRIVATE}", "What serves was not touched"):
            assert part in run.failure().message
        assert "of-nobody" not in run.output
    assert (containers(proxy), proxy.generation()) == (before, live)
    story.tell("registry that wants a password", "preflight", "as before")

    settings = {**asked, "grpc_proxy_container_registry": LOGIN}
    run = proxy.play(settings, "-vvv")
    assert run.of_module(MODULE)["action"] == "upgraded"
    assert LOGIN["password"] not in run.output
    assert "auth" not in proxy.machine.run("cat", "/root/.docker/config.json").replace("auths", "")
    assert (image_of(proxy), proxy.play(settings).changed()) == (PRIVATE, 0)
    # What is there by that name will do, until it is always asked for.
    kept = docker(proxy, "inspect", "--format={{.Image}}", UNIT)
    pushes(proxy)
    docker(proxy, "tag", kept, PRIVATE)
    assert proxy.play(settings).changed() == 0
    always = {**settings, "grpc_proxy_container_pull": "always"}
    run = proxy.play(always)
    assert run.of_module(MODULE)["action"] == "upgraded"
    assert proxy.play(always).changed() == 0
    proxy.play().changed()
    proxy.usual = proxy.generation()


def test_name_of_another(proxy: Site, story: Story) -> None:
    """Somebody else's container of that name is never touched."""
    docker(proxy, "run", "--detach", "--name=stranger", proxy.image, "sleep", "600")
    try:
        before = docker(proxy, "inspect", "stranger")
        for playbook in (SITE, "playbooks/uninstall.yml"):
            failure = proxy.play({"grpc_proxy_name": "stranger"}, playbook=playbook).failure()
            for part in ("a container named stranger is there that is not ours", "Nothing was"):
                assert part in failure.message, failure.message
        assert docker(proxy, "inspect", "stranger") == before
    finally:
        docker(proxy, "rm", "--force", "stranger")
    story.tell("name of somebody else's container", "preflight", "as before")


@pytest.fixture
def beside(proxy: Site) -> Iterator[None]:
    """Another nginx of the same user, that shares the port by reuseport."""
    proxy.machine.write(
        "/root/beside.conf",
        "pid /run/beside.pid; error_log /run/beside.log; events {}\n"
        f"http {{ access_log off; server {{ listen {PORT} reuseport http2; return 200; }} }}\n",
    )
    proxy.machine.run("nginx", "-c", "/root/beside.conf")
    yield
    proxy.machine.run("sh", "-c", "kill -TERM $(cat /run/beside.pid)")


@pytest.mark.usefixtures("beside")
def test_stranger_on_a_shared_port(proxy: Site, story: Story) -> None:
    """A shared port lets another program in without a word: its share of connections is noticed."""
    failure = proxy.play(CHANGE, playbook=CONFIGURE).failure()
    assert failure.result["reason"] in {"not_live", "unproven", "not_started"}, failure.result
    assert f"0.0.0.0:{PORT}" in failure.message, failure.message
    story.tell("another program shares the port", failure.result["reason"], "both")


def replaced(proxy: Site, settings: Variables, story: Story, fault: str) -> None:
    """Hold that a run replaces the container under load, and loses no call."""
    live, master = proxy.have_usual(), proxy.master
    told = proxy.play(settings, "--check")
    assert told.changed() >= 1
    assert proxy.master == master
    with proxy.load() as load:
        steady(load)
        run = proxy.play(settings)
        steady(load)
    assert run.changed() >= 1
    assert run.of_module(MODULE)["action"] == "upgraded", run.of_module(MODULE)
    assert proxy.master not in {0, master}
    assert proxy.generation() == proxy.current() != live
    none_lost(load)
    assert proxy.play(settings).changed() == 0
    assert set(containers(proxy)) == {UNIT} | {
        name for name, state in containers(proxy).items() if state == "exited"
    }
    story.tell(fault, "none: upgraded", "the new one", load)
    proxy.play().changed()
    proxy.usual = proxy.generation()


def test_another_image(proxy: Site, story: Story, other_image: str) -> None:
    """The new container takes over from the old one, beside it."""
    replaced(proxy, {"grpc_proxy_container_image": other_image}, story, "another image")
    assert image_of(proxy) == proxy.image


def test_other_mounts(proxy: Site, story: Story) -> None:
    """What the engine cannot change in a container is taken by a new one, and given back so."""
    mounts = {"grpc_proxy_container_mounts": ["/etc/oap-users", "/etc/ssl"]}
    replaced(proxy, mounts, story, "other mounts of the container")
    binds = docker(proxy, "inspect", "--format={{.HostConfig.Binds}}", UNIT)
    assert "/etc/oap-users" in binds
    assert "/etc/ssl" not in binds


def logged(proxy: Site, path: str) -> dict[str, str]:
    """Return the line about a call, which nginx writes within a second."""
    end = time.monotonic() + LOG_SECONDS
    while time.monotonic() < end:
        kept = docker(proxy, "logs", UNIT).splitlines()
        lines = [json.loads(line) for line in kept if line.startswith("{")]
        found: list[dict[str, str]] = [one for one in lines if one["path"] == path]
        if found:
            (line,) = found
            return line
        time.sleep(0.2)
    raise AssertionError(f"no line about {path} in docker logs")


def test_calls_in_docker_logs(proxy: Site) -> None:
    """With to: stdout the access log is the container's own, errors of nginx beside it."""
    proxy.play({"grpc_proxy_access_log": {"to": "stdout"}}, playbook=CONFIGURE).changed()
    # A call without a token, which is logged in any case.
    channel = grpc.insecure_channel(f"{proxy.address}:{PORT}", options=OPTIONS)
    with channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/of.Nobody/Knows", bytes, bytes)(b"", timeout=CALL_SECONDS)
    line = logged(proxy, "/of.Nobody/Knows")
    assert line["grpc_code"] == "16"
    assert line["generation"] == proxy.generation()


def test_another_limit(proxy: Site, story: Story) -> None:
    """A limit on memory is set in place."""
    live, master = proxy.have_usual(), proxy.master
    less = {"grpc_proxy_container_memory": "700m"}
    assert proxy.play(less, "--check").changed() == 1
    with proxy.load() as load:
        steady(load)
        proxy.play(less).changed()
        steady(load)
    none_lost(load)
    assert docker(proxy, "inspect", "--format={{.HostConfig.Memory}}", UNIT) == str(700 << 20)
    assert (proxy.master, proxy.generation()) == (master, live)
    assert proxy.play(less).changed() == 0
    story.tell("another limit on memory", "none: in place", "as before", load)
    proxy.play().changed()


def test_image_that_does_not_serve(proxy: Site, story: Story) -> None:
    """The one before serves on; the next run, with an image that serves, heals."""
    live, master = proxy.have_usual(), proxy.master
    image = built(proxy, "oap-proxy-lab/broken:1", BROKEN)
    with proxy.load() as load:
        steady(load)
        for _time in range(2):
            failure = proxy.play({"grpc_proxy_container_image": image}).failure()
            result = refused(failure, "not_started", f"generation {live} is live again")
            assert result["rolled_back"] is True
            assert any("this one does not serve" in line for line in result["nginx_log"]), result
        steady(load)
    none_lost(load)
    assert (proxy.master, proxy.generation(), proxy.current()) == (master, live, live)
    story.tell("another image, which does not serve", "not_started", "as before", load)
    assert proxy.play().changed() <= 1
    assert proxy.generation() == live
    assert GENERATION.fullmatch(live)


def test_a_real_other_version(proxy: Site, story: Story) -> None:
    """From Debian's nginx 1.22 to a real mainline, and back."""
    image = images.mainline()
    lab.load(proxy.machine.container, image)
    asked = {"grpc_proxy_container_image": image}
    told = proxy.play(asked, "--check").output
    assert f"{image} has no shell, or no curl that speaks HTTP/2" in told
    replaced(proxy, asked, story, "image of another version")
