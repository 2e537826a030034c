# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that judges OpenPGP public keys."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pgp_key
short_description: Tell whether OpenPGP public keys are those that may be trusted
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Computes the fingerprint of every key in the text itself, so nothing need be installed, and
    nothing that was not judged gets to apt.
positional: fingerprints
options:
  _input:
    description: One or more public keys, ASCII-armoured.
    type: str
    required: true
  fingerprints:
    description: The fingerprints that may be trusted. Every key must have one of them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a key that is not the one
  ansible.builtin.assert:
    that: (key | skywalking.oap_proxy.pgp_key(fingerprints)).fault == ''
"""

RETURN = r"""
_value:
  description: V(text), the keys in one block without anything else, and V(fault), empty if none.
  type: dict
"""

from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.pgp import read_key


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"pgp_key": read_key}
