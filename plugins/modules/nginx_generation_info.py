#!/usr/bin/python

# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List the generations of an nginx gRPC proxy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_generation_info
short_description: List the generations of an nginx gRPC proxy on a host, and tell which one is live
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Lists what M(skywalking.oap_proxy.nginx_reload) can go back to. What is live is asked on the
    listeners; nothing is changed.
options:
  root:
    description:
      - Directory that holds C(generations/) and C(current). C(/etc/nginx/NAME) when left out.
    type: path
extends_documentation_fragment:
  - skywalking.oap_proxy.nginx_instance
requirements:
  - python3-h2 on the managed host
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without changes.
    support: full
  diff_mode:
    description: Returns details on what has changed.
    support: none
seealso:
  - module: skywalking.oap_proxy.nginx_reload
"""

EXAMPLES = r"""
- name: List the generations
  skywalking.oap_proxy.nginx_generation_info:
    instance:
      name: oap-proxy
  register: told
"""

RETURN = r"""
generations:
  description: The generations on disk, the youngest first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its id.
      type: str
      sample: 3f9c1a20b7e4
    sealed:
      description: When it was written, in UTC.
      type: str
      sample: "2026-05-04T03:02:01+00:00"
    live:
      description: Whether the listeners answer with it.
      type: bool
    current:
      description: Whether nginx would read it at its next start or reload.
      type: bool
    proven:
      description: Whether it is the one that was proven last, to which a failed change goes back.
      type: bool
    previous:
      description: Whether it was proven before that one.
      type: bool
    intact:
      description: Whether it is byte for byte what was sealed.
      type: bool
live:
  description: Id that the listeners answer with; null when nothing that is known answers.
  returned: success
  type: str
running:
  description: Whether the instance runs.
  returned: success
  type: bool
"""

from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import H2_IMPORT_ERROR
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    OPTIONS,
    from_options,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import Survey
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree

ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path"},
    "instance": {"type": "dict", "required": True, "options": OPTIONS},
}


def generations(tree: Tree, instance: Instance, prover: Prover) -> dict[str, Any]:
    """Return what the module tells."""
    running = instance.running()
    live = Survey(tree, instance, prover).live()
    told = [
        {
            "id": name,
            "sealed": datetime.fromtimestamp(
                int(tree.path(name).stat().st_mtime), timezone.utc
            ).isoformat(),
            "live": name == live,
            "current": name == tree.current(),
            "proven": name == tree.proven(),
            "previous": name == tree.previous(),
            "intact": tree.intact(name),
        }
        for name in reversed(tree.generations())
    ]
    return {"generations": told, "live": live, "running": running}


def main() -> None:
    """Arguments in, one result out."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    if H2_IMPORT_ERROR:
        module.fail_json(msg="python3-h2 is missing on the host: install it.")
    tree = Tree(options["root"] or f"/etc/nginx/{options['instance']['name']}")
    instance = from_options(options["instance"], module.run_command)
    try:
        told = generations(tree, instance, Prover())
    except OSError as error:
        module.fail_json(msg=f"cannot look at {tree.root}: {error}.")
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
