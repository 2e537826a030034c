#!/usr/bin/python

# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell which versions of a package apt would offer, before its sources are changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_offer
short_description: Tell which versions of a package apt would offer, before its sources are changed
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Has apt read a repository, verify its signature with the given key and nothing else, and list
    a package, all of it in a temporary directory. A repository that is not signed by that key, or
    was changed after it was signed, is found before apt knows it.
  - Changes nothing, and runs in check mode too. What apt refuses is an answer, not a failure.
options:
  package:
    description: Name of the package.
    type: str
    required: true
  repository:
    description: The repository to look into. The host's own sources when left out.
    type: dict
    suboptions:
      url:
        description: Where it is.
        type: str
        required: true
      suite:
        description: Its suite, the code name of the distribution say.
        type: str
        required: true
      component:
        description: Its component.
        type: str
        required: true
      key:
        description: The public keys that may sign it, ASCII-armoured.
        type: str
        required: true
  without:
    description: Paths of sources of the host that are left out, as if they were not there.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without changes.
    support: full
  diff_mode:
    description: Returns details on what has changed.
    support: none
seealso:
  - module: skywalking.oap_proxy.nginx_facts
"""

EXAMPLES = r"""
- name: Ask what there is of nginx
  skywalking.oap_proxy.apt_offer:
    package: nginx
    repository:
      url: https://nginx.org/packages/debian
      suite: bookworm
      component: nginx
      key: "{{ lookup('ansible.builtin.file', 'nginx_signing.key') }}"
  register: offer

- name: Refuse a repository that apt does not trust
  ansible.builtin.assert:
    that: offer.error == ''
"""

RETURN = r"""
versions:
  description: All versions of the package, the newest first.
  returned: success
  type: list
  elements: str
candidate:
  description: The version that apt would take if none were installed; empty where there is none.
  returned: success
  type: str
  sample: 1.30.4-1~bookworm
error:
  description: Why apt offers nothing, or could not read its sources any more, in its own words.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.apt import Offer, Repository

ARGUMENTS: dict[str, Any] = {
    "package": {"type": "str", "required": True},
    "repository": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "suite": {"type": "str", "required": True},
            "component": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
        },
    },
    "without": {"type": "list", "elements": "path", "default": []},
}


def main() -> None:
    """Arguments in, one result out."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C"}
    asked = module.params

    def run(command: list[str]) -> tuple[int, str, str]:
        status, out, error = module.run_command(command, handle_exceptions=False)
        return status, out, error

    repository = Repository(**asked["repository"]) if asked["repository"] else None
    try:
        offered = Offer(run).of(asked["package"], repository, asked["without"])
    except OSError as error:
        module.fail_json(msg=f"cannot ask apt: {error}.")
    module.exit_json(changed=False, **offered)


if __name__ == "__main__":
    main()
