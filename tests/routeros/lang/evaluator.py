"""Runs a parsed script on a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tests.routeros.lang import nodes
from tests.routeros.lang.compiler import GLOBAL, body, compiled
from tests.routeros.lang.errors import ParseError, ReturnValue, RuntimeFault, ScriptExit
from tests.routeros.lang.host import Host
from tests.routeros.lang.parser import parse
from tests.routeros.lang.schema import Schema
from tests.routeros.lang.values import NOTHING, Code, Value

MAX_DEPTH = 60


class Interpreter:
    """One job: a stack of function frames, each a stack of scopes."""

    def __init__(self, host: Host, schema: Schema, job: str = "") -> None:
        self.host = host
        self.schema = schema
        self.job = job
        self.frames: list[list[dict[str, Any]]] = [[{}]]
        self.item: Mapping[str, Value] = {}

    def run(self, source: str, by_line: bool = False) -> Value:
        """Parse and run a script; the value of its last command or of ``:return``.

        by_line: as /import does it, each command with variables of its own (facts 3.1).
        Raises ParseError before anything has run, RuntimeFault for an error nobody caught.
        """
        script = parse(source, self.schema)
        try:
            if by_line:
                for statement in script.block.statements:
                    self.frames = [[{}]]
                    compiled(statement)(self)
                return NOTHING
            # the script's own scope is the frame's first: no new one around it
            return body(script.block)(self)
        except ReturnValue as done:
            return cast(Value, done.value)
        except ScriptExit:
            return NOTHING

    def assign(self, name: str, value: Value) -> None:
        """``:set``: the innermost variable of that name."""
        for scope in reversed(self.frames[-1]):
            if name in scope:
                if scope[name] is GLOBAL:
                    self.host.globals[name] = value
                else:
                    scope[name] = value
                return
        raise RuntimeFault(f"variable {name} is not declared")

    def invoke(self, block: nodes.Block, names: dict[str, Value]) -> Value:
        """Call a function: a frame of its own, no view of the caller's variables."""
        if len(self.frames) > MAX_DEPTH:
            raise RuntimeFault("maximum recursion depth reached")
        self.frames.append([names])
        try:
            return body(block)(self)
        except ReturnValue as done:
            return cast(Value, done.value)
        finally:
            self.frames.pop()

    def parse_code(self, source: str) -> Code:
        """``:parse``: here a syntax error is an ordinary failure that can be caught."""
        try:
            return Code(parse(source, self.schema).block, source)
        except ParseError as problem:
            raise RuntimeFault(str(problem), problem.line) from None

    def caught(self, fault: RuntimeFault) -> str:
        """The text that a handler sees."""
        if self.host.error_suffix and fault.line:
            return f"{fault.message} (line {fault.line})"
        return fault.message
