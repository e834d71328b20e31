"""Statements: paths, commands, ``:commands`` and calls, checked against the schema.

What is refused here kills a whole script on a router, so it must be refused in tests too.
"""

from __future__ import annotations

from functools import lru_cache

from tests.routeros.lang import nodes
from tests.routeros.lang.catalogue import BUILTINS, BuiltinSpec
from tests.routeros.lang.errors import ParseError
from tests.routeros.lang.expression import ExpressionParser
from tests.routeros.lang.scanner import ARGUMENT, NAME
from tests.routeros.lang.schema import CommandSpec, Schema, UnknownWord, pick_word

COMMAND_END = frozenset(";\n]})")


@lru_cache(maxsize=2048)
def parse(source: str, schema: Schema) -> nodes.Script:
    """Parse a script for one router version.

    source: the script's text. schema: what that version knows.
    Raises ParseError for anything a router would refuse to run.
    """
    parser = Parser(source, schema)
    block = parser.statements("")
    return nodes.Script(block, source, tuple(parser.warnings))


class Parser(ExpressionParser):
    """Recursive descent over one script; ``path`` is the current menu."""

    def __init__(self, source: str, schema: Schema) -> None:
        super().__init__(source)
        self.schema = schema
        self.path: tuple[str, ...] = ()
        self.warnings: list[tuple[int, str]] = []
        self.scopes: list[set[str]] = [set()]
        self.functions: list[int] = []

    # -- names ------------------------------------------------------------------------------

    def warn(self, text: str) -> None:
        self.warnings.append((self.line, text))

    def declared(self, name: str) -> bool:
        """True if the name was declared in this function, or script, so far."""
        floor = self.functions[-1] if self.functions else 0
        return any(name in scope for scope in self.scopes[floor:])

    def used(self, name: str, line: int) -> None:
        if not name.isdigit() and not self.declared(name):
            self.warnings.append((line, f"${name} was never declared here"))

    def declare(self, text: str) -> None:
        """Declare one name, or several as in ``:foreach k,v``."""
        for name in text.split(","):
            self.scopes[-1].add(name)

    # -- statements -------------------------------------------------------------------------

    def statements(self, closing: str) -> nodes.Block:
        """Statements up to the closing bracket, which is stepped over."""
        line = self.line
        found: list[nodes.Node] = []
        while True:
            self.separators()
            if not self.peek():
                if closing:
                    raise self.error(f"missing {closing!r}")
                break
            if closing and self.take(closing):
                break
            statement = self.statement()
            if statement is not None:
                found.append(statement)
            self.blanks()
            if (
                self.peek()
                and self.peek() not in ";\n"
                and not (closing and self.peek() == closing)
            ):
                raise self.error(f"expected end of command, found {self.peek()!r}")
        return nodes.Block(tuple(found), line)

    def block(self, function: bool = False, names: tuple[str, ...] = ()) -> nodes.Block:
        """``{…}`` as code, with a scope; a function sees no scope around it."""
        path = self.path
        self.expect("{", "before a block")
        self.scopes.append(set(names))
        if function:
            self.functions.append(len(self.scopes) - 1)
        try:
            return self.statements("}")
        finally:
            if function:
                self.functions.pop()
            self.scopes.pop()
            self.path = path

    def substitution(self) -> nodes.Node:
        line = self.line
        path = self.path
        self.expect("[", "before a command")
        self.blanks()
        if self.take("]"):
            return nodes.Substitution(nodes.Block((), line), line)
        block = self.statements("]")
        self.path = path
        return nodes.Substitution(block, line)

    def statement(self) -> nodes.Node | None:
        """One command; None for a bare path, which only moves to that menu."""
        char = self.peek()
        line = self.line
        if char == "{":
            return self.block()
        if char == "$":
            return self.call(self.variable())
        if char in ('"', "("):
            return self.parenthesised() if char == "(" else self.string()
        if char == "[":
            return self.call(self.substitution())
        if char == ":":
            self.at += 1
            return self.colon()
        if char == "/":
            self.at += 1
            self.path = ()
            self.blanks()
            if not self.peek() or self.peek() in COMMAND_END:
                return None
        while self.take(".."):
            self.path = self.path[:-1]
            self.take("/")
            self.blanks()
            if not self.peek() or self.peek() in COMMAND_END:
                return None
        return self.menu_command(line)

    def colon(self) -> nodes.Node | None:
        """After a colon: a ``:command``, or a menu or command of the root."""
        line = self.line
        mark = self.at
        word = self.name(ARGUMENT)
        if not word:
            raise self.error("expected a command after :")
        if word in self.schema.builtins:
            return self.builtin(word, line)
        self.at = mark
        path, self.path = self.path, ()
        try:
            if self.schema.is_submenu((), word) is None:
                try:
                    self.schema.command((), word)
                except UnknownWord:
                    return self.abbreviated(line)
            return self.menu_command(line)
        finally:
            self.path = path

    def abbreviated(self, line: int) -> nodes.Node:
        word = self.name(ARGUMENT)
        try:
            return self.builtin(pick_word(word, self.schema.builtins, "command"), line)
        except UnknownWord as problem:
            raise ParseError(str(problem), line) from None

    def menu_command(self, line: int) -> nodes.Node | None:
        """Words that lead through menus to a command; the cursor is on the first."""
        path = self.path
        while True:
            word = self.name(ARGUMENT)
            if not word:
                raise self.error(f"expected a command name, found {self.peek()!r}")
            submenu = self.schema.is_submenu(path, word)
            if submenu is None:
                return self.found_command(path, word, line)
            path = (*path, submenu)
            slash = self.take("/")
            self.blanks()
            if slash and (not self.peek() or self.peek() not in ARGUMENT):
                raise self.error("expected a command name after /")
            if self.peek() == "{":
                before, self.path = self.path, path
                block = self.block()
                self.path = before
                return block
            if not self.peek() or self.peek() in COMMAND_END:
                self.path = path
                return None

    def found_command(self, path: tuple[str, ...], word: str, line: int) -> nodes.Node:
        try:
            spec = self.schema.command(path, word)
        except UnknownWord as problem:
            if word in self.schema.builtins:
                return self.builtin(word, line)
            raise ParseError(f"{problem} in /{'/'.join(path)}", line) from None
        before, self.path = self.path, path
        try:
            return self.command(path, spec, line)
        finally:
            self.path = before

    def command(self, path: tuple[str, ...], spec: CommandSpec, line: int) -> nodes.Node:
        """The arguments of a menu command."""
        named: dict[str, nodes.Node] = {}
        flags: set[str] = set()
        unset: set[str] = set()
        where: nodes.Node | None = None
        waiting = list(spec.positional)
        while True:
            self.blanks()
            char = self.peek()
            if not char or char in COMMAND_END:
                break
            if char == "!" and self.peek(1) in ARGUMENT and self.peek(1):
                self.at += 1
                unset.add(self.full_name(self.name(ARGUMENT), spec, line))
                continue
            mark = self.at
            if spec.where and self.where_starts(spec):
                where = self.where(spec.properties)
                break
            name = self.argument_name()
            if name is not None:
                full = self.full_name(name, spec, line)
                self.blanks()
                empty = not self.peek() or self.peek() in COMMAND_END or self.at_blank(mark)
                named[full] = nodes.Literal("", line) if empty else self.value()
                continue
            word = self.name(ARGUMENT)
            ends = not self.peek() or self.peek() in " \t\r\n;]})\\"
            if word and ends and word in spec.flags:
                flags.add(word)
                continue
            self.at = mark
            if not waiting:
                raise self.error(f"unexpected value in /{'/'.join(path)} {spec.name}")
            named[waiting.pop(0)] = self.value()
        return nodes.Command(path, spec, named, frozenset(flags), frozenset(unset), where, line)

    def at_blank(self, mark: int) -> bool:
        """True if blanks stand between ``name=`` and the cursor: the value was empty."""
        return self.at > mark and self.source[self.at - 1] in " \t"

    def full_name(self, name: str, spec: CommandSpec, line: int) -> str:
        if name in spec.args:
            return name
        try:
            return pick_word(name, spec.args | set(spec.positional), "parameter")
        except UnknownWord as problem:
            raise ParseError(f"{problem} of {spec.name}", line) from None

    def where_starts(self, spec: CommandSpec) -> bool:
        """True at ``where``, or at a condition in a command such as find."""
        mark = self.at
        word = self.name(ARGUMENT)
        if word == "where":
            self.blanks()
            return True
        self.at = mark
        if spec.name != "find":
            return False
        if not word and self.peek() not in ("(", "!"):
            raise self.error("find takes a condition")
        return True

    def where(self, properties: frozenset[str]) -> nodes.Node:
        """Conditions side by side: all must hold."""
        line = self.line
        node: nodes.Node | None = None
        while True:
            self.blanks()
            if not self.peek() or self.peek() in COMMAND_END:
                return node if node is not None else nodes.Literal(True, line)
            part = self.expression(0, properties)
            node = part if node is None else nodes.Binary("&&", node, part, line)

    # -- :commands and calls ----------------------------------------------------------------

    def builtin(self, word: str, line: int) -> nodes.Node:
        """The arguments of a ``:command``."""
        spec = BUILTINS[word]
        args: dict[str, nodes.Node] = {}
        waiting = list(spec.positional)
        names: list[str] = []
        while True:
            self.blanks()
            char = self.peek()
            if not char or char in COMMAND_END:
                break
            mark = self.at
            key = self.argument_name()
            if key is not None and key not in spec.named:
                try:
                    key = pick_word(key, spec.named, "parameter")
                except UnknownWord:
                    if not waiting:
                        raise ParseError(f"bad parameter name {key} of :{word}", line) from None
                    self.at = mark
                    key = None
            if key is None:
                flag = self.flag(spec)
                if flag is not None:
                    args[flag] = nodes.Literal(True, line)
                    continue
                waiting = [name for name in waiting if name not in args]
                if not waiting:
                    raise self.error(f"unexpected value in :{word}")
                key = waiting.pop(0)
            if key in spec.names:
                node = self.target(word)
                if isinstance(node, nodes.Literal):
                    names.append(str(node.value))
                    if word in ("local", "global"):
                        self.declare(str(node.value))
                args[key] = node
            elif key in spec.blocks and self.peek() == "{":
                function = word in ("local", "global", "set")
                args[key] = self.block(
                    function,
                    () if function else tuple(part for name in names for part in name.split(",")),
                )
            elif self.peek() and (self.peek() in COMMAND_END or self.at_blank(mark)):
                args[key] = nodes.Literal("", line)
            else:
                args[key] = self.value()
        for name in spec.required:
            if name not in args:
                raise ParseError(f"missing value(s) of argument(s) {name} of :{word}", line)
        return nodes.Builtin(word, args, line)

    def flag(self, spec: BuiltinSpec) -> str | None:
        mark = self.at
        word = self.name(ARGUMENT)
        if word in spec.flags:
            return word
        self.at = mark
        return None

    def target(self, word: str) -> nodes.Node:
        """The variable that :local, :set and their like name; ``($a->"k")`` for :set."""
        line = self.line
        char = self.peek()
        if char == "(" and word == "set":
            node = self.parenthesised()
            if not isinstance(node, nodes.Element):
                raise self.error("expected ($array->key) to set")
            return node
        if char == '"':
            quoted = self.string()
            if not isinstance(quoted, nodes.Literal):
                raise self.error("a variable name cannot hold variables")
            name = str(quoted.value)
        else:
            self.take("$")
            name = self.name(frozenset(","))
            if not name or name[0].isdigit() or (self.peek() and self.peek() not in " \t\r\n;]}\\"):
                raise self.error(f"bad variable name {name}{self.peek()}")
        if word == "set" and not self.declared(name):
            raise ParseError(f"syntax error: :set of {name}, which was never declared", line)
        return nodes.Literal(name, line)

    def call(self, target: nodes.Node) -> nodes.Node:
        """Arguments after ``$function`` or ``[…]`` at the start of a command."""
        line = self.line
        if self.peek() and self.peek() not in " \t\r\n;]}\\":
            raise self.error(f"expected end of command, found {self.peek()!r}")
        positional: list[nodes.Node] = []
        named: dict[str, nodes.Node] = {}
        while True:
            self.blanks()
            if not self.peek() or self.peek() in COMMAND_END:
                return nodes.Call(target, tuple(positional), named, line)
            if self.peek() in NAME and (name := self.argument_name()) is not None:
                named[name] = self.value()
            else:
                positional.append(self.value())
