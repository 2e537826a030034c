"""Laboratories up and down: ``python -m tests.hosts.lab up NAME | down NAME | status``."""

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import requests
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from tests.hosts import certificates, engine, images, inside, machine, oap
from tests.hosts.progress import LabError, say
from tests.hosts.spec import PREFIX, Host, Lab, lab_named, labs

LABEL = f"{PREFIX}.lab"
RECIPE_LABEL = f"{PREFIX}.recipe"
BOOT_SECONDS = 90.0
POLL_SECONDS = 0.3
BOOTED = ("running", "degraded")
# A container within a host that is paused, as a run of tests that was ended has left it, cannot be
# ended, and so neither can the host.
_UNPAUSE = "! command -v docker || docker ps -q --filter status=paused | xargs -r docker unpause"


def up(lab: Lab) -> None:
    """Bring every host of a laboratory to work, from whatever is left of it."""
    client = engine.connect()
    tags = {host: _image(host) for host in _slowest_image_first(lab)}
    recipes = {host: _recipe(host, tags[host]) for host in lab.hosts}
    kept = {host for host in lab.hosts if _serves(client, host, recipes[host])}
    for host in lab.hosts:
        if host not in kept:
            _remove(client, host.container, lab.name)
    _network(client, lab)
    with ThreadPoolExecutor(max_workers=len(lab.hosts)) as pool:
        started = [
            pool.submit(_start, host, tags[host], recipes[host])
            for host in lab.hosts
            if host not in kept
        ]
    for host in lab.hosts:
        if host in kept:
            say(f"{host.name}: kept, {host.address}")
    for future in started:
        future.result()


def down(lab: Lab) -> None:
    """Remove exactly what carries this laboratory's label."""
    client = engine.connect()
    ours = f"{LABEL}={lab.name}"
    containers = client.containers.list(all=True, filters={"label": ours}, ignore_removed=True)
    with ThreadPoolExecutor(max_workers=max(1, len(containers))) as pool:
        for _removed in pool.map(lambda one: _remove(client, str(one.name), lab.name), containers):
            pass
    for network in client.networks.list(filters={"label": ours}):
        network.remove()
        say(f"network {network.name} removed")


def status() -> list[tuple[str, str, str, str]]:
    """Return a row (laboratory, host, address, state) for every host there could be."""
    client = engine.connect()
    rows = []
    for lab in labs().values():
        for host in lab.hosts:
            container = _find(client, host.container)
            state = "-" if container is None else (_trouble(container, host) or "works")
            rows.append((lab.name, host.name, host.address, state))
    return rows


def container_of(host: Host) -> Container:
    """Return the container of a host that is up."""
    container = _find(engine.connect(), host.container)
    if container is None:
        raise LabError(f"{host.name} is not there: python -m tests.hosts.lab up {host.lab}")
    return container


def run(container: Container, command: list[str]) -> tuple[int, str]:
    """Run a command in a host and return its exit code and all it printed."""
    # Not by docker-py, which now and then loses the beginning of what is printed.
    done = subprocess.run(
        ["docker", "exec", str(container.name), *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace").strip()


def _give(container: Container, files: Mapping[str, str]) -> None:
    """Write files of root's (path: text) into a container that does not run yet."""
    if not container.put_archive("/", inside.packed(files)):
        raise LabError(f"{container.name} does not take {', '.join(files)}")


def load(container: Container, tag: str) -> None:
    """Put an image of this machine's engine into the engine of a host."""
    with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE) as saved:
        done = subprocess.run(
            ["docker", "exec", "-i", str(container.name), "docker", "load", "--quiet"],
            stdin=saved.stdout, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if saved.returncode or done.returncode:
        raise LabError(f"{container.name} does not take the image {tag}: {done.stderr.strip()}")


def wait(container: Container, host: Host, seconds: float = BOOT_SECONDS) -> None:
    """Wait until a host works; where it does not, say why and show its last lines."""
    end = time.monotonic() + seconds
    while True:
        reason = _trouble(container, host)
        if not reason:
            return
        dead = container.status in ("exited", "dead")
        if dead or time.monotonic() > end:
            after = "has stopped" if dead else f"does not work after {seconds:.0f} s"
            raise LabError(f"{host.name} {after}: {reason}\n{_last_lines(container)}")
        time.sleep(POLL_SECONDS)


def _slowest_image_first(lab: Lab) -> list[Host]:
    return sorted(lab.hosts, key=lambda host: host.kind != "oap")


def _image(host: Host) -> str:
    return images.oap() if host.kind == "oap" else images.debian(host.suite)


def _settings(host: Host) -> dict[str, Any]:
    """Return how the container of a host is created, beside its image and network."""
    if host.kind == "oap":
        return {"mem_limit": "1500m", "environment": dict(certificates.environment(host))}
    cgroup = machine.cgroup_for(host.suite)
    return {
        "command": machine.boot_command(host.container, cgroup, host.core),
        "cap_add": ["SYS_ADMIN", "NET_ADMIN"],
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "cgroupns": "host",
        "tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec"},  # noqa: S108
        "volumes": [f"{cgroup}:/sys/fs/cgroup:rw", *(["/var/lib/docker"] if host.docker else [])],
        "sysctls": {"net.ipv6.conf.all.disable_ipv6": "0"},
        "environment": {"container": "docker"},
        "stop_signal": "SIGRTMIN+3",
        **({} if host.core is None else {"cpuset_cpus": str(host.core)}),
    }


def _recipe(host: Host, tag: str) -> str:
    parts = [host, tag, sorted(_settings(host).items(), key=lambda item: item[0])]
    if host.tls != "none":
        parts.append(certificates.authority(host.lab).certificate)
    text = repr(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _network_recipe(lab: Lab) -> str:
    return f"{lab.subnet} {lab.subnet6}"


def _find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except NotFound:
        return None


def _serves(client: docker.DockerClient, host: Host, recipe: str) -> bool:
    container = _find(client, host.container)
    if container is None or container.labels.get(RECIPE_LABEL) != recipe:
        return False
    return container.status == "running" and not _trouble(container, host)


def _remove(client: docker.DockerClient, name: str, lab: str) -> None:
    container = _find(client, name)
    if container is None:
        return
    if container.labels.get(LABEL) != lab:
        raise LabError(f"a container named {name} is there that is not ours: rename or remove it")
    if container.status == "running":
        run(container, ["sh", "-c", _UNPAUSE])
    container.remove(force=True, v=True)
    say(f"{name} removed")


def _network(client: docker.DockerClient, lab: Lab) -> None:
    for network in client.networks.list(names=[lab.network], filters={"label": LABEL}):
        if network.name != lab.network:
            continue
        if network.attrs["Labels"].get(RECIPE_LABEL) == _network_recipe(lab):
            return
        network.remove()
    try:
        client.networks.create(
            lab.network,
            driver="bridge",
            enable_ipv6=True,
            ipam=IPAMConfig(
                pool_configs=[
                    IPAMPool(subnet=str(lab.subnet), gateway=str(lab.subnet[1])),
                    IPAMPool(subnet=str(lab.subnet6), gateway=str(lab.subnet6[1])),
                ]
            ),
            labels={LABEL: lab.name, RECIPE_LABEL: _network_recipe(lab)},
        )
    except APIError as error:
        raise LabError(
            f"network {lab.subnet} and {lab.subnet6} cannot be made ({error.explanation}); "
            "where another network has these addresses, change them in tests/hosts/labs.yml"
        ) from error


def _start(host: Host, tag: str, recipe: str) -> None:
    begin = time.monotonic()
    client = engine.connect()
    lab = lab_named(host.lab)
    endpoint = client.api.create_endpoint_config(
        ipv4_address=host.address, ipv6_address=host.address6
    )
    settings = _settings(host)
    container = client.containers.create(
        tag,
        name=host.container,
        hostname=host.name,
        labels={LABEL: host.lab, RECIPE_LABEL: recipe},
        network=lab.network,
        networking_config={lab.network: endpoint},
        detach=True,
        **settings,
    )
    if host.tls != "none":
        _give(container, certificates.files(host, certificates.of_oap(host)))
    container.start()
    wait(container, host)
    took = time.monotonic() - begin
    say(f"{host.name}: up, {host.address}, {_what(host)}, {took:.1f} s")


def _what(host: Host) -> str:
    return "OAP 10.1.0" if host.kind == "oap" else f"Debian {host.suite} with systemd"


def _trouble(container: Container, host: Host) -> str:
    """Return what keeps a host from being used, or an empty string."""
    container.reload()
    if container.status != "running":
        code = container.attrs["State"].get("ExitCode")
        return f"its container is {container.status} (exit code {code})"
    if host.kind == "oap":
        return oap.trouble(
            host.address,
            tls=certificates.tls_to(host),
            metadata=certificates.metadata_to(host),
        )
    code, state = run(container, ["systemctl", "is-system-running"])
    return "" if state in BOOTED else f"systemd says {state!r} (exit code {code})"


def _last_lines(container: Container) -> str:
    text = container.logs(tail=25).decode(errors="replace")
    if container.status == "running" and not text.strip():
        text = run(container, ["journalctl", "--no-pager", "-n", "25"])[1]
    return "\n".join(f"    {line}" for line in text.splitlines()) or "    (it said nothing)"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in (("up", "start a laboratory"), ("down", "remove it")):
        commands.add_parser(name, help=does).add_argument("lab", choices=list(labs()))
    commands.add_parser("status", help="list every host")
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "status":
            for row in status():
                print("{:14} {:9} {:13} {}".format(*row))
        elif asked.command == "up":
            up(lab_named(asked.lab))
        else:
            down(lab_named(asked.lab))
    except LabError as error:
        print(f"laboratory: {error}", file=sys.stderr)
        return 1
    except (APIError, requests.RequestException) as error:
        print(f"laboratory: the docker engine failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
