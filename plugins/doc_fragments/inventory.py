# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters that read an inventory have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by Ansible."""

    DOCUMENTATION = r"""
options:
  _input:
    description: The variables C(grpc_proxy_*) of the proxy.
    type: dict
    required: true
  host:
    description: Inventory name of the proxy.
    type: str
    required: true
  groups:
    description: Inventory names of hosts by group.
    type: dict
    required: true
  hostvars:
    description: Variables of every host.
    type: dict
    required: true
  ipv6:
    description: Whether the proxy has IPv6.
    type: bool
    required: true
  classes:
    description: SkyWalking's methods by kind.
    type: list
    elements: dict
    required: true
  on_host:
    description: Certificates that the user keeps on the host, by path.
    type: dict
    default: {}
"""
