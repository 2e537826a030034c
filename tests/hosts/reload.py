"""A change of the configuration on all proxies of a laboratory, and back, while they are used."""

from collections.abc import Callable
from contextlib import ExitStack

from tests.hosts import lab
from tests.hosts.load import Load
from tests.hosts.oap import GRPC_PORT
from tests.hosts.plays import play
from tests.hosts.spec import Host, Lab
from tests.hosts.streams import held

# Every configuration says how long an answer may take.
CHANGE = ("--extra-vars", "grpc_proxy_answer_timeout=6s")
MIN_CALLS = 300
_TESTED = "test is successful"

Check = Callable[[bool, str], None]


def version(proxy: Host) -> str:
    """Return the version of the nginx on a host."""
    _code, told = lab.run(lab.container_of(proxy), ["nginx", "-v"])
    return told.rpartition("nginx/")[2].split()[0]


def warned(check: Check, proxy: Host) -> None:
    """Nginx has nothing to say about any configuration that is live."""
    host = lab.container_of(proxy)
    _code, links = lab.run(host, ["sh", "-c", "ls -d /etc/nginx/*/current"])
    for link in links.split():
        code, told = lab.run(host, ["nginx", "-t", "-c", f"{link}/nginx.conf"])
        lines = told.splitlines()
        good = code == 0 and len(lines) == 2 and lines[1].endswith(_TESTED)
        check(
            good, f"{proxy.name}, nginx {version(proxy)}: {told if not good else link + ' is ok'}"
        )
    check(bool(links), f"{proxy.name} has {len(links.split())} configurations")


def changed(check: Check, one: Lab, inventory: str) -> None:
    """No call is lost to a change, nor is a stream that was open and silent all the time."""
    proxies = one.of_kind("debian")
    loads = {
        proxy.name: Load(f"{proxy.address}:{GRPC_PORT}", nginx=version(proxy)) for proxy in proxies
    }
    with ExitStack() as loaded:
        for load in loads.values():
            loaded.enter_context(load)
        for arguments in (CHANGE, ()):
            with ExitStack() as open_streams:
                streams = {
                    name: open_streams.enter_context(held(load.target, None))[0]
                    for name, load in loads.items()
                }
                run = play(inventory, "site.yml", *arguments)
                for name, stream in streams.items():
                    check(
                        run.changed.get(name) == 1, f"{name}: {run.changed.get(name)} tasks changed"
                    )
                    stream.send()
                    status = stream.end()
                    check(
                        status == "OK", f"{name}: a stream over {run.seconds:.0f} s ends {status}"
                    )
    for name, load in loads.items():
        good = load.made >= MIN_CALLS and not load.blamed
        check(good, f"{name}: {load.made} calls, {len(load.lost)} lost {load.lost[:1] or ''}")
