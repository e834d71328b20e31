"""The command line itself at fault: exit code 2 and one message, like every other bad request.

invoke's parser ends with 1 for an option that a task does not have or a value that is missing, and
with a traceback for a number that is none; its `Program.run` has that code built in. The steps of
`run` are methods of the one program that `invoke` and `python -m invoke` start, and can be wrapped.
`./dev invoke` wraps them all. invoke as typed in another environment reads its own options and
looks for the tasks before anything of ours is loaded, so that `-T x`, `-D x` and a `-c` or `-r`
that leads nowhere end there as invoke has it; all later steps are ours in both.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke import Exit, FilesystemLoader, ParseError, Program
from invoke.main import program as started

from build.commands.common import said
from build.core.errors import UserError
from build.core.paths import ROOT

_UNGIVEN = re.compile(r"Flag <Argument: (\S+?)(?: .*)?> needed value and was not given one!")

_STEPS = ("parse_core", "parse_collection", "parse_tasks", "parse_cleanup", "update_config")
_FORMATS = ("flat", "nested", "json")


def _guarded(program: Program, name: str) -> Callable[..., None]:
    step = getattr(program, name)
    before = {"parse_cleanup": _require_format, "update_config": _require_config}.get(name)

    @functools.wraps(step)
    def guarded(*words: Any) -> None:
        if before:
            before(program)
        try:
            step(*words)
            if name == "parse_tasks":
                _require_values(program)
        except ParseError as error:
            task = error.context.name if error.context and error.context.name else ""
            cure = f"invoke --help {task}" if task else "invoke --list"
            raise _refused(_UNGIVEN.sub(r"--\1 needs a value", str(error)), cure) from None
        except ValueError as error:  # a number that is none
            raise _refused(str(error), "invoke --help TASK") from None
        except OSError as error:  # invoke's own configuration
            raise _refused(f"{error.filename}: {error.strerror}", "invoke --help") from None
        except EOFError:
            raise _refused("nobody answers a question of it", "invoke --help") from None
        except Exit as error:
            if error.code:
                raise _refused(error.message or "", "invoke --list") from None
            raise

    return guarded


def _require_format(program: Program) -> None:
    if (given := program.args["list-format"].value) not in _FORMATS:
        raise _refused(f"--list-format '{given}' is not known", f"one of: {', '.join(_FORMATS)}")


def _require_config(program: Program) -> None:
    """Refuse a configuration that invoke passes over, because nothing is there, or cannot read."""
    given = program.args.config.value or os.environ.get("INVOKE_RUNTIME_CONFIG")
    if given is None:
        return
    cure = "leave --config and INVOKE_RUNTIME_CONFIG out: no task needs one"
    if not Path(given).is_file():
        raise _refused(f"there is no file '{given}' of invoke's configuration", cure)
    try:
        program.config.set_runtime_path(Path(given))
        program.config.load_runtime()
    except Exception as error:  # whatever YAML, JSON, Python code, or invoke's merging raises
        raise _refused(f"'{given}' is no configuration of invoke's: {error}", cure) from None


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
        if not hasattr(getattr(program, name), "__wrapped__"):  # tasks may be loaded more than once
            setattr(program, name, _guarded(program, name))


class _Loader(FilesystemLoader):
    """Finds our tasks wherever the command is typed; `--search-root` says otherwise."""

    @property
    def start(self) -> str:
        return self._start or str(ROOT)


def run(program: Program = started) -> None:
    """Run the command line of this process, for `./dev invoke`."""
    program.loader_class = _Loader
    guard(program)
    program.run()
