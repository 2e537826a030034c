# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that tells where the user keeps certificates on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: paths_on_host
short_description: Tell where the user keeps certificates on the proxy
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Returns the paths in the variables of one proxy whose certificates can be judged before
    they are used.
options:
  _input:
    description: The variables C(grpc_proxy_*) of the proxy.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Use it
  vars:
    found: "{{ settings | skywalking.oap_proxy.paths_on_host }}"
  ansible.builtin.debug:
    msg: "{{ found | length }}"
"""

RETURN = r"""
_value:
  description: The paths.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import paths_on_host


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"paths_on_host": paths_on_host}
