"""What people get wrong in an inventory: one proxy each, and what it must be told.

The hostile values are made for every variable there is: those of the proxy from the roles'
argument specifications, those of an OAP from what the collection reads of it. A variable that is
added is covered without a change here, unless its type has to be learnt first.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.faults.playbook import Expression
from tests.hosts.paths import ROOT

ADDRESS = "192.0.2.7"
OAP = {"oap_address": ADDRESS}
FINGERPRINT = "573BFD6B3D8FBC641079A6ABABF5BD827BD9BF62"
# Stands for the name of a case's proxy.
PROXY = "PROXY"

# What is put behind a good value, or in its place, and would mean something to nginx, to a shell
# or to Ansible.
ENDINGS = {
    "semicolon": "; access_log off",
    "brace": " }",
    "newline": "\ninclude /tmp/other.conf;",
    "trailing-newline": "\n",
    "variable": "$request_uri",
    "double-quote": '"',
    "single-quote": "'",
    "expression": "{{ 7*7 }}",
    "statement": "{% if true %}",
}
# A good value for what has no default, or whose default is no text.
GOOD = {
    "grpc_proxy_listen.address": "192.0.2.1",
    "grpc_proxy_listen.port": 11800,
    "grpc_proxy_balance": "round_robin",
    "grpc_proxy_package_version": "1.30.4-1~bookworm",
    "grpc_proxy_package_repository": "https://mirror.example/nginx",
    "oap_address": ADDRESS,
    "oap_port": 11800,
    "oap_weight": 1,
    "oap_max_conns": 10,
    "oap_backup": False,
    "oap_state": "up",
    "ansible_host": ADDRESS,
}
# Lines of nginx by their very purpose: nginx itself and the proof judge them.
RAW = frozenset(
    {"grpc_proxy_snippets.main", "grpc_proxy_snippets.http", "grpc_proxy_snippets.server"}
)
# What is judged by its meaning alone, deep inside a list or a dictionary: see deep_cases(). Tokens
# may hold any character, and the text of a certificate reaches no configuration; that no value of
# any of these breaks one is a property in tests/unit.
DEEP = (
    "grpc_proxy_access_log",
    "grpc_proxy_allow",
    "grpc_proxy_body_limit",
    "grpc_proxy_connection_limit",
    "grpc_proxy_container_mounts",
    "grpc_proxy_container_registry",
    "grpc_proxy_deny",
    "grpc_proxy_listen.allow",
    "grpc_proxy_listen.deny",
    "grpc_proxy_oap_token",
    "grpc_proxy_package_fingerprints",
    "grpc_proxy_rate_limit",
    "grpc_proxy_resolver",
    "grpc_proxy_services",
    "grpc_proxy_tls",
    "grpc_proxy_token",
    "grpc_proxy_upstream_tls",
)
# Types that the specification judges, before a value's meaning is. White space around them is
# left out.
CONVERTED = frozenset({"int", "bool", "float"})
# What is of no such type. To be of any type is what raw means.
OTHER_TYPES: dict[str, Any] = {
    "str": ["a list"],
    "path": ["a list"],
    "int": "abc",
    "float": "abc",
    "bool": "perhaps",
    "list": "text",
    "dict": "text",
}

Oaps = Mapping[str, Mapping[str, Any]]

REMEDIES = (
    "; give ", "; choose ", "; set ", "; letters, digits", "; lower-case letters",
)  # fmt: skip


@dataclass(frozen=True)
class Complaint:
    """What the message must hold on one line: host, variable, and a word on what to do."""

    host: str
    variable: str
    remedy: str = ""

    def is_told(self, message: str) -> bool:
        """Whether a message says all of it in one go."""
        begin = f"\n{self.host}: {self.variable} is "
        lines = [rest.partition("\n")[0] for rest in f"\n{message}".split(begin)[1:]]
        remedies = (self.remedy,) if self.remedy else REMEDIES
        return any(remedy in line for line in lines for remedy in remedies)


@dataclass(frozen=True)
class Case:
    """One proxy with something wrong.

    :ivar settings: variables of the proxy.
    :ivar oaps: the OAPs of its group, None where there is no such group.
    :ivar complaints: all that the role has to say.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    oaps: Oaps | None = field(default_factory=lambda: {f"{PROXY}-oap": OAP})
    complaints: tuple[Complaint, ...] = ()


@dataclass(frozen=True)
class Variable:
    """One variable of the proxy: its dotted name, and its entry in the specification."""

    name: str
    kind: str
    choices: tuple[Any, ...]
    default: Any
    holds: bool
    """Whether it is made of other variables."""
    repeats: bool
    """Whether it is a list of what it is made of."""

    @property
    def is_typed(self) -> bool:
        """Whether a hostile value is refused for its type, before its meaning is judged."""
        return self.kind in CONVERTED or bool(self.choices)


def variables(role: str) -> dict[str, Variable]:
    """Return every variable of a role that people set, suboptions by their dotted names."""
    return {one.name: one for one in _variables("", _options(role)) if not one.holds}


def _options(role: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
    options: dict[str, Any] = entry["options"]
    return options


def _variables(prefix: str, options: Mapping[str, Any]) -> Iterator[Variable]:
    """Every variable at any depth, those that hold others too."""
    for name, spec in options.items():
        yield Variable(
            prefix + name,
            spec.get("type", "str"),
            tuple(spec.get("choices", ())),
            spec.get("default"),
            "options" in spec,
            "options" in spec and spec["type"] == "list",
        )
        yield from _variables(f"{prefix}{name}.", spec.get("options", {}))


def oap_variables() -> list[str]:
    """Return every variable of an OAP that the collection reads."""
    source = (ROOT / "plugins/plugin_utils/servers.py").read_text(encoding="utf-8")
    return sorted(set(re.findall(r'"(oap_[a-z_]+|ansible_host)"', source)))


def hostile(name: str, default: Any, ending: str) -> str:
    """Return a value that would do, with something behind it that must not be there."""
    good = GOOD.get(name, default)
    assert isinstance(good, str | int), f"bad_values.GOOD needs a good value of {name}"
    return f"{good}{ENDINGS[ending]}"


def is_deep(name: str) -> bool:
    """Tell whether a variable is one of those that deep_cases() is about."""
    return any(name == outer or name.startswith(f"{outer}.") for outer in DEEP)


def _lists() -> set[str]:
    """Return the dotted names of all lists of dictionaries."""
    return {one.name for one in _variables("", _options("grpc_proxy")) if one.repeats}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted names as the data that they stand for; a list has one entry."""
    lists = _lists()
    found: dict[str, Any] = {}
    for name, value in values.items():
        place, *deeper = name.split(".")
        level = found
        for index, key in enumerate(deeper):
            path = ".".join(name.split(".")[: index + 1])
            fresh: Any = {"port": 11800} if path == "grpc_proxy_listen" else {}
            held = level.setdefault(place, [fresh] if path in lists else fresh)
            level = held[0] if path in lists else held
            place = key
        level[place] = value
    return found


def _dotted(name: str) -> str:
    """Return a suboption's name as complaints write it."""
    lists = _lists()
    parts = name.split(".")
    paths = [".".join(parts[: index + 1]) for index in range(len(parts) - 1)]
    marked = [
        f"{part}[0]" if path in lists else part for path, part in zip(paths, parts, strict=False)
    ]
    return ".".join([*marked, parts[-1]])


def hostile_cases() -> dict[str, Case]:
    """Return for each kind of hostile text one proxy that has it in all of its variables.

    What is refused for its type would hide what is refused for its meaning: those variables have
    a proxy of their own, each with another kind of text, which a number is not in any case.
    """
    settable = [
        one
        for one in variables("grpc_proxy").values()
        if one.name not in RAW and not is_deep(one.name)
    ]
    typed = [one for one in settable if one.is_typed]
    text = [one for one in settable if not one.is_typed]
    kinds = itertools.cycle(ending for ending in ENDINGS if ending != "trailing-newline")
    cases = {
        "typed": Case(
            nested({one.name: hostile(one.name, one.default, next(kinds)) for one in typed}),
            complaints=tuple(Complaint(PROXY, _dotted(one.name)) for one in typed),
        )
    }
    for ending in ENDINGS:
        oaps, complaints = _hostile_oaps(ending)
        cases[f"text-{ending}"] = Case(
            nested({one.name: hostile(one.name, one.default, ending) for one in text}),
            oaps,
            (*(Complaint(PROXY, _dotted(one.name)) for one in text), *complaints),
        )
    return cases


def deep_cases() -> dict[str, Case]:
    """Return hostile text deep inside of what is made of lists and dictionaries."""
    return {f"deep-{ending}": _deep(text) for ending, text in ENDINGS.items()}


def _deep(text: str) -> Case:
    told = {
        "grpc_proxy_access_log.syslog_server": f"192.0.2.9:514{text}",
        "grpc_proxy_allow[0]": f"10.0.0.0/8{text}",
        "grpc_proxy_deny[0]": f"192.0.2.0/24{text}",
        "grpc_proxy_body_limit.logs": f"1m{text}",
        "grpc_proxy_package_fingerprints[0]": f"{FINGERPRINT}{text}",
        "grpc_proxy_rate_limit[0].rate": f"10/s{text}",
        "grpc_proxy_listen[0].allow[0]": f"2001:db8::/32{text}",
        "grpc_proxy_resolver.addresses[0]": f"192.0.2.53{text}",
        "grpc_proxy_resolver.addresses[1]": f"[2001:db8::53]:53{text}",
        "grpc_proxy_resolver.valid": f"10s{text}",
        "grpc_proxy_services[0].prefix": f"/a.B/{text}",
        "grpc_proxy_services[0].tag": f"tag{text}",
        "grpc_proxy_services[0].timeout": f"5s{text}",
        "grpc_proxy_services[0].servers[0].address": f"192.0.2.5{text}",
        "grpc_proxy_services[0].deny[0]": f"192.0.2.6{text}",
        "grpc_proxy_tls.server_name": f"proxy.example{text}",
        "grpc_proxy_tls.certificate_path": f"/etc/ssl/chain.pem{text}",
        "grpc_proxy_tls.client_names": f"agent{text}",
        "grpc_proxy_upstream_tls.name": f"oap.example{text}",
        "grpc_proxy_upstream_tls.ca_path": f"/etc/ssl/ca.pem{text}",
    }
    service = {
        "name": "other",
        "prefix": told["grpc_proxy_services[0].prefix"],
        "tag": told["grpc_proxy_services[0].tag"],
        "timeout": told["grpc_proxy_services[0].timeout"],
        "servers": [{"address": told["grpc_proxy_services[0].servers[0].address"], "port": 1}],
        "deny": [told["grpc_proxy_services[0].deny[0]"]],
    }
    return Case(
        {
            "grpc_proxy_access_log": {
                "to": "syslog",
                "syslog_server": told["grpc_proxy_access_log.syslog_server"],
            },
            "grpc_proxy_allow": [told["grpc_proxy_allow[0]"]],
            "grpc_proxy_deny": [told["grpc_proxy_deny[0]"]],
            "grpc_proxy_body_limit": {"logs": told["grpc_proxy_body_limit.logs"]},
            "grpc_proxy_package_fingerprints": [told["grpc_proxy_package_fingerprints[0]"]],
            "grpc_proxy_rate_limit": [{"rate": told["grpc_proxy_rate_limit[0].rate"]}],
            "grpc_proxy_listen": [
                {"port": 11800, "tls": True, "allow": [told["grpc_proxy_listen[0].allow[0]"]]}
            ],
            "grpc_proxy_resolver": {
                "addresses": [told[f"grpc_proxy_resolver.addresses[{index}]"] for index in (0, 1)],
                "valid": told["grpc_proxy_resolver.valid"],
            },
            "grpc_proxy_services": [service],
            "grpc_proxy_tls": {
                "server_name": told["grpc_proxy_tls.server_name"],
                "certificate_path": told["grpc_proxy_tls.certificate_path"],
                "private_key_path": "/etc/ssl/key.pem",
                "client_ca_path": "/etc/ssl/clients.pem",
                "client_names": [told["grpc_proxy_tls.client_names"]],
            },
            "grpc_proxy_upstream_tls": {
                "enabled": True,
                "name": told["grpc_proxy_upstream_tls.name"],
                "ca_path": told["grpc_proxy_upstream_tls.ca_path"],
            },
        },
        complaints=tuple(Complaint(PROXY, name) for name in told),
    )


def unspecified_cases() -> dict[str, Case]:
    """Return what no variable is, by its type or by its name, at every depth."""
    every = list(_variables("", _options("grpc_proxy")))
    leaves = [one for one in every if not one.holds and one.kind in OTHER_TYPES]
    holders = [one for one in every if one.holds]
    # Beside a name that is right, so that a misspelt one is all that is wrong.
    wrong = {one.name: _misspelt(one.name) for one in every}
    top = {wrong[one.name]: one.default for one in every if "." not in one.name}
    deep = {wrong[one.name]: "" for one in every if "." in one.name}
    return {
        "types": Case(
            nested({one.name: OTHER_TYPES[one.kind] for one in leaves}),
            # The name of the group is one of those variables: there are no OAPs for it.
            None,
            tuple(Complaint(PROXY, _dotted(one.name)) for one in leaves),
        ),
        "holders": Case(
            {one.name: OTHER_TYPES[one.kind] for one in holders if "." not in one.name},
            complaints=tuple(
                Complaint(PROXY, one.name, "; give a ") for one in holders if "." not in one.name
            ),
        ),
        "misspelt": Case(
            {**nested(deep), **top},
            complaints=tuple(
                Complaint(PROXY, _dotted(bad), f"did you mean {good if '.' not in good else last}?")
                for good, bad in wrong.items()
                for last in [good.rpartition(".")[2]]
            ),
        ),
    }


def _misspelt(name: str) -> str:
    """Return a dotted name whose last part has its second letter, behind a prefix, doubled."""
    outer, dot, inner = name.rpartition(".")
    begin = len("grpc_proxy_") if inner.startswith("grpc_proxy_") else 0
    return f"{outer}{dot}{inner[: begin + 2]}{inner[begin + 1 :]}"


def _hostile_oaps(ending: str) -> tuple[dict[str, dict[str, Any]], list[Complaint]]:
    oaps: dict[str, dict[str, Any]] = {}
    complaints = []
    for number, name in enumerate(oap_variables()):
        value = hostile(name, None, ending)
        host = f"{PROXY}-{name.replace('_', '-')}"
        given = {} if name == "ansible_host" else {"oap_address": f"192.0.2.{number + 100}"}
        if not (ending == "trailing-newline" and isinstance(GOOD[name], int)):
            oaps[host] = {**given, name: value}
            complaints.append(Complaint(host, name))
    misnamed = f"{PROXY}-misnamed{ENDINGS[ending]}"
    oaps[misnamed] = {"oap_address": "192.0.2.99"}
    # A complaint is one line, whatever a host is called.
    told = misnamed.replace("\n", "\\n")
    return oaps, [*complaints, Complaint(told, "its name")]


def _proxy(name: str, value: Any, remedy: str, part: str = "") -> Case:
    return Case({name: value}, complaints=(Complaint(PROXY, name + part, remedy),))


def _group(remedy: str, oaps: Oaps | None) -> Case:
    return Case(oaps=oaps, complaints=(Complaint(PROXY, "grpc_proxy_oap_group", remedy),))


def _listen(entries: Any, part: str, remedy: str) -> Case:
    return _proxy("grpc_proxy_listen", entries, remedy, part)


def _backup_with(balance: Any) -> Case:
    return Case(
        {"grpc_proxy_balance": balance},
        {f"{PROXY}-oap": OAP, f"{PROXY}-spare": {"oap_address": "192.0.2.8", "oap_backup": True}},
        (Complaint(PROXY, "grpc_proxy_balance", f"no backup with it, and {PROXY}-spare is one"),),
    )


# Wrong values of an OAP's variables, and what would do. Each is an OAP of one group.
OAP_VALUES: tuple[tuple[str, Any, str], ...] = (
    ("oap_address", "", "set oap_address"),
    ("oap_address", "0.0.0.0", "set oap_address"),
    ("oap_address", "::", "set oap_address"),
    ("oap_address", "10.0.0", "set oap_address"),
    ("oap_address", "10.0.0.1:11800", "set oap_address"),
    ("oap_address", "fe80::1%eth0", "set oap_address"),
    ("oap_address", "two words", "set oap_address"),
    ("oap_port", 0, "from 1 to 65535"),
    ("oap_port", 70000, "from 1 to 65535"),
    ("oap_port", "abc", "from 1 to 65535"),
    ("oap_port", None, "from 1 to 65535"),
    ("oap_port", 11800.5, "from 1 to 65535"),
    ("oap_port", True, "from 1 to 65535"),
    ("oap_weight", -1, "from 1 to 1000"),
    ("oap_weight", 0, "from 1 to 1000"),
    ("oap_max_conns", -1, "from 0 to 1000000"),
    ("oap_backup", "perhaps", "true or false"),
    ("oap_state", "down", "choose one of up, drain"),
)
# Wrong values of a proxy's variables, what would do, and the name that the complaint has where it
# is not the variable's own. The first of every variable are one proxy, the second another.
PROXY_VALUES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "grpc_proxy_name": (
        "lower-case letters",
        ("nginx", "", "a", "Proxy", "../etc", "a" * 33, "-oap"),
    ),
    "grpc_proxy_balance": (
        "choose one of",
        ("roundrobin", "hash", "", ["least_conn"], {"hash": "method", "to": 1}, {}, None),
    ),
    "grpc_proxy_connect_timeout": ("give a time", ("500", 5, "0s", "5", "1w", "soon", "ms")),
    "grpc_proxy_answer_timeout": ("give a time", ("-5s", "5 s", "1.5s", True, "5S", "1e3s", "0")),
    "grpc_proxy_stream_timeout": ("give a time", ("", "1 hour", None, "1h30m", "h", "-1h", 0)),
    "grpc_proxy_drain_timeout": ("give a time", ("60 s", "forever", "+1s", "1 s", "s1", "1y", "s")),
    "grpc_proxy_package_version": ("give a version", ("latest", "1.30.*", "v1.30", "1.30 ", "=1")),
    "grpc_proxy_package_repository": (
        "give an address",
        ("mirror.example", "ftp://mirror.example/", "https://", "https://a:b@mirror.example/"),
    ),
    "grpc_proxy_package_key": ("give the text", ("", "/etc/key.asc", "ftp://mirror.example/key")),
    "grpc_proxy_package_fingerprints": ("give a list", ([],)),
    "grpc_proxy_worker_processes": ("from 1 to", (0, -1, 513, 10_000)),
    "grpc_proxy_worker_connections": ("from 64 to", (0, -1, 10_000_000, 63)),
    "grpc_proxy_keep_generations": ("from 2 to", (1, 0, -5, 10_000)),
    "grpc_proxy_proof_timeout": ("from 4 to", (0, 3, -1, 86_400)),
}
ROWS = 7


def _rows() -> dict[str, Case]:
    rows = {}
    for number in range(ROWS):
        row = {
            name: (values[number], remedy)
            for name, (remedy, values) in PROXY_VALUES.items()
            if number < len(values)
        }
        rows[f"values-{number}"] = Case(
            {name: value for name, (value, _remedy) in row.items()},
            complaints=tuple(
                Complaint(PROXY, name, remedy) for name, (_value, remedy) in row.items()
            ),
        )
    return rows


def _oap_values() -> Case:
    return Case(
        oaps={
            f"{PROXY}-{number}": {"oap_address": f"192.0.2.{number + 100}", name: value}
            for number, (name, value, _remedy) in enumerate(OAP_VALUES)
        },
        complaints=tuple(
            Complaint(f"{PROXY}-{number}", name, remedy)
            for number, (name, _value, remedy) in enumerate(OAP_VALUES)
        ),
    )


def single_cases() -> dict[str, Case]:
    """Return the mistakes that people make without meaning any harm, one proxy each."""
    first, second = f"{PROXY}-a", f"{PROXY}-b"
    other = {"oap_address": "192.0.2.8"}
    drain, backup = {"oap_state": "drain"}, {"oap_backup": True}
    drained = {first: {**OAP, **drain}, second: {**other, **drain}}
    backups = {first: {**OAP, **backup}, second: {**other, **backup}}
    again = "grpc_proxy_listen[0] listens there already"
    return {
        "empty-group": _group("add some", {}),
        "missing-group": _group("add some", None),
        "all-drained": _group(
            "leave one up", {first: {**OAP, **drain}, second: {**other, **drain}}
        ),
        "all-backup": _group(
            "leave one up", {first: {**OAP, **backup}, second: {**other, **backup}}
        ),
        "drained-or-backup": _group(
            "leave one up", {first: drained[first], second: backups[second]}
        ),
        "oap-values": _oap_values(),
        "oap-without-address": Case(
            oaps={"oap..1": {}},
            complaints=(Complaint("oap..1", "its name", "set oap_address"),),
        ),
        "same-oap-twice": Case(
            oaps={first: OAP, second: OAP},
            complaints=(Complaint(second, "oap_address", "give each its own"),),
        ),
        **_rows(),
        "hash-of-variable": _proxy(
            "grpc_proxy_balance", {"hash": "$remote_addr"}, "choose one of", ".hash"
        ),
        "backup-with-ip-hash": _backup_with("ip_hash"),
        "backup-with-hash": _backup_with({"hash": "client_address"}),
        "backup-with-random": _backup_with("random_two_least_conn"),
        "same-listener": _listen([{"port": 11800}, {"port": 11800}], "[1]", again),
        "same-listener-in-words": _listen(
            [{"port": 11800}, {"address": "0.0.0.0", "port": 11800}], "[1]", again
        ),
        "same-listener-as-number": _listen(
            [{"address": "::1", "port": 11800}, {"address": "0:0::1", "port": "11800"}],
            "[1]",
            again,
        ),
        "no-listener": _listen([], "", "give "),
        "listen-port-0": _listen([{"port": 0}], "[0].port", "from 1 to 65535"),
        "listen-port-70000": _listen([{"port": 70000}], "[0].port", "from 1 to 65535"),
        "listen-name": _listen(
            [{"address": "localhost", "port": 11800}], "[0].address", "give an IPv4 or IPv6"
        ),
        "listen-misspelt": _listen(
            [{"prot": 11800}], "[0].prot", "did you mean port? (known: address, port"
        ),
        "listen-no-port": _listen(
            [{"address": "192.0.2.1"}], "[0].port", "missing; give a whole number"
        ),
        "listen-port-abc": _listen([{"port": "abc"}], "[0].port", "'abc'; give a whole number"),
        "listen-number": _listen([11800], "[0]", "11800; give a dictionary of address, port"),
        "listen-undefined": _listen(
            [{"port": Expression("{{ the_port }}")}], "[0].port", "'the_port' is undefined; define"
        ),
        "balance-undefined": _proxy(
            "grpc_proxy_balance",
            {"hash": Expression("{{ the_hash.key }}")},
            "'the_hash' is undefined; define",
            ".hash",
        ),
        "expression-broken": _proxy(
            "grpc_proxy_name", Expression("{% for %}"), "; give what can be read"
        ),
        "resolver-without-addresses": _proxy(
            "grpc_proxy_resolver", {"valid": "10s"}, "give a list such as", ".addresses"
        ),
        "resolver-by-name": _proxy(
            "grpc_proxy_resolver",
            {"addresses": ["dns.example"]},
            "give an address",
            ".addresses[0]",
        ),
        "resolver-port-0": _proxy(
            "grpc_proxy_resolver", {"addresses": ["::1", "[::1]:0"]}, "give an", ".addresses[1]"
        ),
        "resolver-valid-in-ms": _proxy(
            "grpc_proxy_resolver",
            {"addresses": ["192.0.2.53"], "valid": "500ms"},
            "give a time such as 10s",
            ".valid",
        ),
        "container-mount-relative": _proxy(
            "grpc_proxy_container_mounts", ["/etc/ours", "../etc"], "give an absolute path", "[1]"
        ),
        "container-mount-with-options": _proxy(
            "grpc_proxy_container_mounts", ["/etc:/etc:rw"], "give an absolute path", "[0]"
        ),
        "container-registry-without-password": _proxy(
            "grpc_proxy_container_registry",
            {"username": "somebody"},
            "give username and password",
            ".password",
        ),
        "container-network-unknown": _proxy(
            "grpc_proxy_container_network", "macvlan", "'macvlan'; choose one of host, bridge"
        ),
        "install-elsewhere": _proxy("grpc_proxy_install", "snap", "'snap'; choose one of package"),
        "snippet-misspelt": _proxy(
            "grpc_proxy_snippets",
            {"location": "deny all;"},
            "not known; known: main, http, server",
            ".location",
        ),
        "variable-misspelt": _proxy(
            "grpc_proxy_lisen", [{"port": 1}], "did you mean grpc_proxy_listen?"
        ),
        "variable-unknown": _proxy("grpc_proxy_zzz", 1, "not known; known: grpc_proxy_install, "),
        "oap-variable-misspelt": Case(
            oaps={first: {"oap_adress": ADDRESS, "oap_of_my_own": 1}, second: {"oap_prot": 11801}},
            complaints=(
                Complaint(first, "oap_adress", "did you mean oap_address?"),
                Complaint(second, "oap_prot", "did you mean oap_port?"),
            ),
        ),
        "snippet-with-nul": _proxy(
            "grpc_proxy_snippets", {"server": "deny all;\0"}, "as text", ".server"
        ),
    }


def cases() -> dict[str, Case]:
    """Return every case by the name of its proxy."""
    return {
        f"bad-{name}": _named(f"bad-{name}", case)
        for name, case in {
            **single_cases(),
            **unspecified_cases(),
            **hostile_cases(),
            **deep_cases(),
        }.items()
    }


def _named(proxy: str, case: Case) -> Case:
    """Put a proxy's name where its case stands for it: every host is in one case alone."""
    oaps = case.oaps
    if oaps is not None:
        oaps = {name.replace(PROXY, proxy): values for name, values in oaps.items()}
    return Case(
        case.settings,
        oaps,
        tuple(
            Complaint(
                one.host.replace(PROXY, proxy), one.variable, one.remedy.replace(PROXY, proxy)
            )
            for one in case.complaints
        ),
    )
