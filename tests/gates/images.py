"""Build the image of every host of every laboratory, so that no test has to wait for one."""

from __future__ import annotations

import sys

from tests.hosts import images
from tests.hosts.progress import LabError
from tests.hosts.spec import labs


def main() -> int:
    """Build each image once, however many hosts are made of it."""
    hosts = [host for lab in labs().values() for host in lab.hosts]
    try:
        if any(host.kind == "oap" for host in hosts):
            print(images.oap())
        for suite in sorted({host.suite for host in hosts if host.kind == "debian"}):
            print(images.debian(suite))
    except LabError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
