"""Expressions and commands as Python closures: made once for each node, run many times.

A script that a schedule runs for a model's days would spend its time on asking nodes what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.routeros.lang import nodes, operators
from tests.routeros.lang.errors import ReturnValue, RuntimeFault
from tests.routeros.lang.functions import PURE
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NOTHING, Array, Code, Function, Nil, Value, to_str

if TYPE_CHECKING:
    from tests.routeros.lang.evaluator import Interpreter

Run: TypeAlias = Callable[["Interpreter"], Value]
GLOBAL = object()
"""What a scope has where a name stands for the router's global variable."""


def compiled(node: nodes.Node) -> Run:
    """The closure that gives a node's value."""
    made = vars(node).get("run")
    if made is None:
        made = _MAKERS[type(node)](node)
        # a memo beside the fields of a frozen node
        object.__setattr__(node, "run", made)
    return made


def body(block: nodes.Block) -> Run:
    """The closure that runs a block's statements in the scope that is there."""
    made = vars(block).get("body")
    if made is None:
        made = _sequence([compiled(one) for one in block.statements])
        object.__setattr__(block, "body", made)
    return made


def _sequence(runs: list[Run]) -> Run:
    if not runs:
        return lambda job: NOTHING
    if len(runs) == 1:
        return runs[0]
    *first, last = runs

    def run(job: Interpreter) -> Value:
        for one in first:
            one(job)
        return last(job)

    return run


def declares(node: Any) -> bool:
    """Whether a node declares something in the scope around it: blocks have one of their own."""
    if isinstance(node, nodes.Builtin) and node.name in ("local", "global"):
        return True
    if isinstance(node, nodes.Substitution):
        return any(map(declares, node.block.statements))
    if isinstance(node, nodes.Block) or not is_dataclass(node):
        return isinstance(node, (tuple, dict)) and any(
            map(declares, node.values() if isinstance(node, dict) else node)
        )
    return any(declares(getattr(node, row.name)) for row in fields(node) if row.name != "spec")


def _block(node: nodes.Block) -> Run:
    inner = body(node)
    if not any(map(declares, node.statements)):
        return inner

    def run(job: Interpreter) -> Value:
        scopes = job.frames[-1]
        scopes.append({})
        try:
            return inner(job)
        finally:
            scopes.pop()

    return run


def _literal(node: nodes.Literal) -> Run:
    value = node.value
    return lambda job: value


def _variable(node: nodes.Variable) -> Run:
    name = node.name

    def run(job: Interpreter) -> Value:
        for scope in reversed(job.frames[-1]):
            if name in scope:
                value = scope[name]
                return job.host.globals.get(name, NOTHING) if value is GLOBAL else value
        return NOTHING

    return run


def _property(node: nodes.Property) -> Run:
    name = node.name
    return lambda job: job.item.get(name, NOTHING)


def _interpolated(node: nodes.Interpolated) -> Run:
    parts = [compiled(part) for part in node.parts]
    return lambda job: "".join([to_str(part(job)) for part in parts])


def _element(node: nodes.Element) -> Run:
    base, key = compiled(node.base), compiled(node.key)
    return lambda job: operators.element(base(job), key(job))


def _unary(node: nodes.Unary) -> Run:
    operand, operator = compiled(node.operand), node.operator
    return lambda job: operators.unary(operator, operand(job))


def _binary(node: nodes.Binary) -> Run:
    left, right, line = compiled(node.left), compiled(node.right), node.line
    operator = operators.operator_of(node.operator)

    def run(job: Interpreter) -> Value:
        first, second = left(job), right(job)
        try:
            return operator(first, second)
        except RuntimeFault as fault:
            fault.line = fault.line or line
            raise

    return run


def _array(node: nodes.ArrayLiteral) -> Run:
    items = [(key and compiled(key), compiled(item)) for key, item in node.items]

    def run(job: Interpreter) -> Value:
        array = Array()
        for key, item in items:
            value = item(job)
            if key is None:
                array.items.append(value)
            else:
                array.keyed[to_str(key(job))] = value
        return array

    return run


def _substitution(node: nodes.Substitution) -> Run:
    if not node.block.statements:
        return lambda job: Nil()
    inner = body(node.block)

    def run(job: Interpreter) -> Value:
        try:
            return inner(job)
        except ReturnValue as done:
            return done.value

    return run


def _call(node: nodes.Call) -> Run:
    target = compiled(node.target)
    own = {"0": "$" + node.target.name} if isinstance(node.target, nodes.Variable) else {}
    arguments = [(str(at), compiled(one)) for at, one in enumerate(node.positional, 1)]
    arguments += [(name, compiled(one)) for name, one in node.named.items()]

    def run(job: Interpreter) -> Value:
        function = target(job)
        if not isinstance(function, (Function, Code)):
            return function
        names: dict[str, Value] = dict(own)
        for name, one in arguments:
            names[name] = one(job)
        return job.invoke(function.block, names)

    return run


def _command(node: nodes.Command) -> Run:
    named = [(name, compiled(argument)) for name, argument in node.named.items()]
    condition = None if node.where is None else compiled(node.where)
    path, spec, flags, unset, line = node.path, node.spec, node.flags, node.unset, node.line

    def run(job: Interpreter) -> Value:
        args = {name: argument(job) for name, argument in named}
        where: Callable[[Mapping[str, Value]], bool] | None = None
        if condition is not None:

            def where(item: Mapping[str, Value]) -> bool:
                before, job.item = job.item, item
                try:
                    return operators.truth(condition(job))
                except RuntimeFault:
                    return False
                finally:
                    job.item = before

        try:
            return job.host.command(CommandCall(path, spec, args, flags, unset, where, line))
        except RuntimeFault as fault:
            fault.line = fault.line or line
            raise

    return run


def _builtin(node: nodes.Builtin) -> Run:
    # imported here: control structures are made of what this module makes
    from tests.routeros.lang.control import CONTROL, MACHINE

    if node.name in CONTROL:
        return CONTROL[node.name](node)
    line = node.line
    pure, machine = PURE.get(node.name), MACHINE.get(node.name)
    args = [(name, compiled(argument)) for name, argument in node.args.items()]
    if pure is not None and len(args) == 1:
        ((only, argument),) = args

        def run_one(job: Interpreter) -> Value:
            value = argument(job)
            try:
                return pure({only: value})
            except RuntimeFault as fault:
                fault.line = fault.line or line
                raise

        return run_one

    def run(job: Interpreter) -> Value:
        given = {name: argument(job) for name, argument in args}
        try:
            if pure is not None:
                return pure(given)
            if machine is None:
                raise RuntimeFault(f":{node.name} is not modelled")
            return machine(job, given)
        except RuntimeFault as fault:
            fault.line = fault.line or line
            raise

    return run


_MAKERS: dict[type, Callable[[Any], Run]] = {
    nodes.Literal: _literal,
    nodes.Variable: _variable,
    nodes.Builtin: _builtin,
    nodes.Command: _command,
    nodes.Binary: _binary,
    nodes.Substitution: _substitution,
    nodes.Call: _call,
    nodes.Interpolated: _interpolated,
    nodes.Element: _element,
    nodes.Unary: _unary,
    nodes.Block: _block,
    nodes.ArrayLiteral: _array,
    nodes.Property: _property,
}
