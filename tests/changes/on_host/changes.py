"""Many changes in a row: ``changes NAME COUNT PAUSE proven|every-second-wrong|plain``.

Prints one line of JSON for each change, and for the time before and after all of them: how it
ended, how long it took, and what the processes of nginx were then.

``plain`` is a stand-in for a template and its handler: the files are written in place, by rename,
one after the other, then ``nginx -t`` and ``systemctl reload``; it is green where both end with 0.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    generation_conf,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import TransactionError

from tests.bench.on_host import family
from tests.changes.on_host.commands import run
from tests.changes.on_host.hands import NGINX
from tests.changes.on_host.proxy import Proxy

# A service that the load does not call.
WRONG = "location ^~ /skywalking.v3.EventService/ { return 204; }"
POLL_SECONDS = 0.005
SECONDS = 20.0
# Beyond the drain time, when the workers of the last change are gone too.
SPARE_SECONDS = 3.0


def processes(proxy: Proxy) -> dict[str, int]:
    """Return the number of nginx's workers, of those that drain, and the resident kB of all."""
    told = {"workers": 0, "draining": 0, "rss_kb": 0}
    master = int(run(["systemctl", "show", "--property=MainPID", "--value", proxy.name])[1])
    for pid in family(master):
        place = Path(f"/proc/{pid}")
        try:
            title = (place / "cmdline").read_bytes()
            pages = int((place / "statm").read_text().split()[1])
        except OSError:
            continue  # it ended meanwhile
        told["workers"] += b"worker process" in title
        told["draining"] += b"shutting down" in title
        told["rss_kb"] += pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return told


def transaction(proxy: Proxy, wrong: bool) -> dict[str, object]:
    """Change by the collection's transaction."""
    change = proxy.change(f"{time.time_ns()}", WRONG if wrong else "")
    begin = time.monotonic()
    try:
        # Where it is rehearsed, what is wrong is refused before it serves.
        outcome = proxy.transaction(rehearses=not wrong).run(change.files, change.expectation)
    except TransactionError as error:
        same = proxy.disk() == proxy.live() == error.generation
        back = error.rolled_back and same
        return {"ended": error.reason, "rolled_back": back, "words": error.message}
    took_ms = round((time.monotonic() - begin) * 1000, 3)
    proven = bool(outcome.proof) and not any(row.fault for row in outcome.proof)
    same = proxy.disk() == proxy.live() == outcome.generation == change.generation
    return {
        "ended": outcome.action, "proven": proven and same,
        "live_ms": outcome.proven_ms, "took_ms": took_ms,
    }  # fmt: skip


def plain(proxy: Proxy, wrong: bool) -> dict[str, object]:
    """Change as a template and its handler do, and look only afterwards whether it is live."""
    change = proxy.change(f"{time.time_ns()}", WRONG if wrong else "")
    place = proxy.root / "current"
    told = f"plain-{time.time_ns()}"
    begin = time.monotonic()
    contents = {one.path: one.content for one in change.files}
    for path, content in {**contents, GENERATION_FILE: generation_conf(told)}.items():
        fresh = place / f"{path}.new"
        fresh.write_bytes(content)
        fresh.rename(place / path)
    swapped = time.monotonic()
    tested = run([NGINX, "-t", "-q", "-c", f"{place}/nginx.conf"])[0]
    green = tested == 0 and run(["systemctl", "reload", proxy.name])[0] == 0
    ended = time.monotonic()
    while proxy.live() != told:
        if time.monotonic() > begin + SECONDS:
            return {"ended": "green" if green else "red", "proven": False}
        time.sleep(POLL_SECONDS)
    live_ms = round((time.monotonic() - swapped) * 1000, 3)
    took_ms = round((ended - begin) * 1000, 3)
    return {
        "ended": "green" if green else "red", "proven": True,
        "live_ms": live_ms, "took_ms": took_ms,
    }  # fmt: skip


def main(name: str, count: str, pause: str, how: str) -> None:
    """Change, and tell."""
    proxy = Proxy(name)
    change: Callable[[Proxy, bool], dict[str, object]]
    change = plain if how == "plain" else transaction

    def tell(told: dict[str, object]) -> None:
        print(json.dumps({**told, **processes(proxy)}), flush=True)

    tell({"ended": "begin"})
    for number in range(int(count)):
        tell(change(proxy, how == "every-second-wrong" and number % 2 == 1))
        time.sleep(float(pause))
    time.sleep(proxy.drain_seconds + SPARE_SECONDS)
    tell({"ended": "end"})


if __name__ == "__main__":
    main(*sys.argv[1:])
