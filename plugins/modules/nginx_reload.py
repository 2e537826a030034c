#!/usr/bin/python

# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a generation that is on disk live, and prove it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_reload
short_description: Reload an nginx gRPC proxy, or go back to a generation of before, and prove it
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Has the instance read what is on disk again, and proves on every listener that it did - that
    the new worker processes alone accept calls, that the generation answers with its id, that the
    fallback is C(UNAVAILABLE) in every gRPC client, and over TLS that the certificate shown is the
    one on disk. Meant for what other programs renew, such as certificates.
  - With O(generation), swaps a generation of before in and proves it in the same way.
  - What to prove, and where, stands in the generation itself. The configuration is tested before
    anything is touched; where the proof fails, the generation before is brought back.
options:
  root:
    description:
      - Directory that holds C(generations/) and C(current). C(/etc/nginx/NAME) when left out.
    type: path
  generation:
    description:
      - The generation to bring live, as its id, or V(current) for the one on disk, or V(previous)
        for the one that was proven before the last.
      - V(current) is read again on every run, and every run is a change. Another one that is live
        and proven already is none.
    type: str
    default: current
extends_documentation_fragment:
  - skywalking.oap_proxy.nginx_instance
  - skywalking.oap_proxy.nginx_instance.change
requirements:
  - python3-cryptography on the managed host
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without changes.
    support: full
  diff_mode:
    description: Returns details on what has changed, secret files left out.
    support: full
seealso:
  - module: skywalking.oap_proxy.nginx_config
  - module: skywalking.oap_proxy.nginx_generation_info
"""

EXAMPLES = r"""
- name: Have the certificate read that another program has renewed, and prove that it is shown
  skywalking.oap_proxy.nginx_reload:
    instance:
      name: oap-proxy
  register: renewed

- name: Refuse a certificate that ends soon
  ansible.builtin.assert:
    that: renewed.certificates | map(attribute='days_left') | min >= 14

- name: Go back one step, by a restart where nginx needs one
  skywalking.oap_proxy.nginx_reload:
    generation: previous
    allow_restart: true
    instance:
      name: oap-proxy

- name: Go back to a generation that nginx_generation_info has listed
  skywalking.oap_proxy.nginx_reload:
    generation: 3f9c1a20b7e4
    instance:
      name: oap-proxy

- name: Prove an instance with paths of its own
  skywalking.oap_proxy.nginx_reload:
    root: /srv/proxy/nginx
    instance:
      name: proxy
      binary: /opt/nginx/sbin/nginx
      error_log: /srv/proxy/logs/error.log
      runtime: /run/proxy
"""

RETURN = r"""
generation:
  description: Id of the live generation; in check mode of the one that would be.
  returned: always
  type: str
  sample: 3f9c1a20b7e4
previous:
  description: Id that was on disk before.
  returned: success
  type: str
live:
  description: Id that was live before; null when no listener told one.
  returned: success
  type: str
action:
  description:
    - What was done to the instance, one of V(none), V(started), V(reloaded), V(upgraded),
      V(restarted).
    - V(upgraded) is a handover without a gap from what runs to what a start would take now, such
      as an nginx binary that was replaced since.
  returned: success
  type: str
  sample: reloaded
proof:
  description: One row for each listener, as in M(skywalking.oap_proxy.nginx_config).
  returned: always
  type: list
  elements: dict
certificates:
  description: One for each listener that speaks TLS.
  returned: success
  type: list
  elements: dict
  contains:
    listener:
      description: Address and port, and the name asked for.
      type: str
    path:
      description: The file on the host that it was held against; null when it is of the generation.
      type: str
    sha256:
      description: SHA-256 of the certificate that was shown.
      type: str
    subject:
      description: Whose it is.
      type: str
    not_before:
      description: From when it is valid.
      type: str
    not_after:
      description: Until when it is valid.
      type: str
    days_left:
      description: Whole days from now to its end; negative when that is past.
      type: int
    valid:
      description: Whether it is valid today. A warning tells when it is not.
      type: bool
drift:
  description: Where disk, process and listeners differed from one another before.
  returned: success
  type: list
  elements: str
rehearsed:
  description:
    - Whether the generation was proven before anything was touched, as in
      M(skywalking.oap_proxy.nginx_config).
  returned: success
  type: bool
not_rehearsed:
  description: Why a generation that was to be changed to could not be rehearsed, else null.
  returned: success
  type: str
repaired:
  description: What a run that was killed had left, and this run removed, also where it failed then.
  returned: always
  type: list
  elements: str
proven_ms:
  description: Milliseconds from before the command to the proof; null when nginx was told nothing.
  returned: success
  type: float
duration_ms:
  description: Milliseconds that the module took on the host.
  returned: always
  type: float
reason:
  description: Why it failed, as in M(skywalking.oap_proxy.nginx_config).
  returned: failure
  type: str
nginx_log:
  description: What nginx said.
  returned: failure
  type: list
  elements: str
rolled_back:
  description: Whether the generation before is back.
  returned: failure
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.bringing import (
    bring,
    certificates,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.conclusion import conclude
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import OPTIONS

ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path"},
    "generation": {"type": "str", "default": "current"},
    "instance": {"type": "dict", "required": True, "options": OPTIONS},
    "allow_restart": {"type": "bool", "default": False},
    "keep": {"type": "int", "default": 5},
    "proof_timeout": {"type": "float", "default": 20},
}


def main() -> None:
    """Arguments in, one result out."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    conclude(
        module, lambda: bring(module.params, module.run_command, module.check_mode), certificates
    )


if __name__ == "__main__":
    main()
