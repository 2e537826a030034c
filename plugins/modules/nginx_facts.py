#!/usr/bin/python

# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell in one go what a host is and has, as far as an nginx gRPC proxy must know it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_facts
short_description: Tell in one go what an nginx gRPC proxy must know of a host
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Answers in one execution what would otherwise take a task each - what the host is, what is
    at some paths, which packages are installed, what nginx tells of its build, how a unit is,
    which names resolve, and what stands in files of certificates.
  - Changes nothing, and runs in check mode too. What is not there is an answer, not a failure.
options:
  paths:
    description: Paths to look at. A link is not followed.
    type: list
    elements: path
    default: []
  checksums:
    description: Further paths to look at; a regular file is read for its checksum.
    type: list
    elements: path
    default: []
  packages:
    description: Names of packages of a host with dpkg.
    type: list
    elements: str
    default: []
  binary:
    description: Path of an nginx to ask for its build. It is run with C(-V).
    type: path
  unit:
    description: Name of a unit of systemd, with its suffix.
    type: str
  names:
    description: Names of hosts to resolve.
    type: list
    elements: str
    default: []
  certificates:
    description: Files of public certificates in PEM whose text to return.
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
  - module: skywalking.oap_proxy.nginx_config
"""

EXAMPLES = r"""
- name: Ask the host
  skywalking.oap_proxy.nginx_facts:
    paths:
      - /etc/nginx/oap-proxy
    checksums:
      - /etc/systemd/system/oap-proxy.service
    packages: [nginx, python3-h2]
    binary: /usr/sbin/nginx
    unit: oap-proxy.service
    names: [oap1.example]
    certificates: [/etc/ssl/certs/oap-proxy.pem]
  register: host

- name: Refuse names that nginx could not resolve
  ansible.builtin.assert:
    that: host.names | selectattr('error') | length == 0
"""

RETURN = r"""
ipv6:
  description: Whether IPv6 is at work.
  returned: success
  type: bool
service_manager:
  description: V(systemd) where that has booted the host, else the name of process 1.
  returned: success
  type: str
distribution:
  description: What os-release tells; empty text where it does not.
  returned: success
  type: dict
  contains:
    id:
      description: Its C(ID).
      type: str
      sample: debian
    version:
      description: Its C(VERSION_ID).
      type: str
      sample: "12"
    codename:
      description: Its C(VERSION_CODENAME).
      type: str
      sample: bookworm
    name:
      description: Its C(PRETTY_NAME).
      type: str
      sample: Debian GNU/Linux 12 (bookworm)
paths:
  description: What is at each of O(paths) and O(checksums), by path.
  returned: success
  type: dict
  contains:
    type:
      description: One of V(absent), V(file), V(directory), V(link) and V(other).
      type: str
    mode:
      description: Permission bits in octal; null for what is absent.
      type: str
      sample: "0644"
    uid:
      description: Number of the owner; null for what is absent.
      type: int
    gid:
      description: Number of the group; null for what is absent.
      type: int
    target:
      description: Where a link points; null for all else.
      type: str
    sha256:
      description: SHA-256 of a regular file of O(checksums); null for all else.
      type: str
packages:
  description: Those of O(packages) that are installed, by name.
  returned: success
  type: dict
  contains:
    version:
      description: The version.
      type: str
      sample: 1.22.1-9+deb12u3
    held:
      description: Whether it is on hold, so that apt does not change it.
      type: bool
build:
  description:
    - What O(binary) prints when it is run with C(-V), or why it cannot be run; null where there
      is no such file.
  returned: success
  type: str
unit:
  description: What systemd tells of O(unit); null where systemd does not answer.
  returned: success
  type: dict
  contains:
    load_state:
      description: Its C(LoadState).
      type: str
      sample: loaded
    file_state:
      description: Its C(UnitFileState), as systemd has last read it.
      type: str
      sample: enabled
    active_state:
      description: Its C(ActiveState).
      type: str
      sample: active
    need_daemon_reload:
      description: Whether the unit on disk is another than the one that systemd has read.
      type: bool
names:
  description: One row for each of O(names).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
    error:
      description: Why it does not resolve, null where it does.
      type: str
certificates:
  description: One row for each of O(certificates).
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
    content:
      description: The text; null where it is not there, holds a private key or no certificate.
      type: str
    error:
      description: Why there is no text, null where there is.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.host import (
    Host,
    certificate,
    path,
    resolution,
)

ARGUMENTS: dict[str, Any] = {
    "paths": {"type": "list", "elements": "path", "default": []},
    "checksums": {"type": "list", "elements": "path", "default": []},
    "packages": {"type": "list", "elements": "str", "default": []},
    "binary": {"type": "path"},
    "unit": {"type": "str"},
    "names": {"type": "list", "elements": "str", "default": []},
    "certificates": {"type": "list", "elements": "path", "default": []},
}


def answers(options: dict[str, Any], host: Host) -> dict[str, Any]:
    """Return the answer to everything that is asked."""
    binary, unit = options["binary"], options["unit"]
    return {
        "ipv6": host.ipv6(),
        "service_manager": host.service_manager(),
        "distribution": host.distribution(),
        "paths": {
            **{name: path(name, checksum=False) for name in options["paths"]},
            **{name: path(name, checksum=True) for name in options["checksums"]},
        },
        "packages": host.packages(options["packages"]),
        "build": host.build(binary) if binary else None,
        "unit": host.unit(unit) if unit else None,
        "names": [resolution(name) for name in options["names"]],
        "certificates": [certificate(name) for name in options["certificates"]],
    }


def main() -> None:
    """Arguments in, one result out."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)

    def run(command: list[str]) -> tuple[int, str, str]:
        status, out, error = module.run_command(command, handle_exceptions=False)
        return status, out, error

    try:
        told = answers(module.params, Host(run))
    except OSError as error:
        module.fail_json(msg=f"cannot look at the host: {error}.")
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
