"""Runs a parsed script on a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from tests.routeros.lang import nodes, operators
from tests.routeros.lang.errors import (
    LoopBreak,
    LoopContinue,
    ParseError,
    ReturnValue,
    RuntimeFault,
    ScriptExit,
)
from tests.routeros.lang.functions import PURE
from tests.routeros.lang.host import CommandCall, Host
from tests.routeros.lang.parser import parse
from tests.routeros.lang.schema import Schema
from tests.routeros.lang.values import (
    NOTHING,
    NS,
    Array,
    Code,
    Duration,
    Function,
    Nil,
    Nothing,
    Value,
    to_num,
    to_str,
)

GLOBAL = object()
MAX_DEPTH = 60


class Interpreter:
    """One job: a stack of function frames, each a stack of scopes."""

    def __init__(self, host: Host, schema: Schema, job: str = "") -> None:
        self.host = host
        self.schema = schema
        self.job = job
        self.frames: list[list[dict[str, Any]]] = [[{}]]
        self.item: Mapping[str, Value] = {}
        self._eval: dict[type, Callable[[Any], Value]] = {
            nodes.Literal: self._literal,
            nodes.Variable: self._variable,
            nodes.Builtin: self._builtin,
            nodes.Command: self._command,
            nodes.Binary: self._binary,
            nodes.Substitution: self._substitution,
            nodes.Call: self._call,
            nodes.Interpolated: self._interpolated,
            nodes.Element: self._element,
            nodes.Unary: self._unary,
            nodes.Block: self.block,
            nodes.ArrayLiteral: self._array,
            nodes.Property: self._property,
        }

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
                    self.value(statement)
                return NOTHING
            # the script's own scope is the frame's first: no new one around it
            return self._statements(script.block)
        except ReturnValue as done:
            return cast(Value, done.value)
        except ScriptExit:
            return NOTHING

    def value(self, node: nodes.Node) -> Value:
        """The value of any node."""
        return self._eval[type(node)](node)

    # -- scopes -----------------------------------------------------------------------------

    def _find(self, name: str) -> dict[str, Any] | None:
        for scope in reversed(self.frames[-1]):
            if name in scope:
                return self.host.globals if scope[name] is GLOBAL else scope
        return None

    def _variable(self, node: nodes.Variable) -> Value:
        scope = self._find(node.name)
        return NOTHING if scope is None else cast(Value, scope.get(node.name, NOTHING))

    def assign(self, name: str, value: Value) -> None:
        """``:set``: the innermost variable of that name."""
        scope = self._find(name)
        if scope is None:
            raise RuntimeFault(f"variable {name} is not declared")
        scope[name] = value

    def block(self, node: nodes.Block, names: dict[str, Value] | None = None) -> Value:
        """Run statements in a scope of their own."""
        self.frames[-1].append(dict(names or {}))
        try:
            return self._statements(node)
        finally:
            self.frames[-1].pop()

    def _statements(self, node: nodes.Block) -> Value:
        result: Value = NOTHING
        for statement in node.statements:
            result = self._eval[type(statement)](statement)
        return result

    def invoke(self, block: nodes.Block, names: dict[str, Value]) -> Value:
        """Call a function: a frame of its own, no view of the caller's variables."""
        if len(self.frames) > MAX_DEPTH:
            raise RuntimeFault("maximum recursion depth reached")
        self.frames.append([names])
        try:
            return self._statements(block)
        except ReturnValue as done:
            return cast(Value, done.value)
        finally:
            self.frames.pop()

    # -- expressions ------------------------------------------------------------------------

    def _literal(self, node: nodes.Literal) -> Value:
        return node.value

    def _property(self, node: nodes.Property) -> Value:
        return self.item.get(node.name, NOTHING)

    def _interpolated(self, node: nodes.Interpolated) -> Value:
        return "".join([to_str(self.value(part)) for part in node.parts])

    def _element(self, node: nodes.Element) -> Value:
        return operators.element(self.value(node.base), self.value(node.key))

    def _unary(self, node: nodes.Unary) -> Value:
        return operators.unary(node.operator, self.value(node.operand))

    def _binary(self, node: nodes.Binary) -> Value:
        left = self._eval[type(node.left)](node.left)
        right = self._eval[type(node.right)](node.right)
        try:
            return operators.binary(node.operator, left, right)
        except RuntimeFault as fault:
            fault.line = fault.line or node.line
            raise

    def _array(self, node: nodes.ArrayLiteral) -> Value:
        array = Array()
        for key, item in node.items:
            value = self.value(item)
            if key is None:
                array.items.append(value)
            else:
                array.keyed[to_str(self.value(key))] = value
        return array

    def _substitution(self, node: nodes.Substitution) -> Value:
        if not node.block.statements:
            return Nil()
        try:
            return self._statements(node.block)
        except ReturnValue as done:
            return cast(Value, done.value)

    def _call(self, node: nodes.Call) -> Value:
        target = self.value(node.target)
        if not isinstance(target, (Function, Code)):
            return target
        names: dict[str, Value] = {}
        if isinstance(node.target, nodes.Variable):
            names["0"] = "$" + node.target.name
        for number, argument in enumerate(node.positional, 1):
            names[str(number)] = self.value(argument)
        for name, argument in node.named.items():
            names[name] = self.value(argument)
        return self.invoke(target.block, names)

    def _command(self, node: nodes.Command) -> Value:
        args = {name: self.value(argument) for name, argument in node.named.items()}
        where: Callable[[Mapping[str, Value]], bool] | None = None
        if node.where is not None:
            condition = node.where

            def where(item: Mapping[str, Value]) -> bool:
                before, self.item = self.item, item
                try:
                    return operators.truth(self.value(condition))
                except RuntimeFault:
                    return False
                finally:
                    self.item = before

        call = CommandCall(node.path, node.spec, args, node.flags, node.unset, where, node.line)
        try:
            return self.host.command(call)
        except RuntimeFault as fault:
            fault.line = fault.line or node.line
            raise

    # -- :commands --------------------------------------------------------------------------

    def _builtin(self, node: nodes.Builtin) -> Value:
        handler = _CONTROL.get(node.name)
        if handler is not None:
            return handler(self, node)
        args = {name: self.value(argument) for name, argument in node.args.items()}
        try:
            pure = PURE.get(node.name)
            if pure is not None:
                return pure(args)
            if node.name not in _MACHINE:
                raise RuntimeFault(f":{node.name} is not modelled")
            return _MACHINE[node.name](self, args)
        except RuntimeFault as fault:
            fault.line = fault.line or node.line
            raise

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

    def _declare(self, node: nodes.Builtin) -> Value:
        name = str(cast(nodes.Literal, node.args["name"]).value)
        value = self._given(node)
        if node.name == "local":
            self.frames[-1][-1][name] = NOTHING if value is None else value
        else:
            self.frames[-1][-1][name] = GLOBAL
            if value is not None:
                self.host.globals[name] = value
        return NOTHING

    def _given(self, node: nodes.Builtin) -> Value | None:
        if "do" in node.args:
            return Function(node.args["do"])
        return self.value(node.args["value"]) if "value" in node.args else None

    def _set(self, node: nodes.Builtin) -> Value:
        value = self._given(node)
        target = node.args["name"]
        if isinstance(target, nodes.Element):
            base = self.value(target.base)
            if isinstance(base, (Nothing, Nil)) and isinstance(target.base, nodes.Variable):
                base = Array()
                self.assign(target.base.name, base)
            if not isinstance(base, Array):
                raise RuntimeFault("not an array", node.line)
            base.put(self.value(target.key), NOTHING if value is None else value)
        else:
            name = str(cast(nodes.Literal, target).value)
            self.assign(name, NOTHING if value is None else value)
        return NOTHING

    def _code(self, node: nodes.Node, names: dict[str, Value] | None = None) -> Value:
        if isinstance(node, nodes.Block):
            return self.block(node, names)
        value = self.value(node)
        if isinstance(value, (Function, Code)):
            return self.invoke(value.block, {})
        return value

    def _if(self, node: nodes.Builtin) -> Value:
        try:
            condition = operators.truth(self.value(node.args["condition"]))
        except RuntimeFault as fault:
            fault.line = fault.line or node.line
            raise
        branch = node.args.get("do" if condition else "else")
        return NOTHING if branch is None else self._code(branch)

    def _loop(self, node: nodes.Builtin, names: dict[str, Value]) -> bool:
        try:
            self._code(node.args["do"], names)
        except LoopContinue:
            pass
        except LoopBreak:
            return False
        return True

    def _for(self, node: nodes.Builtin) -> Value:
        name = str(cast(nodes.Literal, node.args["counter"]).value)
        low, high = (to_num(self.value(node.args[key])) for key in ("from", "to"))
        step = to_num(self.value(node.args["step"])) if "step" in node.args else None
        if isinstance(low, Nil) or isinstance(high, Nil) or isinstance(step, Nil) or step == 0:
            raise RuntimeFault("invalid range of :for", node.line)
        # without a step the router counts down when from > to (flow-ref 2.4: 10 to 5 = 6 turns)
        step = step if step is not None else (1 if low <= high else -1)
        number = low
        while (number <= high) if step > 0 else (number >= high):
            if not self._loop(node, {name: number}):
                break
            number += step
        return NOTHING

    def _foreach(self, node: nodes.Builtin) -> Value:
        names = str(cast(nodes.Literal, node.args["counter"]).value).split(",")
        values = self.value(node.args["in"])
        if isinstance(values, (Nothing, Nil)):
            return NOTHING
        array = values if isinstance(values, Array) else Array([values])
        for key, item in list(array.pairs()):
            scope = {names[0]: key, names[1]: item} if len(names) == 2 else {names[0]: item}
            if not self._loop(node, scope):
                break
        return NOTHING

    def _while(self, node: nodes.Builtin) -> Value:
        while operators.truth(self.value(node.args["condition"])):
            if not self._loop(node, {}):
                break
        return NOTHING

    def _do(self, node: nodes.Builtin) -> Value:
        result: Value = NOTHING
        try:
            while True:
                result = self._code(node.args["command"])
                if "while" not in node.args or not operators.truth(self.value(node.args["while"])):
                    return result
        except LoopBreak:
            return result
        except RuntimeFault:
            if "on-error" not in node.args:
                raise
            return self._code(node.args["on-error"])

    def _onerror(self, node: nodes.Builtin) -> Value:
        names = str(cast(nodes.Literal, node.args["error"]).value).split(",")
        try:
            self._code(node.args["in"])
        except RuntimeFault as fault:
            scope: dict[str, Value] = {names[0]: self.caught(fault)}
            if len(names) > 1:
                scope[names[1]] = Array([], dict(fault.attributes))
            self._code(node.args["do"], scope)
            return True
        return False

    def _retry(self, node: nodes.Builtin) -> Value:
        tries = to_num(self.value(node.args["max"]))
        pause = self.value(node.args["delay"]) if "delay" in node.args else 0
        last: RuntimeFault | None = None
        for number in range(0 if isinstance(tries, Nil) else tries):
            if number:
                self.host.delay(_nanoseconds(pause))
            try:
                return self._code(node.args["command"])
            except RuntimeFault as fault:
                last = fault
        if "on-error" in node.args:
            return self._code(node.args["on-error"])
        if last is not None:
            raise last
        return NOTHING

    def _error(self, node: nodes.Builtin) -> Value:
        raise RuntimeFault(to_str(self.value(node.args["message"])), node.line)

    def _return(self, node: nodes.Builtin) -> Value:
        raise ReturnValue(self.value(node.args["value"]))

    def _execute(self, node: nodes.Builtin) -> Value:
        script = node.args["script"]
        if isinstance(script, nodes.Block):
            raise RuntimeFault("a block for :execute is not modelled", node.line)
        return self.host.execute(to_str(self.value(script)), "as-string" in node.args)

    def _time(self, node: nodes.Builtin) -> Value:
        start = self.host.now()
        self._code(node.args["command"])
        return Duration(self.host.now() - start)

    def _put(self, args: Mapping[str, Value]) -> Value:
        self.host.output(to_str(args["message"]))
        return NOTHING

    def _delay(self, args: Mapping[str, Value]) -> Value:
        self.host.delay(_nanoseconds(args.get("delay-time", 1)))
        return NOTHING


def _nanoseconds(value: Value) -> int:
    if isinstance(value, Duration):
        return value.ns
    number = to_num(value)
    if isinstance(number, Nil):
        raise RuntimeFault("invalid time value")
    return number * NS


def _raise(kind: type[Exception]) -> Callable[[Interpreter, nodes.Builtin], Value]:
    def signal(_: Interpreter, __: nodes.Builtin) -> Value:
        raise kind

    return signal


_CONTROL: dict[str, Callable[[Interpreter, nodes.Builtin], Value]] = {
    "local": Interpreter._declare,
    "global": Interpreter._declare,
    "set": Interpreter._set,
    "if": Interpreter._if,
    "for": Interpreter._for,
    "foreach": Interpreter._foreach,
    "while": Interpreter._while,
    "do": Interpreter._do,
    "onerror": Interpreter._onerror,
    "retry": Interpreter._retry,
    "error": Interpreter._error,
    "return": Interpreter._return,
    "execute": Interpreter._execute,
    "time": Interpreter._time,
    "quit": _raise(ScriptExit),
    "exit": _raise(ScriptExit),
    "break": _raise(LoopBreak),
    "continue": _raise(LoopContinue),
}

_MACHINE: dict[str, Callable[[Interpreter, Mapping[str, Value]], Value]] = {
    "put": Interpreter._put,
    "delay": Interpreter._delay,
    "parse": lambda job, args: job.parse_code(to_str(args["value"])),
    "jobname": lambda job, args: job.job,
    "nothing": lambda job, args: NOTHING,
    "beep": lambda job, args: NOTHING,
    "timestamp": lambda job, args: Duration(job.host.now()),
    "resolve": lambda job, args: job.host.resolve(
        to_str(args["domain-name"]), to_str(args.get("type", "ipv4"))
    ),
    "rndnum": lambda job, args: job.host.random(int(to_str(args["from"])), int(to_str(args["to"]))),
    "rndstr": lambda job, args: "".join(
        "abcdefghijklmnop"[job.host.random(0, 15)]
        for _ in range(int(to_str(args.get("length", 16))))
    ),
}
