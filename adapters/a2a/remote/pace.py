"""How fast, how stubborn and how patient the hub is as a client."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Pace:
    """Seconds, all of them. Tests bring shorter ones."""

    lease: int = 20
    """Of a task that is given to a remote agent."""
    renew: float = 3.0
    fading: float = 10.0
    """A lease with less left than this has missed its renewals: its holder is gone."""
    claim_wait: float = 30.0
    first_pause: float = 0.25
    longest_pause: float = 10.0
    """Between two tries to reach a remote agent, growing from the first to the longest."""
    first_poll: float = 0.5
    longest_poll: float = 5.0
    """Between two looks at a task of an agent that cannot stream."""
    patience: float = 120.0
    """How long a remote agent that has a task may be away before the attempt is given up."""
    stale: float = 2.0
    """How long the old question may still be told after it was answered."""
    ask_again: float = 15.0
    """Between two looks whether a remote agent still waits."""
    sweep: float = 1.0
    probe: float = 2.0
    longest_probe: float = 30.0
    grace: float = 5.0
    """For sends that are under way when the hub stops."""


DEFAULT: Final = Pace()
