"""What the person in front of the screen sees, and the one exception of this package."""

import threading
import time

_START = time.monotonic()
_LOCK = threading.Lock()


class LabError(Exception):
    """Something a person has to know; the message says what to do about it."""


def say(text: str) -> None:
    """Print one line of progress at once, with the seconds since the program began."""
    with _LOCK:
        print(f"[{time.monotonic() - _START:6.1f} s] {text}", flush=True)
