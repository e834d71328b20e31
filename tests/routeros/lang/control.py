"""The ``:commands`` that declare, decide, repeat and catch, and those that need the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from tests.routeros.lang import nodes, operators
from tests.routeros.lang.compiler import GLOBAL, Run, body, compiled
from tests.routeros.lang.errors import (
    LoopBreak,
    LoopContinue,
    ReturnValue,
    RuntimeFault,
    ScriptExit,
)
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

if TYPE_CHECKING:
    from tests.routeros.lang.evaluator import Interpreter

Scope = dict[str, Value]


def _name(node: nodes.Builtin, key: str) -> str:
    return str(cast(nodes.Literal, node.args[key]).value)


def _given(node: nodes.Builtin) -> Run | None:
    """What a variable gets: a function, a value, or nothing at all."""
    if "do" in node.args:
        function = Function(node.args["do"])
        return lambda job: function
    return compiled(node.args["value"]) if "value" in node.args else None


def _local(node: nodes.Builtin) -> Run:
    name, value = _name(node, "name"), _given(node)

    def run(job: Interpreter) -> Value:
        # first the value: it may declare something itself
        found = NOTHING if value is None else value(job)
        job.frames[-1][-1][name] = found
        return NOTHING

    return run


def _global(node: nodes.Builtin) -> Run:
    name, value = _name(node, "name"), _given(node)

    def run(job: Interpreter) -> Value:
        if value is None:
            job.frames[-1][-1][name] = GLOBAL
        else:
            found = value(job)
            job.frames[-1][-1][name] = GLOBAL
            job.host.globals[name] = found
        return NOTHING

    return run


def _set(node: nodes.Builtin) -> Run:
    value = _given(node) or (lambda job: NOTHING)
    target = node.args["name"]
    if not isinstance(target, nodes.Element):
        name = _name(node, "name")

        def run(job: Interpreter) -> Value:
            job.assign(name, value(job))
            return NOTHING

        return run

    holder, base_of, key = target.base, compiled(target.base), compiled(target.key)

    def run_element(job: Interpreter) -> Value:
        found = value(job)
        base = base_of(job)
        if isinstance(base, (Nothing, Nil)) and isinstance(holder, nodes.Variable):
            base = Array()
            job.assign(holder.name, base)
        if not isinstance(base, Array):
            raise RuntimeFault("not an array", node.line)
        base.put(key(job), found)
        return NOTHING

    return run_element


def _code(node: nodes.Node) -> Run:
    """A block, or something that gives a function to call."""
    inner = compiled(node)
    if isinstance(node, nodes.Block):
        return inner

    def run(job: Interpreter) -> Value:
        value = inner(job)
        return job.invoke(value.block, {}) if isinstance(value, (Function, Code)) else value

    return run


def _scoped(node: nodes.Node) -> Callable[[Interpreter, Scope], Value]:
    """A block that is given names; something else does not see them."""
    if not isinstance(node, nodes.Block):
        code = _code(node)
        return lambda job, names: code(job)
    inner = body(node)

    def run(job: Interpreter, names: Scope) -> Value:
        scopes = job.frames[-1]
        scopes.append(names)
        try:
            return inner(job)
        finally:
            scopes.pop()

    return run


def _if(node: nodes.Builtin) -> Run:
    condition, line = compiled(node.args["condition"]), node.line
    then, other = (_code(node.args[k]) if k in node.args else None for k in ("do", "else"))

    def run(job: Interpreter) -> Value:
        try:
            found = condition(job)
            branch = then if found is True or operators.truth(found) else other
        except RuntimeFault as fault:
            fault.line = fault.line or line
            raise
        return NOTHING if branch is None else branch(job)

    return run


def _turn(node: nodes.Builtin) -> Callable[[Interpreter, Scope], bool]:
    """One turn of a loop; says whether there may be another."""
    code = _scoped(node.args["do"])

    def run(job: Interpreter, names: Scope) -> bool:
        try:
            code(job, names)
        except LoopContinue:
            pass
        except LoopBreak:
            return False
        return True

    return run


def _for(node: nodes.Builtin) -> Run:
    name, turn = _name(node, "counter"), _turn(node)
    first, last = compiled(node.args["from"]), compiled(node.args["to"])
    by = compiled(node.args["step"]) if "step" in node.args else None

    def run(job: Interpreter) -> Value:
        low, high = to_num(first(job)), to_num(last(job))
        step = to_num(by(job)) if by is not None else None
        if isinstance(low, Nil) or isinstance(high, Nil) or isinstance(step, Nil) or step == 0:
            raise RuntimeFault("invalid range of :for", node.line)
        # without a step the router counts down when from > to (flow-ref 2.4: 10 to 5 = 6 turns)
        step = step if step is not None else (1 if low <= high else -1)
        number = low
        while (number <= high) if step > 0 else (number >= high):
            if not turn(job, {name: number}):
                break
            number += step
        return NOTHING

    return run


def _foreach(node: nodes.Builtin) -> Run:
    names, turn = _name(node, "counter").split(","), _turn(node)
    among = compiled(node.args["in"])

    def run(job: Interpreter) -> Value:
        values = among(job)
        if isinstance(values, (Nothing, Nil)):
            return NOTHING
        array = values if isinstance(values, Array) else Array([values])
        for key, item in list(array.pairs()):
            scope = {names[0]: key, names[1]: item} if len(names) == 2 else {names[0]: item}
            if not turn(job, scope):
                break
        return NOTHING

    return run


def _while(node: nodes.Builtin) -> Run:
    condition, turn = compiled(node.args["condition"]), _turn(node)

    def run(job: Interpreter) -> Value:
        while operators.truth(condition(job)):
            if not turn(job, {}):
                break
        return NOTHING

    return run


def _do(node: nodes.Builtin) -> Run:
    code = _code(node.args["command"])
    again = compiled(node.args["while"]) if "while" in node.args else None
    otherwise = _code(node.args["on-error"]) if "on-error" in node.args else None

    def run(job: Interpreter) -> Value:
        result: Value = NOTHING
        try:
            while True:
                result = code(job)
                if again is None or not operators.truth(again(job)):
                    return result
        except LoopBreak:
            return result
        except RuntimeFault:
            if otherwise is None:
                raise
            return otherwise(job)

    return run


def _onerror(node: nodes.Builtin) -> Run:
    names = _name(node, "error").split(",")
    code, handler = _code(node.args["in"]), _scoped(node.args["do"])

    def run(job: Interpreter) -> Value:
        try:
            code(job)
        except RuntimeFault as fault:
            scope: Scope = {names[0]: job.caught(fault)}
            if len(names) > 1:
                scope[names[1]] = Array([], dict(fault.attributes))
            handler(job, scope)
            return True
        return False

    return run


def _retry(node: nodes.Builtin) -> Run:
    most, code = compiled(node.args["max"]), _code(node.args["command"])
    rest = compiled(node.args["delay"]) if "delay" in node.args else None
    otherwise = _code(node.args["on-error"]) if "on-error" in node.args else None

    def run(job: Interpreter) -> Value:
        tries = to_num(most(job))
        pause = 0 if rest is None else rest(job)
        last: RuntimeFault | None = None
        for number in range(0 if isinstance(tries, Nil) else tries):
            if number:
                job.host.delay(_nanoseconds(pause))
            try:
                return code(job)
            except RuntimeFault as fault:
                last = fault
        if otherwise is not None:
            return otherwise(job)
        if last is not None:
            raise last
        return NOTHING

    return run


def _error(node: nodes.Builtin) -> Run:
    message = compiled(node.args["message"])

    def run(job: Interpreter) -> Value:
        raise RuntimeFault(to_str(message(job)), node.line)

    return run


def _return(node: nodes.Builtin) -> Run:
    value = compiled(node.args["value"])

    def run(job: Interpreter) -> Value:
        raise ReturnValue(value(job))

    return run


def _execute(node: nodes.Builtin) -> Run:
    script, wait = node.args["script"], "as-string" in node.args
    source = None if isinstance(script, nodes.Block) else compiled(script)

    def run(job: Interpreter) -> Value:
        if source is None:
            raise RuntimeFault("a block for :execute is not modelled", node.line)
        return job.host.execute(to_str(source(job)), wait)

    return run


def _time(node: nodes.Builtin) -> Run:
    code = _code(node.args["command"])

    def run(job: Interpreter) -> Value:
        start = job.host.now()
        code(job)
        return Duration(job.host.now() - start)

    return run


def _raise(kind: type[Exception]) -> Callable[[nodes.Builtin], Run]:
    def signal(job: Interpreter) -> Value:
        raise kind

    return lambda node: signal


def _nanoseconds(value: Value) -> int:
    if isinstance(value, Duration):
        return value.ns
    number = to_num(value)
    if isinstance(number, Nil):
        raise RuntimeFault("invalid time value")
    return number * NS


CONTROL: dict[str, Callable[[nodes.Builtin], Run]] = {
    "local": _local,
    "global": _global,
    "set": _set,
    "if": _if,
    "for": _for,
    "foreach": _foreach,
    "while": _while,
    "do": _do,
    "onerror": _onerror,
    "retry": _retry,
    "error": _error,
    "return": _return,
    "execute": _execute,
    "time": _time,
    "quit": _raise(ScriptExit),
    "exit": _raise(ScriptExit),
    "break": _raise(LoopBreak),
    "continue": _raise(LoopContinue),
}


def _put(job: Interpreter, args: Mapping[str, Value]) -> Value:
    job.host.output(to_str(args["message"]))
    return NOTHING


def _delay(job: Interpreter, args: Mapping[str, Value]) -> Value:
    job.host.delay(_nanoseconds(args.get("delay-time", 1)))
    return NOTHING


MACHINE: dict[str, Callable[[Interpreter, Mapping[str, Value]], Value]] = {
    "put": _put,
    "delay": _delay,
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
