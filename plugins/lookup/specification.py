# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookup that holds a host's variables against an argument specification."""

from __future__ import annotations

DOCUMENTATION = r"""
name: specification
short_description: Tell which variables of a host are not as an argument specification has them
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Reads every variable of the host whose name begins with O(prefix), and returns a sentence with
    host and whole variable for each value of a wrong type, each key that is missing or not known,
    each variable that is not known, and each expression that cannot be evaluated.
  - It is a lookup, not a filter, because a filter is given values that are evaluated. An
    expression that fails would then hide the name of its variable, and all the others.
  - Values of options with C(no_log) are never shown.
options:
  _terms:
    description: The C(options) of an argument specification, one dictionary.
    type: list
    elements: dict
    required: true
  prefix:
    description: How the names of all variables of the specification begin.
    type: str
    required: true
  group:
    description:
      - Name of the variable that names the group of OAPs. On its hosts, a variable that is all but
        a known one is told too.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Load the specification
  ansible.builtin.include_vars:
    file: "{{ role_path }}/meta/argument_specs.yml"
    name: specification

- name: Refuse what is not in it
  ansible.builtin.assert:
    that: sentences | length == 0
    fail_msg: "{{ sentences | join('\n') }}"
  vars:
    sentences: "{{ query('skywalking.oap_proxy.specification',
      specification.argument_specs.main.options, prefix='grpc_proxy_') }}"
"""

RETURN = r"""
_list:
  description: Sentences, none where all is well.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.specification import (
    OAP_VARIABLES,
    evaluated,
    misspelt,
    refusals,
)


class LookupModule(LookupBase):
    """The lookup, for Ansible."""

    def run(
        self, terms: list[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        """Return the sentences."""
        known = dict(variables or {})
        # Known to mypy as untyped calls of Ansible's only by the name of the base.
        plugin: LookupBase = self
        plugin.set_options(var_options=known, direct=kwargs)
        prefix: str = plugin.get_option("prefix")
        given = {
            name: evaluated(value, self._evaluate)
            for name, value in known.items()
            if name.startswith(prefix)
        }
        sentences = refusals(known["inventory_hostname"], terms[0], given, prefix)
        group = given.get(plugin.get_option("group"))
        hosts = known["groups"].get(group, ()) if isinstance(group, str) else ()
        for host in hosts:
            own = [name for name in known["hostvars"][host] if name.lower().startswith("oap_")]
            sentences += misspelt(host, own, OAP_VARIABLES)
        return sentences

    def _evaluate(self, value: Any) -> Any:
        """Return the value of one expression, and of one that is encrypted its text."""
        templar: Any = self._templar
        read = templar.template(value)
        # Before ansible-core 2.19 an encrypted value is text only when it is asked for.
        return str(read) if getattr(read, "yaml_tag", "") == "!vault" else read
