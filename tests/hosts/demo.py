"""The demonstration: ``python -m tests.hosts.demo [up | down]``.

Two real OAPs and a proxy host come up, site.yml configures the proxy, real agents report through
it, and a table shows what arrived where. Anything that is off is named, and ends it with 1.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field

import requests
from docker.errors import DockerException

from tests.hosts import lab, traffic
from tests.hosts.agents import prepare_java
from tests.hosts.plays import play
from tests.hosts.progress import LabError, say
from tests.hosts.spec import Lab, lab_named

INVENTORY = "inventories/demo"
PROXY = "proxy1"
SEGMENTS = 200


@dataclass
class Story:
    """What the demonstration has found so far."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    seconds: list[tuple[str, float]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def tell(self, what: str, value: str, trouble: str = "") -> None:
        """Note one row, and what is off about it."""
        self.rows.append((what, value))
        if trouble:
            self.troubles.append(trouble)

    def show(self) -> None:
        """Print the table."""
        print("\n" + "=" * 72)
        for what, value in self.rows:
            print(f"  {what:34} {value}")
        print("  " + "-" * 68)
        for what, took in self.seconds:
            print(f"  {what:34} {took:6.1f} s")
        print("=" * 72)


def up() -> int:
    """Do all of it, in the order in which a person would."""
    story = Story()
    one = lab_named("demo")
    begin = time.monotonic()
    lab.up(one)
    prepare_java()
    story.seconds.append(("images and hosts", time.monotonic() - begin))
    if configured(story):
        agents(story, one)
        unchanged(story)
        verified(story)
    story.seconds.append(("all together", time.monotonic() - begin))
    story.show()
    if story.troubles:
        print("\nThis is off:")
        for sentence in story.troubles:
            print(f"  - {sentence}")
        print("\nThe hosts stay up to be looked at; `make demo-down` removes them.")
        return 1
    print(_next(one))
    return 0


def configured(story: Story) -> bool:
    """Run site.yml; without it there is nothing to show."""
    first = play(INVENTORY, "site.yml")
    story.seconds.append(("site.yml, first run", first.seconds))
    trouble = ""
    if first.code != 0:
        trouble = f"site.yml failed on its first run (exit code {first.code}), see above"
    story.tell("first run", _changes(first.changed), trouble)
    return not trouble


def agents(story: Story, one: Lab) -> None:
    """Send a known number of segments, and find them again."""
    print()
    say(f"a Python agent sends {SEGMENTS} segments through {PROXY}, then a Java agent connects")
    begin = time.monotonic()
    found = traffic.send(one, one.host(PROXY), SEGMENTS)
    story.seconds.append(("agents, until all is stored", time.monotonic() - begin))
    story.tell("segments created", str(len(found.python.created)))
    for name, ids in found.python.found.items():
        story.tell(f"distinct segments in {name}", str(len(ids)))
    story.tell("segments missing", str(len(found.python.missing)))
    java = f"yes, registered at {' and '.join(found.java)}" if found.java else "NO"
    story.tell("Java agent connected", java)
    story.troubles += found.troubles()


def unchanged(story: Story) -> None:
    """Run site.yml again: nothing may change."""
    second = play(INVENTORY, "site.yml")
    story.seconds.append(("site.yml, second run", second.seconds))
    trouble = ""
    if second.code != 0:
        trouble = f"site.yml failed on its second run (exit code {second.code}), see above"
    elif second.changed.get(PROXY) != 0:
        trouble = f"the second run changed something on {PROXY}: {_changes(second.changed)}"
    story.tell("second run", _changes(second.changed), trouble)


def verified(story: Story) -> None:
    """Run the collection's own verify playbook: generation, fallback, each OAP by its name."""
    done = play(INVENTORY, "playbooks/verify.yml")
    story.seconds.append(("verify.yml", done.seconds))
    trouble = "" if done.code == 0 else "playbooks/verify.yml failed, see above"
    good = "UNAVAILABLE as agents need it, each OAP answers"
    story.tell("fallback and OAPs (verify.yml)", "FAILED" if trouble else good, trouble)


def _changes(changed: dict[str, int]) -> str:
    return f"changed={changed[PROXY]}" if PROXY in changed else "no recap"


def _next(one: Lab) -> str:
    proxy, first = one.host(PROXY), one.of_kind("oap")[0]
    enter = f"docker exec {proxy.container}"
    query = '{"query": "{ listServices(layer: \\"GENERAL\\") { name } }"}'
    rows = (
        ("the configuration", f"{enter} sh -c 'cd /etc/nginx/oap-proxy/current && grep -r . .'"),
        ("its log, a line a call", f"{enter} sh -c 'tail -n 5 /var/log/oap-proxy/access.log'"),
        ("the unit", f"{enter} systemctl status oap-proxy --no-pager"),
        (
            "what an OAP knows",
            "curl -s -H 'Content-Type: application/json' "
            f"-d '{query}' http://{first.address}:12800/graphql",
        ),
        (
            "every OAP through the proxy",
            f".venv/bin/ansible-playbook -i {INVENTORY} playbooks/verify.yml",
        ),
        ("change it", f"edit {INVENTORY}/group_vars/oap_proxy.yml, then the same with site.yml"),
        ("remove the hosts", "make demo-down"),
    )
    lines = "".join(f"  {what + ':':30}{command}\n" for what, command in rows)
    return f"\nAll good. The hosts stay up; look at:\n{lines}"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.demo", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("up", "down"), default="up")
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "up":
            return up()
        lab.down(lab_named("demo"))
    except (LabError, DockerException, requests.RequestException) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
