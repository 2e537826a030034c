#!/usr/bin/python

# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a set of files the proven, live configuration of one nginx instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_config
short_description: Make a set of files the proven, live configuration of an nginx gRPC proxy
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Writes a complete tree of nginx configuration as a generation named by a hash of its
    content, has the very binary that will run it test it, swaps it in by rename, starts or
    reloads the instance, and proves on every listener that the new configuration answers.
  - Where the binary was replaced since the instance was started, the new one takes over the
    listening sockets while the old one serves, also with an unchanged configuration. The old one
    ends when the new one is proven, and goes on where it is not.
  - The proof is the id of the generation, told by the running configuration itself on a fresh
    connection, and for each of O(methods) a call that is forced to a dead upstream, which must
    come back as C(UNAVAILABLE) in the one shape that every gRPC client reads so; over TLS the
    certificate too, and then that each of O(listeners[].refusals) is refused.
  - When the proof fails, the generation before is swapped back, reloaded and proven, and the
    module fails with the reason and with nginx's own words.
options:
  root:
    description: Directory that holds C(generations/) and the link C(current).
    type: path
    required: true
  files:
    description: The files of the configuration. C(nginx.conf) must be among them.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path below the generation.
        type: str
        required: true
      content:
        description: Content of the file.
        type: str
        required: true
      mode:
        description: Permission bits in octal, as a string.
        type: str
        default: "0644"
  secrets:
    description: Files whose content is never shown, such as private keys.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path below the generation.
        type: str
        required: true
      content:
        description: Content of the file.
        type: str
        required: true
      mode:
        description: Permission bits in octal, as a string.
        type: str
        default: "0600"
  listeners:
    description: Every address and port on which the configuration listens; each is proven.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: Address as in nginx's C(listen); C(0.0.0.0) and C(::) stand for all.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
      tls:
        description: Whether it speaks TLS.
        type: bool
        default: false
      server_name:
        description: Name to ask it by, where several share the socket.
        type: str
        default: ""
      certificate:
        description:
          - The certificate that it must show, as a path of O(files) or as an absolute path on the
            host. Not compared when empty.
        type: str
        default: ""
      refusals:
        description: Calls that the proxy itself must refuse to the host itself.
        type: list
        elements: dict
        default: []
        suboptions:
          method:
            description: The method, C(/package.Service/Method).
            type: str
            required: true
          statuses:
            description: Names of the gRPC statuses that will do.
            type: list
            elements: str
            required: true
  methods:
    description:
      - gRPC methods whose fallback is forced on every listener, C(/package.Service/Method).
        Give every one that is known, and one more for each other location of the configuration.
    type: list
    elements: str
    required: true
  shared_ports:
    description:
      - Whether others may open the same ports beside (C(reuseport)). The kernel then chooses who
        takes a connection, so that many fresh ones to each listener must tell the generation.
    type: bool
    default: false
extends_documentation_fragment:
  - skywalking.oap_proxy.nginx_instance
  - skywalking.oap_proxy.nginx_instance.change
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without changes.
    support: full
  diff_mode:
    description: Returns details on what has changed, the content of O(secrets) left out.
    support: full
seealso:
  - module: skywalking.oap_proxy.nginx_reload
  - module: skywalking.oap_proxy.nginx_generation_info
  - module: skywalking.oap_proxy.grpc_probe
"""

EXAMPLES = r"""
- name: Put a configuration live and prove it
  skywalking.oap_proxy.nginx_config:
    root: /etc/nginx/oap-proxy
    files:
      - path: nginx.conf
        content: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
      - path: http.d/upstreams.conf
        content: "{{ lookup('ansible.builtin.template', 'upstreams.conf.j2') }}"
    instance:
      name: oap-proxy
    listeners:
      - address: 0.0.0.0
        port: 11800
      - address: "::"
        port: 11800
    methods:
      - /skywalking.v3.TraceSegmentReportService/collect
"""

RETURN = r"""
generation:
  description: Id of the live generation; null when nothing is known to be live.
  returned: always
  type: str
  sample: 3f9c1a20b7e4
previous:
  description: Id that was on disk before; null at the first run.
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
  description: One row for each listener; after a failure those up to the first with a fault.
  returned: always
  type: list
  elements: dict
  contains:
    listener:
      description: Address and port.
      type: str
    generation:
      description: Id that the listener answered with.
      type: str
    grpc_status:
      description: gRPC status of the last forced call, or of the first that was wrong.
      type: int
    http_status:
      description: HTTP status of the same call.
      type: int
    trailers_only:
      description: Whether that answer was one HEADERS frame that ended the stream.
      type: bool
    duration_ms:
      description: Milliseconds for all calls to this listener.
      type: float
    fault:
      description: What is wrong, null when nothing is.
      type: str
tested:
  description: Whether nginx tested the configuration; false only in check mode without nginx.
  returned: success
  type: bool
drift:
  description:
    - Where disk, process and listeners differed from one another before, one sentence each - what
      is live is not what is on disk, a generation was edited, another certificate is shown.
  returned: success
  type: list
  elements: str
rehearsed:
  description:
    - Whether the configuration was proven before anything was touched, by a throw-away nginx in a
      network of its own. What answers wrongly there is refused. Also false where there was nothing
      to change.
  returned: success
  type: bool
not_rehearsed:
  description: Why a configuration that was to be changed could not be rehearsed, else null.
  returned: success
  type: str
repaired:
  description: What a run that was killed had left, and this run removed, also where it failed then.
  returned: always
  type: list
  elements: str
proven_ms:
  description: Milliseconds from the swap on disk to the proof; null when nginx was told nothing.
  returned: success
  type: float
duration_ms:
  description: Milliseconds that the module took on the host.
  returned: always
  type: float
reason:
  description:
    - Why it failed, one of V(rejected), V(not_live), V(fallback), V(restart_needed),
      V(not_started), V(busy), V(unproven).
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

import ipaddress
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.conclusion import conclude
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    Expectation,
    Listener,
    Refusal,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    File,
    GenerationError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    H2_IMPORT_ERROR,
    STATUS_NAMES,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    OPTIONS,
    from_options,
    missing,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, fingerprint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import Outcome
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree


def file_spec(mode: str, no_log: bool = False) -> dict[str, Any]:
    """Return the options of one file, with its default mode."""
    return {
        "path": {"type": "str", "required": True},
        "content": {"type": "str", "required": True, "no_log": no_log},
        "mode": {"type": "str", "default": mode},
    }


ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": file_spec("0644"),
    },
    "secrets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        # Paths and modes may be shown; the content may not.
        "no_log": False,
        "options": file_spec("0600", no_log=True),
    },
    "instance": {
        "type": "dict",
        "required": True,
        "options": OPTIONS,
    },
    "listeners": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "tls": {"type": "bool", "default": False},
            "server_name": {"type": "str", "default": ""},
            "certificate": {"type": "str", "default": ""},
            "refusals": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "method": {"type": "str", "required": True},
                    "statuses": {"type": "list", "elements": "str", "required": True},
                },
            },
        },
    },
    "methods": {"type": "list", "elements": "str", "required": True},
    "shared_ports": {"type": "bool", "default": False},
    "allow_restart": {"type": "bool", "default": False},
    "keep": {"type": "int", "default": 5},
    "proof_timeout": {"type": "float", "default": 20},
}


def files_from(options: list[dict[str, str]], secret: bool) -> list[File]:
    """Return the files that an option describes.

    :raises GenerationError: for a mode that is not octal.
    """
    files = []
    for item in options:
        if not re.fullmatch("0?[0-7]{3}", item["mode"]):
            raise GenerationError(
                f"files: mode {item['mode']!r} of {item['path']} is not one like '0644'."
            )
        files.append(File(item["path"], item["content"].encode(), int(item["mode"], 8), secret))
    return files


def expectation_from(options: dict[str, Any], files: list[File]) -> Expectation:
    """Return what the configuration must answer.

    :raises GenerationError: when nothing would be proven, or an option makes no sense.
    """
    if not options["listeners"] or not options["methods"]:
        raise GenerationError(
            "listeners and methods: give at least one of each, else nothing is proven."
        )
    return Expectation(
        tuple(listener_from(item, files) for item in options["listeners"]),
        tuple(options["methods"]),
        shared=options["shared_ports"],
    )


def listener_from(option: dict[str, Any], files: list[File]) -> Listener:
    """Return one listener.

    :raises GenerationError: when its address or port is none, or its certificate is not there.
    """
    try:
        ipaddress.ip_address(option["address"])
    except ValueError as error:
        raise GenerationError(f"listeners: address: {error}.") from error
    if not 0 < option["port"] < 65536:
        raise GenerationError(f"listeners: port: {option['port']} is none; give 1 to 65535.")
    return Listener(
        option["address"],
        option["port"],
        option["tls"],
        option["server_name"],
        certificate_from(option["certificate"], files),
        tuple(refusal_from(item) for item in option["refusals"]),
    )


def certificate_from(place: str, files: list[File]) -> str:
    """Return what a listener must show, as the proof compares it.

    :param place: path of one of the files, or an absolute path on the host.
    :raises GenerationError: when there is no certificate among the files.
    """
    if not place or place.startswith("/"):
        return place
    held = {item.path: item.content.decode() for item in files}
    try:
        return fingerprint(held.get(place, ""))
    except ValueError as error:
        raise GenerationError(
            f"listeners: certificate: {place!r} of the files: {error}."
        ) from error


def refusal_from(option: dict[str, Any]) -> Refusal:
    """Return one call that must be refused.

    :raises GenerationError: for a status that gRPC does not know.
    """
    unknown = sorted(set(option["statuses"]) - set(STATUS_NAMES))
    if unknown or not option["statuses"]:
        raise GenerationError(
            f"listeners: refusals: statuses: {unknown or option['statuses']} is no list of names "
            "of gRPC statuses."
        )
    numbers = tuple(STATUS_NAMES.index(name) for name in option["statuses"])
    return Refusal(option["method"], numbers)


def run(module: AnsibleModule) -> Outcome:
    """Run the transaction, or its check; return its outcome."""
    options = module.params
    transaction = Transaction(
        Tree(options["root"]),
        from_options(options["instance"], module.run_command),
        Prover(),
        Settings(options["allow_restart"], options["keep"], options["proof_timeout"]),
    )
    try:
        files = files_from(options["files"], False) + files_from(options["secrets"], True)
        expectation = expectation_from(options, files)
    except GenerationError as error:
        raise transaction.refusal(str(error)) from error
    lacking = missing(options["instance"]) + (["python3-h2"] if H2_IMPORT_ERROR else [])
    if module.check_mode and lacking:
        outcome = transaction.preview(files, expectation)
        outcome.alerts.append(
            f"{', '.join(lacking)} is still to come: the configuration was compared, not tested."
        )
        return outcome
    if lacking:
        raise transaction.refusal(
            f"{', '.join(lacking)} is missing on the host: install it, or give the right path in "
            "instance."
        )
    return (
        transaction.check(files, expectation)
        if module.check_mode
        else transaction.run(files, expectation)
    )


class Module(AnsibleModule):
    """Tells the host's log of its call without the content of any file.

    Ansible logs a nested option as one piece of text with its line ends escaped, in which it does
    not find a secret of several lines again: a private key would stand in the journal.
    """

    def __init__(self) -> None:
        AnsibleModule.__init__(self, argument_spec=ARGUMENTS, supports_check_mode=True)

    def _log_invocation(self) -> None:
        kinds = ("files", "secrets")
        counts = ", ".join(f"{len(self.params[kind])} {kind}" for kind in kinds)
        AnsibleModule.log(self, f"Invoked with root={self.params['root']}, {counts}")


def main() -> None:
    """Arguments in, one result out."""
    module = Module()
    conclude(module, lambda: run(module), lambda outcome: {"tested": outcome.tested})


if __name__ == "__main__":
    main()
