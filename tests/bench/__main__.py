"""Measure: ``python -m tests.bench`` all subjects, ``python -m tests.bench calls`` one."""

import argparse
import sys

from tests.bench import calls, changes, playbook, workers
from tests.hosts.progress import LabError

SUBJECTS = {
    "playbook": playbook.measure,
    "changes": changes.measure,
    "workers": workers.measure,
    "calls": calls.measure,
}


def main() -> int:
    """Measure what the command line names, and print a table of each at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, help="all without it")
    asked = parser.parse_args().subject
    code, told = 0, []
    for name in [asked] if asked else SUBJECTS:
        try:
            told.append(SUBJECTS[name]())
        except LabError as error:
            told.append(f"bench {name}: {error}")
            code = 1
    print("", *told, sep="\n\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
