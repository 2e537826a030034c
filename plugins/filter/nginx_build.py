# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that reads the output of nginx -V."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_build
short_description: Tell version and modules of an nginx, and what it lacks for gRPC
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Reads the output of C(nginx -V).
options:
  _input:
    description: The output; null where there is no nginx.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Fail unless this nginx can be a gRPC proxy
  ansible.builtin.assert:
    that: (host.build | skywalking.oap_proxy.nginx_build).missing == []
"""

RETURN = r"""
_value:
  description: Version, user, modules left out, and sentences for what is missing.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.nginx_build import read_build


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"nginx_build": read_build}
