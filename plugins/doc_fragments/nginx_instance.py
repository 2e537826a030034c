# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that bring a generation live have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by Ansible."""

    DOCUMENTATION = r"""
options:
  instance:
    description: The nginx that runs the configuration.
    type: dict
    required: true
    suboptions:
      kind:
        description: What keeps the instance running.
        type: str
        choices: [systemd, docker]
        default: systemd
      name:
        description: Name of the unit, or of the container.
        type: str
        required: true
      binary:
        description: Path of the nginx binary, with V(docker) that within the image.
        type: path
        default: /usr/sbin/nginx
      error_log:
        description:
          - Path of the error log that the configuration names. C(/var/log/NAME/error.log) when left
            out.
        type: path
      runtime:
        description: Directory of its pid file and temporary files. C(/run/NAME) when left out.
        type: path
      image:
        description:
          - With V(docker), the image to test with in check mode, where the container that is to run
            it is not created yet. That of the container when left out.
        type: str
      network:
        description: In the same way, the network of the container as the engine calls it.
        type: str
      volumes:
        description:
          - In the same way, what is mounted in the container, as C(docker run --volume) takes it.
        type: list
        elements: str
      moves_from:
        description:
          - What serves under this name until now, where that is of the other kind. It serves on
            until what O(instance.kind) says has been proven beside it, on ports that both share.
            Then it drains, and does not start again.
        type: str
        choices: [systemd, docker]
"""

    CHANGE = r"""
options:
  allow_restart:
    description: Restart the instance where nginx cannot take a change by a reload.
    type: bool
    default: false
  keep:
    description:
      - Number of generations to keep. The live one and the one proven before it always stay.
    type: int
    default: 5
  proof_timeout:
    description:
      - Seconds to wait for the proof. A change that nginx has given up is told at once.
    type: float
    default: 20
requirements:
  - python3-h2 on the managed host
"""
