"""How the Ansible of the tests enters a host: a connection plugin for them alone.

Ansible's own for docker calls three programs of the engine's for each task.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase
from docker.errors import NotFound

from tests.hosts import engine, inside

DOCUMENTATION = """
name: lab
short_description: Enter a container of this machine with nsenter
version_added: 0.1.0
description:
  - Runs commands as root in the namespaces of a container of this machine, and moves files so.
options:
  remote_addr:
    description: Name of the container.
    type: str
    vars:
      - name: inventory_hostname
      - name: ansible_host
"""


class Connection(ConnectionBase):
    """Runs every command in the namespaces of the first process of a container."""

    transport = "lab"
    has_pipelining = True

    def _connect(self) -> Connection:
        name: str = self.get_option("remote_addr")  # type: ignore[no-untyped-call]
        try:
            self._enter = inside.enter(engine.connect().containers.get(name))
        except NotFound as error:
            raise AnsibleConnectionFailure(f"there is no container {name}") from error
        self._connected = True
        return self

    def exec_command(
        self,
        cmd: str,
        in_data: bytes | None = None,
        sudoable: bool = True,  # noqa: ARG002
    ) -> tuple[int, bytes, bytes]:
        """Run a line of sh."""
        return self._run(cmd, in_data or b"")

    def put_file(self, in_path: str, out_path: str) -> None:
        """Bring a file of this machine to the host."""
        self._file("cat > ", out_path, Path(in_path).read_bytes())

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Bring a file of the host to this machine."""
        Path(out_path).write_bytes(self._file("cat < ", in_path))

    def close(self) -> None:
        """Nothing is kept open."""
        self._connected = False

    def _file(self, how: str, path: str, content: bytes = b"") -> bytes:
        code, output, errors = self._run(how + self._shell.quote(path), content)
        if code:
            raise AnsibleConnectionFailure(f"{path}: {errors.decode(errors='replace')}")
        return output

    def _run(self, line: str, content: bytes) -> tuple[int, bytes, bytes]:
        if not self._connected:
            self._connect()
        done = subprocess.run(
            [*self._enter, "/bin/sh", "-c", line],
            input=content, env=inside.ENVIRONMENT, capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr
