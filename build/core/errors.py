"""The error tree: what happened, why, what to do; one exit code per kind.

Code below the commands raises one of these and never calls `sys.exit`.
"""

from __future__ import annotations

from build.core import redact


class Error(Exception):
    """A failure that is told to people without a traceback.

    `what` is the event, `why` the cause as far as known, `cure` what the reader can do.
    `exit_code` is the process's exit status. Secrets are taken out of all three.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", cure: str = "") -> None:
        what, why, cure = (redact.text(part) for part in (what, why, cure))
        super().__init__(what)
        self.what = what
        self.why = why
        self.cure = cure

    def __str__(self) -> str:
        """Return the whole message: what, why, cure."""
        lines = [self.what]
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.cure:
            lines.append(f"  cure: {self.cure}")
        return "\n".join(lines)


class BuildFailed(Error):
    """A stage could not make its output."""

    exit_code = 1


class SourceError(BuildFailed):
    """A pinned source could not be had or is not what was pinned."""


class UserError(Error):
    """The request, the configuration or the machine is at fault."""

    exit_code = 2


class GateFailed(Error):
    """An artefact was made but does not meet what is demanded of it."""

    exit_code = 3


class WeightRose(GateFailed):
    """The binary's share of what upstream's recipe gives is larger than what was accepted."""

    exit_code = 4


INTERRUPTED = 130
"""Exit status after Ctrl-C (128 + SIGINT), the shells' convention."""
