# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that reads what of an inventory no one may see."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secrets
short_description: Read what of an inventory no one may see
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Keys to be written and tokens as the templates need them, for the one task that writes them.
positional: host, groups, hostvars, ipv6, classes, on_host
extends_documentation_fragment:
  - skywalking.oap_proxy.inventory
"""

EXAMPLES = r"""
- name: Use it
  vars:
    found: "{{ settings | skywalking.oap_proxy.secrets(
      inventory_hostname, groups, hostvars, true, classes) }}"
  ansible.builtin.debug:
    msg: "{{ found | length }}"
"""

RETURN = r"""
_value:
  description: Keys as files, tokens by name and pattern, and the OAPs' token as a word of nginx's.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import read_secrets


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"secrets": read_secrets}
