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
    at some paths, which packages are installed, what nginx tells of its build, how a unit or a
    container is, which names resolve, and what stands in files of certificates.
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
  container:
    description:
      - Name of a container. The docker engine is asked for it, for the one named NAME-next, and for
        all that bear the label C(skywalking.oap_proxy) with this name.
    type: str
  image:
    description:
      - Image to look at, by name or digest. It is run with C(nginx -V), apart from everything and
        removed again. Asked for only with O(container).
    type: str
  names:
    description: Names of hosts to resolve.
    type: list
    elements: str
    default: []
  name_servers:
    description:
      - Name servers to ask for O(names) by DNS, each of them, as the resolver of nginx does.
      - Without any the host resolves them, as nginx does when it starts.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Its port of UDP.
        type: int
        default: 53
  ipv6:
    description: Whether to ask O(name_servers) for addresses of IPv6 too.
    type: bool
    default: true
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

- name: Ask name servers
  skywalking.oap_proxy.nginx_facts:
    names: [oap1.example]
    name_servers:
      - address: 192.0.2.53
  register: known
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
engine:
  description: What the docker engine tells of itself; null where O(container) is not given.
  returned: success
  type: dict
  contains:
    error:
      description: Why it does not answer, null where it does.
      type: str
    version:
      description: Its version.
      type: str
      sample: 20.10.24
    architecture:
      description: Architecture of the host, as images name it.
      type: str
      sample: amd64
    remaps_users:
      description: Whether root of a container is another user on the host.
      type: bool
    limits_memory:
      description: Whether the host's kernel lets it limit a container's memory.
      type: bool
    gateways:
      description: Addresses from which containers of its network V(bridge) see this host.
      type: list
      elements: str
      sample: [172.17.0.1]
containers:
  description: The containers of O(container), each once.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    owner:
      description: Value of its label C(skywalking.oap_proxy); null where it has none.
      type: str
    number:
      description: Value of its label C(skywalking.oap_proxy.number); 0 where it has none.
      type: int
    status:
      description: Its state, as docker calls it.
      type: str
      sample: running
    image:
      description: Id of its image.
      type: str
    network:
      description: Its network, as docker calls it.
      type: str
      sample: host
image:
  description: What the engine has as O(image); null where it has not.
  returned: success
  type: dict
  contains:
    id:
      description: Its id.
      type: str
    architecture:
      description: Its architecture.
      type: str
      sample: amd64
    build:
      description: What its nginx prints with C(-V), or why it cannot be run.
      type: str
    asks_http2:
      description: Whether it has a shell, and a curl that speaks HTTP/2.
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
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.dns import looked_up
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import Engine
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.host import (
    Host,
    certificate,
    path,
    resolution,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.inspection import inspect

ARGUMENTS: dict[str, Any] = {
    "paths": {"type": "list", "elements": "path", "default": []},
    "checksums": {"type": "list", "elements": "path", "default": []},
    "packages": {"type": "list", "elements": "str", "default": []},
    "binary": {"type": "path"},
    "unit": {"type": "str"},
    "container": {"type": "str"},
    "image": {"type": "str"},
    "names": {"type": "list", "elements": "str", "default": []},
    "name_servers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 53},
        },
    },
    "ipv6": {"type": "bool", "default": True},
    "certificates": {"type": "list", "elements": "path", "default": []},
}


def answers(options: dict[str, Any], host: Host, engine: Engine) -> dict[str, Any]:
    """Return the answer to everything that is asked."""
    binary, unit, servers = options["binary"], options["unit"], options["name_servers"]
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
        **inspect(engine, options["container"], options["image"]),
        "names": [
            looked_up(name, servers, options["ipv6"]) if servers else resolution(name)
            for name in options["names"]
        ],
        "certificates": [certificate(name) for name in options["certificates"]],
    }


def main() -> None:
    """Arguments in, one result out."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)

    def run(command: list[str]) -> tuple[int, str, str]:
        status, out, error = module.run_command(command, handle_exceptions=False)
        return status, out, error

    try:
        told = answers(module.params, Host(run), Engine())
    except OSError as error:
        module.fail_json(msg=f"cannot look at the host: {error}.")
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
