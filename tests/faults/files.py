"""What files a host has, read from outside."""

import hashlib
import os
import stat
from collections.abc import Collection


def listing(root: str, places: Collection[str]) -> dict[str, str]:
    """Return mode, owner and content of everything below some places of a host.

    :param root: where its files are seen here.
    """
    found = {}
    for place in places:
        found[place] = _entry(root + place)
        for folder, folders, names in os.walk(root + place):
            for name in folders + names:
                path = os.path.join(folder, name)  # noqa: PTH118 - links are not to be followed
                found[path.removeprefix(root)] = _entry(path)
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return what changed between two listings."""
    return {
        path: (before.get(path, "absent"), after.get(path, "absent"))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    }


def _entry(path: str) -> str:
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return "absent"
    about = f"{state.st_mode:o} {state.st_uid} {state.st_gid}"
    if stat.S_ISLNK(state.st_mode):
        return f"{about} -> {os.readlink(path)}"  # noqa: PTH115
    if stat.S_ISREG(state.st_mode):
        with open(path, "rb") as stream:  # noqa: PTH123
            return f"{about} {hashlib.sha256(stream.read()).hexdigest()}"
    return about
