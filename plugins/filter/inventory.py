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
  - Nothing secret is in what it returns.
positional: host, groups, hostvars, ipv6, classes, on_host
extends_documentation_fragment:
  - skywalking.oap_proxy.inventory
"""

EXAMPLES = r"""
- name: Read the inventory
  ansible.builtin.set_fact:
    plan: "{{ settings | skywalking.oap_proxy.inventory(
      inventory_hostname, groups, hostvars, true, classes) }}"
"""

RETURN = r"""
_value:
  description:
    - Complaints, warnings, and what templates and proof are made of; the latter only where there
      is no complaint.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import read


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"inventory": read}
