"""Defaults, argument specifications, documentation and use of variables say the same thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.specification import (
    OAP_VARIABLES,
)

from tests.gates import specs, tree

SMALL: dict[str, str] = {
    "roles/grpc_proxy/defaults/main.yml": """\
grpc_proxy_name: oap-proxy
grpc_proxy_listen: [{port: 11800}]
grpc_proxy_allow: []
grpc_proxy_deny: []
grpc_proxy_log: {status: $status, bytes: $bytes_sent}
__grpc_proxy_inside: 1
""",
    "roles/grpc_proxy/meta/argument_specs.yml": """\
argument_specs:
  main:
    options:
      grpc_proxy_name: {type: str, default: oap-proxy, description: Its name.}
      grpc_proxy_listen:
        type: list
        elements: dict
        default: [{port: 11800}]
        description: [Where it listens.]
        options:
          port: {type: int, required: true, description: The port.}
      grpc_proxy_allow: {type: list, elements: str, default: [], description: Who may.}
      grpc_proxy_deny: {type: list, elements: str, default: [], description: Who may not.}
      grpc_proxy_log:
        type: dict
        default: {status: $status, bytes: $bytes_sent}
        description: The fields.
  verify:
    options:
      grpc_proxy_name: {type: str, default: oap-proxy, description: Its name.}
""",
    "roles/grpc_proxy/tasks/main.yml": """\
- ansible.builtin.include_role:
    name: skywalking.oap_proxy.nginx_package
- ansible.builtin.include_tasks: grpc_proxy_listen.yml
- ansible.builtin.debug:
    msg: "{{ grpc_proxy_name }} {{ __grpc_proxy_inside }} {{ hostvars[item].oap_port }}"
""",
    "roles/grpc_proxy/templates/upstream.conf.j2": """\
{{ h.oap_address }} {{ h.oap_weight }} {{ h['oap_backup'] }}
{{ hostvars[h]['oap_state'] | default('up') }}
upstream oap_proxy_oaps {}
""",
    "plugins/plugin_utils/inventory.py": 'MAX_CONNS = "oap_max_conns"',
    "roles/nginx_package/tasks/main.yml": "- ansible.builtin.debug:\n",
    "site.yml": "- hosts: oap_proxy\n  roles: [skywalking.oap_proxy.grpc_proxy]\n",
    "README.md": """\
| variable | default | |
|---|---|---|
| `grpc_proxy_name` | `oap-proxy` | its name |
| `grpc_proxy_listen` | `[{port: 11800}]` | the default is `11800` |
| `grpc_proxy_allow`, `grpc_proxy_deny` | `[]` | who \\| who not |
| `grpc_proxy_log` | [below](#log) | the fields |
| `oap_address` | the host's | |
| `oap_port` | `11800` | |
| `oap_weight`, `oap_max_conns`, `oap_backup`, `oap_state` | | |
| `verify` | shows what there is | |

```yaml
grpc_proxy_log:
  status: $status
  bytes: $bytes_sent
```
""",
}

SPECS = "roles/grpc_proxy/meta/argument_specs.yml"
DEFAULTS = "roles/grpc_proxy/defaults/main.yml"
TASKS = "roles/grpc_proxy/tasks/main.yml"
TEMPLATE = "roles/grpc_proxy/templates/upstream.conf.j2"

# What is replaced, by what, in which file, and the one sentence that this must bring.
DRIFTS = {
    "a default without an option": (
        DEFAULTS,
        "grpc_proxy_name:",
        "grpc_proxy_extra: 1\ngrpc_proxy_name:",
        "grpc_proxy: grpc_proxy_extra has a default and no entry in meta/argument_specs.yml",
    ),
    "an option without a default": (
        DEFAULTS,
        "grpc_proxy_deny: []\n",
        "",
        "grpc_proxy: grpc_proxy_deny is an option of main and stands in no defaults/main.yml",
    ),
    "another default": (
        SPECS,
        "{type: str, default: oap-proxy, description: Its name.}\n      grpc_proxy_listen",
        "{type: str, default: proxy, description: Its name.}\n      grpc_proxy_listen",
        "grpc_proxy: grpc_proxy_name is 'oap-proxy' in defaults/main.yml and 'proxy' in its "
        "specification",
    ),
    "another default in the second entry point": (
        SPECS,
        "  verify:\n    options:\n      grpc_proxy_name: {type: str, default: oap-proxy",
        "  verify:\n    options:\n      grpc_proxy_name: {type: str, default: other",
        "grpc_proxy: grpc_proxy_name is 'oap-proxy' in defaults/main.yml and 'other' in its "
        "specification",
    ),
    "a default that the specification leaves out": (
        SPECS,
        "grpc_proxy_deny: {type: list, elements: str, default: []",
        "grpc_proxy_deny: {type: list, elements: str",
        "grpc_proxy: grpc_proxy_deny has a default that its specification does not show",
    ),
    "a default of another type": (
        SPECS,
        "grpc_proxy_deny: {type: list, elements: str",
        "grpc_proxy_deny: {type: dict",
        "grpc_proxy: grpc_proxy_deny is [], which is no dict",
    ),
    "an option without a description": (
        SPECS,
        "default: [], description: Who may.",
        "default: [], description: ' '",
        "grpc_proxy: grpc_proxy_allow has no description",
    ),
    "a suboption without a description": (
        SPECS,
        ", description: The port.",
        "",
        "grpc_proxy: grpc_proxy_listen.port has no description",
    ),
    "an option without a type": (
        SPECS,
        "port: {type: int, ",
        "port: {",
        "grpc_proxy: grpc_proxy_listen.port has no type, or one that Ansible does not know",
    ),
    "a list of nobody knows what": (
        SPECS,
        "elements: str, default: [], description: Who may.",
        "default: [], description: Who may.",
        "grpc_proxy: grpc_proxy_allow is a list and does not say of what",
    ),
    "an option with what the preflight does not hold": (
        SPECS,
        "elements: str, default: [], description: Who may.",
        "elements: str, aliases: [allow], default: [], description: Who may.",
        "grpc_proxy: grpc_proxy_allow has aliases, which the preflight does not hold",
    ),
    "a variable without a row": (
        "README.md",
        "| `grpc_proxy_name` | `oap-proxy` | its name |\n",
        "",
        "grpc_proxy_name has no row in README.md or docs/variables.md",
    ),
    "a host variable without a row": (
        "README.md",
        "| `oap_port` | `11800` | |\n",
        "",
        "oap_port has no row in README.md or docs/variables.md",
    ),
    "a row that shows another default": (
        "README.md",
        "`[{port: 11800}]`",
        "`[{port: 11801}]`",
        "README.md shows '`[{port: 11801}]`' as the default of grpc_proxy_listen, which is "
        "[{'port': 11800}]",
    ),
    "a row that shows no default": (
        "README.md",
        "| `oap-proxy` |",
        "| |",
        "README.md shows '' as the default of grpc_proxy_name, which is 'oap-proxy'",
    ),
    "a block that shows another default": (
        "README.md",
        "  bytes: $bytes_sent\n",
        "",
        "README.md shows '[below](#log)' as the default of grpc_proxy_log, which is "
        "{'status': '$status', 'bytes': '$bytes_sent'}",
    ),
    "a row for a variable that is gone": (
        "README.md",
        "| `oap_port`",
        "| `grpc_proxy_gone` | `1` | |\n| `oap_port`",
        "README.md has a row for grpc_proxy_gone, which is no variable of a role",
    ),
    "a row for a host variable that is gone": (
        "README.md",
        "| `oap_port`",
        "| `oap_gone` | `1` | |\n| `oap_port`",
        "README.md has a row for oap_gone, which is no variable of a role",
    ),
    "an unknown variable in a task": (
        TASKS,
        "{{ grpc_proxy_name }}",
        "{{ grpc_proxy_name }}{{ grpc_proxy_nmae }}",
        f"{TASKS} uses grpc_proxy_nmae, which no specification knows",
    ),
    "an unknown variable in a template": (
        TEMPLATE,
        "{{ h.oap_address }}",
        "{{ h.oap_address }}{% if grpc_proxy_secret %}{% endif %}",
        f"{TEMPLATE} uses grpc_proxy_secret, which no specification knows",
    ),
    "an unknown variable in a playbook": (
        "site.yml",
        "- hosts: oap_proxy\n",
        "- hosts: '{{ grpc_proxy_hosts }}'\n",
        "site.yml uses grpc_proxy_hosts, which no specification knows",
    ),
    "an unknown host variable": (
        TEMPLATE,
        "{{ h.oap_weight }}",
        "{{ h.oap_weight }}{{ h.oap_wait }}",
        f"{TEMPLATE} uses oap_wait, which no specification knows",
    ),
    "a variable of another role": (
        "roles/nginx_package/tasks/main.yml",
        "debug:\n",
        'debug:\n    msg: "{{ nginx_package_name }}"\n',
        "roles/nginx_package/tasks/main.yml uses nginx_package_name, which no specification knows",
    ),
    "a host variable that nothing reads": (
        TEMPLATE,
        "{{ h.oap_weight }}",
        "",
        "oap_weight is documented, and no role, plugin or playbook reads it",
    ),
}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A small collection in which nothing has drifted."""
    for name, text in SMALL.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_the_small_collection_has_no_drift(collection: Path) -> None:
    """What the next test changes is the only thing wrong."""
    assert specs.drift(collection) == []


@pytest.mark.parametrize(("name", "old", "new", "sentence"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_found(collection: Path, name: str, old: str, new: str, sentence: str) -> None:
    """Each kind of drift brings its own sentence and no other."""
    path = collection / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")

    assert specs.drift(collection) == [sentence]


def test_true_is_not_one(collection: Path) -> None:
    """Python holds True and 1 for equal; a specification does not."""
    path = collection / SPECS
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("default: [{port: 11800}]", "default: [{port: true}]"))
    (collection / DEFAULTS).write_text(
        SMALL[DEFAULTS].replace("11800", "1"),
        encoding="utf-8",
    )
    (collection / "README.md").write_text(
        SMALL["README.md"].replace("`[{port: 11800}]`", "`[{port: 1}]`"),
        encoding="utf-8",
    )

    assert specs.drift(collection) == [
        "grpc_proxy: grpc_proxy_listen is [{'port': 1}] in defaults/main.yml and "
        "[{'port': True}] in its specification"
    ]


@pytest.mark.parametrize(
    "check",
    [
        specs.defaults_without_option,
        specs.options_without_default,
        specs.unequal_defaults,
        specs.incomplete_options,
    ],
)
@pytest.mark.parametrize("role", specs.roles(tree.ROOT), ids=lambda role: role.name)
def test_specification_of_role(
    role: specs.Role, check: Callable[[specs.Role], Iterable[str]]
) -> None:
    """Each role of this collection agrees with its own specification."""
    faults = list(check(role))
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "check",
    [
        specs.undocumented,
        specs.wrongly_documented,
        specs.unknown_in_use,
        specs.host_variables_without_use,
    ],
)
def test_documentation_and_use(check: Callable[[Path], Iterable[str]]) -> None:
    """This collection's documentation and use of variables agree with the specifications."""
    faults = list(check(tree.ROOT))
    assert not faults, "\n".join(faults)


def test_a_list_of_names_reads_none_of_them(collection: Path) -> None:
    """A host variable is not in use because the preflight knows its name."""
    path = collection / specs.KNOWN_IN
    path.write_text('KNOWN = ("oap_weight",)\n', encoding="utf-8")
    template = collection / TEMPLATE
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("{{ h.oap_weight }}", ""), encoding="utf-8")

    assert specs.drift(collection) == [
        "oap_weight is documented, and no role, plugin or playbook reads it"
    ]


def test_the_preflight_knows_every_host_variable() -> None:
    """A misspelt one is told by the name that was meant."""
    assert set(OAP_VARIABLES) == specs.HOST_VARIABLES


@pytest.mark.parametrize("role", specs.roles(tree.ROOT), ids=lambda role: role.name)
def test_entry_points_take_the_same(role: specs.Role) -> None:
    """What the preflight holds for main holds for each entry point that has the variable."""
    main = role.entry_points["main"]
    for options in role.entry_points.values():
        assert options == {name: main[name] for name in options}


def test_there_are_roles() -> None:
    """The tests over every role have something to go over."""
    assert "grpc_proxy" in {role.name for role in specs.roles(tree.ROOT)}
