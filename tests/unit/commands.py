"""A stand-in for the commands of a host that runs one unit."""

from __future__ import annotations

import errno
import os


class Commands:
    """A stand-in for the host's commands: notes each, and answers from a table."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []
        self.missing: set[str] = set()
        self.active = "active"
        self.pid = os.getpid()
        self.status = 0
        self.journal = ""
        self.drop_ins = ""
        self.versions: dict[str, str] = {}
        self.type = "forking"
        self.pid_file = "/run/oap-proxy/nginx.pid"

    def __call__(self, command: list[str], handle_exceptions: bool = True) -> tuple[int, str, str]:
        """Run a command. AnsibleModule's ends the module where one is not there, if it may."""
        assert not handle_exceptions
        self.made.append(command)
        if command[0] in self.missing:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if command[:2] == ["systemctl", "show"]:
            told = f"LoadState=loaded\nActiveState={self.active}\nMainPID={self.pid}\n"
            told += f"Type={self.type}\nPIDFile={self.pid_file}\n"
            return 0, f"{told}DropInPaths={self.drop_ins}\n", ""
        if command[0] in self.versions:
            return 0, "", f"nginx version: nginx/{self.versions[command[0]]} (Debian)\n"
        if command[0] == "journalctl":
            return 0, self.journal, ""
        return self.status, " said on stdout\n", " said on stderr\n" if self.status else ""
