"""The command line itself at fault: exit code 2 and one message, like every other bad request.

invoke's parser ends with 1 for an option that a task does not have or a value that is missing, and
with a traceback for a number that is none; its `Program.run` has that code built in. The steps of
`run` are methods of the one program that `invoke` and `python -m invoke` start, and those after the
loading of our tasks can be wrapped from here: `invoke …` works as typed, with no entry point of our
own. What goes wrong before (invoke's own options in front of a task, as in `-T x`) is out of reach.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from invoke import Exit, ParseError, Program
from invoke.main import program as started

from build.commands.common import said
from build.core.errors import UserError

_UNGIVEN = re.compile(r"Flag <Argument: (\S+?)(?: .*)?> needed value and was not given one!")

_STEPS = ("parse_tasks", "parse_cleanup", "update_config")


def _guarded(program: Program, step: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(step)
    def guarded() -> None:
        try:
            step()
            _require_values(program)
        except ParseError as error:
            task = error.context.name if error.context and error.context.name else ""
            cure = f"invoke --help {task}" if task else "invoke --list"
            raise _refused(_UNGIVEN.sub(r"--\1 needs a value", str(error)), cure) from None
        except ValueError as error:  # a number that is none
            raise _refused(str(error), "invoke --help TASK") from None
        except OSError as error:  # invoke's own configuration
            raise _refused(f"{error.filename}: {error.strerror}", "invoke --help") from None
        except Exit as error:
            if error.code:
                raise _refused(error.message or "", "invoke --list") from None
            raise

    return guarded


def _require_values(program: Program) -> None:
    """Refuse what invoke lets pass: `sbom --typo` as a platform, `verify --arch` without one."""
    words = program.core.unparsed
    for context in getattr(program, "tasks", ()):
        for word, following in zip(words, [*words[1:], None], strict=True):
            flag = context.flags.get(word)
            if flag and flag.kind is list and (following is None or following in context.flags):
                raise ParseError(f"{word} needs a value", context)
        for argument in context.positional_args:
            if isinstance(argument.value, str) and re.match("-.", argument.value):
                raise ParseError(
                    f"{argument.value!r} is not an option of it, nor can {argument.name} begin so",
                    context,
                )


def _refused(why: str, cure: str) -> Exit:
    error = UserError("this is not a command line of ours", why=why, cure=cure)
    return Exit(f"error: {said(error)}", code=error.exit_code)


def guard(program: Program = started) -> None:
    """Let a program of invoke end with 2 for a command line that it cannot read."""
    for name in _STEPS:
        step = getattr(program, name)
        if not hasattr(step, "__wrapped__"):  # the tasks may be loaded more than once
            setattr(program, name, _guarded(program, step))
