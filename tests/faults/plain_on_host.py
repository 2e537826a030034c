"""What runs inside a host: a second nginx, changed in place, tested, reloaded and asked.

The unit ``plain`` is a stand-in for a template and a handler. It begins as a copy of what is live,
with ports, process id and logs of its own, and is gone at the end.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.on_host import GENERATION as GENERATION_METHOD
from tests.faults.on_host import Answer, ask, held

OURS, PLAIN = "oap-proxy", "plain"
TREE = Path(f"/etc/nginx/{PLAIN}")
UNIT = Path(f"/run/systemd/system/{PLAIN}.service")
CONFIGURATION = TREE / "nginx.conf"
PORTS_APART = 1000
LISTEN = re.compile(r"(\blisten\s+(?:\[[^]]*\]|[^\s:;]+):)(\d+)")
OWN = re.compile(rf"/(etc/nginx|run|var/log)/{OURS}(?:/current)?/")
GENERATION = 'map "" $oap_proxy_generation {{ default "{}"; }}\n'
# As Debian's own unit of nginx does it.
SERVICE = f"""\
[Unit]
Description=A stand-in for a template and a handler
[Service]
Type=forking
PIDFile=/run/{PLAIN}/nginx.pid
RuntimeDirectory={PLAIN}
LogsDirectory={PLAIN}
ExecStart=/usr/sbin/nginx -c {CONFIGURATION}
ExecReload=/usr/sbin/nginx -c {CONFIGURATION} -s reload
KillMode=mixed
TimeoutStopSec=1
LimitNOFILE=524288
"""
# nginx tries a bind for 2.5 s. Where the command said no, no process was told anything.
JUDGE_SECONDS = 3.5
TOLD_NOTHING_SECONDS = 0.5
ASK_SECONDS = 1.0
PAUSE_SECONDS = 0.2
PROBE = {"x-oap-proxy-probe": "unavailable"}


def exchanged(text: str) -> str:
    """Give a file of ours the ports and paths of the other."""
    text = OWN.sub(rf"/\1/{PLAIN}/", text)
    return LISTEN.sub(lambda found: f"{found[1]}{int(found[2]) + PORTS_APART}", text)


def status(*command: str) -> int:
    """Run a command for its exit status."""
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode


def must(*command: str) -> str:
    """Run a command that must succeed."""
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


@contextmanager
def running() -> Iterator[int]:
    """Have a copy of what is live at work beside it; its master process."""
    shutil.rmtree(TREE, ignore_errors=True)
    shutil.copytree(f"/etc/nginx/{OURS}/current/", TREE)
    for path in filter(Path.is_file, TREE.rglob("*")):
        path.write_text(exchanged(path.read_text(encoding="utf-8")), encoding="utf-8")
    (TREE / "generation.conf").write_text(GENERATION.format("old"), encoding="utf-8")
    UNIT.parent.mkdir(parents=True, exist_ok=True)
    UNIT.write_text(SERVICE, encoding="ascii")
    must("systemctl", "daemon-reload")
    try:
        must("systemctl", "start", PLAIN)
        yield int(must("systemctl", "show", "--property=MainPID", "--value", PLAIN))
    finally:
        must("systemctl", "stop", PLAIN)
        status("systemctl", "reset-failed", PLAIN)
        UNIT.unlink()
        must("systemctl", "daemon-reload")
        shutil.rmtree(TREE)


@contextmanager
def disturbed(request: dict[str, Any], master: int) -> Iterator[None]:
    """Have the fault at work."""
    with held([port + PORTS_APART for port in request["holds"]]):
        must("env", f"MASTER={master}", "sh", "-euc", request["before"])
        try:
            yield
        finally:
            must("env", f"MASTER={master}", "sh", "-euc", request["after"])


def change(request: dict[str, Any]) -> None:
    """Write the new configuration over the old one."""
    for name, text in request["files"].items():
        (TREE / name).parent.mkdir(parents=True, exist_ok=True)
        (TREE / name).write_text(exchanged(text), encoding="utf-8")
    for old, new in request["exchange"]:
        for path in TREE.rglob("*.conf"):
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(old, new, text), encoding="utf-8")
    (TREE / "generation.conf").write_text(GENERATION.format("new"), encoding="utf-8")


def endpoint(listener: dict[str, Any]) -> tuple[str, int]:
    """Return where the host itself reaches a listener."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    address = listener["address"]
    return loopback.get(address, address), listener["port"] + PORTS_APART


def call(
    listener: dict[str, Any], ca: str, path: str = GENERATION_METHOD, metadata: Any = None
) -> Answer:
    """Ask a listener as a client does that verifies what it is shown."""
    tls = None
    name = listener["server_name"] or ""
    if listener["tls"]:
        tls = ssl.create_default_context(cadata=ca)
        tls.set_alpn_protocols(["h2"])
        name = name or "oap-proxy.test"
    address, port = endpoint(listener)
    return ask(address, port, path, metadata, tls, name, ASK_SECONDS)


def serving(request: dict[str, Any]) -> str:
    """Return the configuration that all listeners answer with: old, new or nothing."""
    found = set()
    for listener in request["listeners"]:
        try:
            answer = call(listener, request["ca"])
        except ssl.SSLError:
            continue  # it serves something, which verification refuses: a fault, told below
        except OSError:
            found.add("nothing")
        else:
            # The old one tells its id; so what tells none is the new one.
            found.add("old" if answer.headers.get("oap-proxy-generation") == "old" else "new")
    return next((one for one in ("old", "nothing") if one in found), "new")


def fault(request: dict[str, Any]) -> str:
    """Say what is wrong with the answers to a call that no OAP can take; empty for nothing."""
    for listener in request["listeners"]:
        for method in request["methods"]:
            try:
                answer = call(listener, request["ca"], method, PROBE)
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except OSError as error:
                return f"no answer ({error})"
            wanted = {":status": "200", "content-type": "application/grpc", "grpc-status": "14"}
            for name, value in wanted.items():
                found = answer.headers.get(name, "missing")
                if found != value:
                    return f"{name.strip(':')} {found} instead of {value}"
            if not answer.trailers_only:
                return "the status is not on a HEADERS frame that ends the stream"
    return ""


def main(request: dict[str, Any]) -> None:
    """Try one change in one fault, and print what was reported and what is true."""
    with running() as master, disturbed(request, master):
        change(request)
        if request["hangup"]:
            test = None
            reload = status("kill", "-HUP", str(master))
        else:
            test = status("/usr/sbin/nginx", "-t", "-c", str(CONFIGURATION))
            reload = status("systemctl", "reload", PLAIN)
        end = time.monotonic() + (TOLD_NOTHING_SECONDS if reload else JUDGE_SECONDS)
        while (serves := serving(request)) != "new" and time.monotonic() < end:
            time.sleep(PAUSE_SECONDS)
        wrong = fault(request) if serves == "new" else ""
    told = {"test": test, "reload": reload, "serves": serves, "fault": wrong}
    print(json.dumps(told))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
