"""Faults that a test plants at one command of a script."""

from __future__ import annotations

from dataclasses import dataclass, field


class PowerCut(Exception):
    """The power goes; no script can catch it."""


class Hang(Exception):
    """A command never comes back; its job stays in the job list until the next boot."""


KINDS = ("fail", "fail-after", "hang", "cut")


@dataclass
class FaultPlan:
    """What goes wrong: the ``step``-th command (from 0) of the watched jobs.

    kinds: fail (an error, nothing done), fail-after (done, then an error), hang (never comes
    back), cut (done, then the power goes). ``trace`` collects "line path command" of every
    command that ran, so a first run without a step shows where faults can be planted.
    """

    step: int = -1
    kind: str = "fail"
    trace: list[str] = field(default_factory=list)
    struck: bool = False

    def before(self, site: str) -> str:
        """Called before a command; gives the kind of fault that is due there, or ""."""
        due = len(self.trace) == self.step
        self.trace.append(site)
        if due:
            self.struck = True
        return self.kind if due else ""
