"""Commands as the module runs them."""

from __future__ import annotations

import subprocess


def run(command: list[str], **_ansibles: bool) -> tuple[int, str, str]:
    """Run a command; return status, output and errors."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
