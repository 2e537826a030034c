# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that reads what people set for a proxy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory
short_description: Read and judge what an inventory says of a gRPC proxy and its OAPs
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Reads the variables of one proxy and of its OAPs, and collects a sentence for everything
    that cannot work, naming host and variable.
positional: host, names, hostvars, ipv6
options:
  _input:
    description: The variables C(grpc_proxy_*) of the proxy.
    type: dict
    required: true
  host:
    description: Inventory name of the proxy.
    type: str
    required: true
  names:
    description: Inventory names of the OAPs.
    type: list
    elements: str
    required: true
  hostvars:
    description: Variables of every host.
    type: dict
    required: true
  ipv6:
    description: Whether the proxy has IPv6.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Read the inventory
  ansible.builtin.set_fact:
    plan: "{{ settings | skywalking.oap_proxy.inventory(
      inventory_hostname, groups['skywalking_oap'], hostvars, true) }}"
"""

RETURN = r"""
_value:
  description: Servers, balance, listeners and complaints.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import read


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"inventory": read}
