"""How a call ended, the same for every client."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The status that the client read."""

    code: str
    number: int
    message: str
