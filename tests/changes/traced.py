"""The system calls of a run that change something on disk, from strace's own record."""

import re
from collections.abc import Collection, Iterator

# strace -y tells the path of a descriptor beside its number.
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_WRITING = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC)\b")
_OPENING = {"open", "openat", "openat2", "creat"}
_SAME = {
    "mkdirat": "mkdir", "fchmodat": "chmod", "renameat": "rename", "symlinkat": "symlink",
    "linkat": "link", "fdatasync": "fsync",
}  # fmt: skip
# What reads, waits or only moves a descriptor; every other call on the tree counts as a change.
_HARMLESS = re.compile(
    r"^(read|pread64|readv|lseek|close|dup\d?|fcntl|ioctl|flock|mmap|access|faccessat2?|statx?|"
    r"lstat|fstat|newfstatat|statfs|fstatfs|getdents64|readlink(at)?|getcwd|chdir|fadvise64|execve)$"
)


def changes(record: str, roots: Collection[str]) -> Iterator[str]:
    """Yield the names of the calls below some directories that change something, in order."""
    for line in record.splitlines():
        found = _CALL.match(line)
        if found is None or not any(root in found[2] for root in roots):
            continue
        name, told = found[1], found[2]
        if name in _OPENING:
            if _WRITING.search(told):
                yield "open"
        elif name == "unlinkat":
            yield "rmdir" if "AT_REMOVEDIR" in told else "unlink"
        elif not _HARMLESS.match(name):
            yield _SAME.get(name, name)
