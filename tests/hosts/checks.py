"""What molecule's verify asks from outside: ``python -m tests.hosts.checks NAME``.

Agents' data through every proxy of a laboratory, its configuration changed while it is used, then
all OAPs killed, then back again. Every line says what was found, and a line that begins with
FAILED fails the run.
"""

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.hosts import clients, lab, reload, traffic
from tests.hosts.agents import prepare_java
from tests.hosts.oap import COLLECT, GRPC_PORT, HEALTH
from tests.hosts.progress import LabError, say
from tests.hosts.spec import Host, Lab, lab_named

CALL_SECONDS = 10
# By the design, calls are whole again within a second of the OAPs' return.
RECOVERY_SECONDS = 1.0
UNIT = "oap-proxy"
# What its unit may write on the host, and what it may not.
OWN = (f"/run/{UNIT}", f"/var/log/{UNIT}")
OTHERS = ("/run", "/etc", f"/etc/nginx/{UNIT}", "/usr", "/var", "/var/log", "/var/lib", "/root")


class Checks:
    """The checks of one run, and how many of them failed."""

    def __init__(self) -> None:
        """Begin with nothing checked."""
        self.done = 0
        self.failed = 0

    def check(self, good: bool, text: str) -> None:
        """Print one finding."""
        self.done += 1
        if not good:
            self.failed += 1
        say(("ok      " if good else "FAILED  ") + text)


def agents(checks: Checks, one: Lab) -> None:
    """All segments arrive, every OAP gets some, and the Java agent is connected."""
    proxies = one.of_kind("debian")
    with ThreadPoolExecutor(max_workers=len(proxies)) as pool:
        for found in pool.map(lambda proxy: traffic.send(one, proxy), proxies):
            troubles = found.troubles()
            checks.check(not troubles, "; ".join([str(found), *troubles]))


def served(checks: Checks, proxy: Host) -> None:
    """Every client's call reaches an OAP, unary and streaming."""
    target = f"{proxy.address}:{GRPC_PORT}"
    for client in clients.CLIENTS:
        for method, stream in ((HEALTH, False), (COLLECT, True)):
            outcome = clients.call(client, target, method, stream=stream, seconds=CALL_SECONDS)
            checks.check(outcome.code == "OK", _line(proxy, client, method, outcome))


def unavailable(checks: Checks, proxy: Host) -> None:
    """Every client reads UNAVAILABLE, and reads it from the proxy.

    A client that cannot connect reports UNAVAILABLE as well, each in words of its own; what the
    proxy answers, all of them report in the same words (but for numbers: which way it failed).
    """
    target = f"{proxy.address}:{GRPC_PORT}"
    for method, stream in ((HEALTH, False), (COLLECT, True)):
        said = set()
        for client in clients.CLIENTS:
            outcome = clients.call(client, target, method, stream=stream, seconds=CALL_SECONDS)
            said.add(re.sub(r"\d+", "…", outcome.message))
            checks.check(outcome.code == "UNAVAILABLE", _line(proxy, client, method, outcome))
        checks.check(
            len(said) == 1, f"{proxy.name}: all clients read the proxy's own words: {said}"
        )


def recovered(checks: Checks, proxy: Host) -> None:
    """Calls are whole again soon after the OAPs are back."""
    target = f"{proxy.address}:{GRPC_PORT}"
    begin = time.monotonic()
    while True:
        outcome = clients.call("grpcio", target, HEALTH, seconds=CALL_SECONDS)
        took = time.monotonic() - begin
        if outcome.code == "OK" or took > RECOVERY_SECONDS:
            break
        time.sleep(0.05)
    text = f"{proxy.name}: {outcome.code} {took:.2f} s after the OAPs' return"
    checks.check(outcome.code == "OK", text)


def confined(checks: Checks, proxy: Host) -> None:
    """The unit's processes can write what is theirs, and nothing else of the host."""
    host = lab.container_of(proxy)
    _code, told = lab.run(host, ["systemctl", "show", "--property=MainPID", "--value", UNIT])
    inside = ["nsenter", f"--target={told.strip()}", "--mount", "test", "-w"]
    for place in OWN + OTHERS:
        code, _output = lab.run(host, [*inside, place])
        word = "writes" if code == 0 else "cannot write"
        checks.check((code == 0) == (place in OWN), f"{proxy.name}: nginx {word} {place}")


def outage(checks: Checks, one: Lab) -> None:
    """Kill every OAP, call, start them again, call."""
    proxies = one.of_kind("debian")
    oaps = one.of_kind("oap")
    for host in oaps:
        lab.container_of(host).kill()
    say(f"killed {' and '.join(host.name for host in oaps)}")
    for proxy in proxies:
        unavailable(checks, proxy)
    for host in oaps:
        lab.container_of(host).start()
    for host in oaps:
        lab.wait(lab.container_of(host), host)
    say(f"started {' and '.join(host.name for host in oaps)}")
    for proxy in proxies:
        recovered(checks, proxy)
    for proxy in proxies:
        served(checks, proxy)


def _line(proxy: Host, client: str, method: str, outcome: clients.Outcome) -> str:
    words = f" {outcome.message!r}" if outcome.message else ""
    return f"{proxy.name}: {client:6} {method} -> {outcome.code}{words}"


def main(arguments: list[str]) -> int:
    """Check one laboratory that is up and converged."""
    try:
        (name,) = arguments
    except ValueError:
        print("usage: python -m tests.hosts.checks NAME", file=sys.stderr)
        return 2
    checks = Checks()
    try:
        one = lab_named(name)
        for client in clients.CLIENTS:
            clients.prepare(client)
        prepare_java()
        agents(checks, one)
        for proxy in one.of_kind("debian"):
            served(checks, proxy)
            confined(checks, proxy)
            reload.warned(checks.check, proxy)
        reload.changed(checks.check, one, f"extensions/molecule/{name}/inventory")
        outage(checks, one)
    except LabError as error:
        print(f"FAILED  {error}", flush=True)
        return 1
    say(f"{checks.done} checks, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
