#!/usr/bin/python

# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make one gRPC call and tell everything that came back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: grpc_probe
short_description: Make one gRPC call and tell everything that came back
version_added: 0.1.0
author:
  - The skywalking.oap_proxy authors (@skywalking)
description:
  - Makes one call over HTTP/2, in clear text or TLS, on a connection of its own, and returns
    status, headers and trailers as they came on the wire.
  - Changes nothing, and runs in check mode too.
options:
  address:
    description: Address or name to connect to.
    type: str
    required: true
  port:
    description: TCP port.
    type: int
    required: true
  source:
    description: Address to connect from. The kernel's choice when empty.
    type: str
    default: ""
  authority:
    description: Value of C(:authority). Address and port when empty.
    type: str
    default: ""
  tls:
    description: Whether to speak TLS.
    type: bool
    default: false
  validate_certs:
    description: Whether to hold the server's certificate against O(ca) and O(server_name).
    type: bool
    default: true
  ca:
    description: Path of the authorities' certificates on the host. The system's when left out.
    type: path
  server_name:
    description: Name to ask for and to verify. O(address) when left out.
    type: str
  certificate:
    description: Path of a client certificate on the host.
    type: path
  private_key:
    description: Path of its key. In the same file when left out.
    type: path
  method:
    description: The method, C(/package.Service/Method).
    type: str
    required: true
  metadata:
    description: Further request headers, names in lower case.
    type: dict
    default: {}
  request:
    description: The serialized request message in base64. Empty is a valid, empty message.
    type: str
    default: ""
  timeout:
    description: Seconds for the connection, and again for the call.
    type: float
    default: 5
  expect:
    description: Names of the gRPC statuses that count as success.
    type: list
    elements: str
    default: [OK]
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
  - module: skywalking.oap_proxy.nginx_config
"""

EXAMPLES = r"""
- name: Ask an OAP for its health
  skywalking.oap_proxy.grpc_probe:
    address: 10.0.0.11
    port: 11800
    method: /grpc.health.v1.Health/Check

- name: Ask the proxy for the id of its running configuration
  skywalking.oap_proxy.grpc_probe:
    address: 127.0.0.1
    port: 11800
    method: /-/oap-proxy/generation
  register: probe

- name: Show the id
  ansible.builtin.debug:
    var: probe.headers['oap-proxy-generation']
"""

RETURN = r"""
grpc_status:
  description: The gRPC status as a number; null when none came.
  returned: always
  type: int
grpc_status_name:
  description: Name of the gRPC status, or what came instead of one.
  returned: always
  type: str
grpc_message:
  description: The gRPC message, percent-decoded.
  returned: when an answer came
  type: str
http_status:
  description: The HTTP status.
  returned: when an answer came
  type: int
headers:
  description: Response headers.
  returned: when an answer came
  type: dict
trailers:
  description: Trailing headers; empty for a trailers-only response.
  returned: when an answer came
  type: dict
trailers_only:
  description: Whether the answer was one HEADERS frame that ended the stream.
  returned: when an answer came
  type: bool
messages:
  description: The response messages in base64.
  returned: when an answer came
  type: list
  elements: str
alpn:
  description: Protocol agreed on in the TLS handshake; null in clear text.
  returned: when an answer came
  type: str
peer_certificate:
  description: The server's certificate in PEM; null in clear text.
  returned: when an answer came
  type: str
duration_ms:
  description: Milliseconds for the call.
  returned: when an answer came
  type: float
"""

import base64
import binascii
import ssl
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    H2_IMPORT_ERROR,
    STATUS_NAMES,
    CallError,
    Connection,
    Reply,
)

ARGUMENTS: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "source": {"type": "str", "default": ""},
    "authority": {"type": "str", "default": ""},
    "tls": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca": {"type": "path"},
    "server_name": {"type": "str"},
    "certificate": {"type": "path"},
    # A path, which is no secret.
    "private_key": {"type": "path", "no_log": False},
    "method": {"type": "str", "required": True},
    "metadata": {"type": "dict", "default": {}},
    "request": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 5},
    "expect": {"type": "list", "elements": "str", "default": ["OK"]},
}


def endpoint_from(options: dict[str, Any]) -> Endpoint:
    """Return where the call goes."""
    tls = None
    if options["tls"]:
        tls = Tls(
            options["server_name"] or options["address"],
            options["validate_certs"],
            options["ca"] or "",
            options["certificate"] or "",
            options["private_key"] or "",
        )
    return Endpoint(
        options["address"], options["port"], options["authority"], options["source"], tls
    )


def result(reply: Reply, alpn: str | None, certificate: bytes) -> dict[str, Any]:
    """Return a reply as a module returns it."""
    return {
        "changed": False,
        "grpc_status": reply.grpc_status,
        "grpc_status_name": reply.status_name,
        "grpc_message": reply.grpc_message,
        "http_status": reply.http_status,
        "headers": reply.headers,
        "trailers": reply.trailers,
        "trailers_only": reply.trailers_only,
        "messages": [base64.b64encode(item).decode() for item in reply.messages],
        "alpn": alpn,
        "peer_certificate": ssl.DER_cert_to_PEM_cert(certificate) if certificate else None,
        "duration_ms": reply.duration_ms,
    }


def main() -> None:
    """Arguments in, one result out."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if H2_IMPORT_ERROR:
        module.fail_json(
            msg=missing_required_lib("h2 (Debian package python3-h2)"), exception=H2_IMPORT_ERROR
        )
    options = module.params
    unknown = sorted(set(options["expect"]) - set(STATUS_NAMES))
    if unknown:
        module.fail_json(msg=f"expect: {unknown[0]!r} is no gRPC status; one of {STATUS_NAMES}.")
    endpoint = endpoint_from(options)
    metadata = {name.lower(): str(value) for name, value in options["metadata"].items()}
    try:
        message = base64.b64decode(options["request"], validate=True)
        with Connection(endpoint, options["timeout"]) as connection:
            reply = connection.call(options["method"], metadata, message)
    except binascii.Error as error:
        module.fail_json(msg=f"request: not base64: {error}")
    except CallError as error:
        module.fail_json(msg=str(error), grpc_status=None, grpc_status_name="no answer")
    answer = result(reply, connection.alpn, connection.peer_certificate)
    if reply.status_name not in options["expect"]:
        detail = f": {reply.grpc_message}" if reply.grpc_message else ""
        module.fail_json(
            msg=f"{endpoint.name} answered {options['method']} with {reply.status_name}{detail}; "
            f"expected {' or '.join(options['expect'])}.",
            **answer,
        )
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
