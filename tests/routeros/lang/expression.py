"""Values and expressions: what stands in parentheses, after ``name=`` and in ``where``.

Precedence is not documented; this one agrees with the :parse output published in the
test-data of tikoci/lsp-routeros-ts for the constructs its scripts use (``->`` binds tightest,
comparisons above ``&&`` above ``||``). Our own scripts put parentheses everywhere else.
"""

from __future__ import annotations

from tests.routeros.lang import nodes
from tests.routeros.lang.scanner import ARGUMENT, NAME, Scanner
from tests.routeros.lang.values import literal

LEVELS: tuple[tuple[str, ...], ...] = (
    ("||", "or"),
    ("&&", "and"),
    ("!=", "<=", ">=", "=", "<", ">", "~", "in"),
    (",",),
    (".",),
    ("|", "^", "&"),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
COMPARISON = 2
LITERAL_CHARS = NAME | frozenset(".:_")


class ExpressionParser(Scanner):
    """Parses values; substitutions and blocks come from the subclass."""

    def substitution(self) -> nodes.Node:
        """``[…]``, cursor on the bracket."""
        raise NotImplementedError

    def used(self, name: str, line: int) -> None:
        """Told of every variable that is read."""
        raise NotImplementedError

    def warn(self, text: str) -> None:
        """Told of what a router accepts in silence."""
        raise NotImplementedError

    def value(self, properties: frozenset[str] | None = None) -> nodes.Node:
        """One argument value. Raises ParseError if something is glued to its end."""
        char = self.peek()
        line = self.line
        node: nodes.Node
        if char == '"':
            node = self.string()
        elif char == "$":
            node = self.variable(properties)
        elif char == "(":
            node = self.parenthesised(properties)
        elif char == "[":
            node = self.substitution()
        elif char == "{":
            node = self.array()
        else:
            return nodes.Literal(literal(self.bare_word()), line)
        after = self.peek()
        if after and after not in " \t\r\n;]})\\":
            raise self.error(f"expected end of command, found {after!r} after a value")
        return node

    def variable(self, properties: frozenset[str] | None = None) -> nodes.Node:
        """``$name`` or ``$"name"``; in ``where`` a property of that name wins."""
        line = self.line
        self.expect("$", "before a variable")
        if self.peek() == '"':
            quoted = self.string()
            if not isinstance(quoted, nodes.Literal) or not isinstance(quoted.value, str):
                raise self.error("a variable name cannot hold variables")
            name = quoted.value
        else:
            name = self.name()
        if not name:
            raise self.error("expected a variable name after $")
        if properties and name in properties:
            self.warn(f"${name} in where means the property, not the variable")
            return nodes.Property(name, line)
        self.used(name, line)
        return nodes.Variable(name, line)

    def string(self) -> nodes.Node:
        """A quoted string with its substitutions."""
        line = self.line
        self.expect('"', "at the start of a string")
        parts: list[nodes.Node] = []
        text: list[str] = []

        def flush() -> None:
            if text:
                parts.append(nodes.Literal("".join(text), line))
                text.clear()

        while True:
            char = self.peek()
            if not char:
                raise self.error("unterminated string")
            if char == '"':
                self.at += 1
                break
            if char == "\\":
                if self.string_continuation():
                    continue
                self.at += 1
                text.append(self.escape())
            elif char == "$" and self.peek(1) == "(":
                flush()
                self.at += 1
                parts.append(self.parenthesised())
            elif char == "$" and self.peek(1) == "[":
                flush()
                self.at += 1
                parts.append(self.substitution())
            elif char == "$" and self.peek(1) in NAME and self.peek(1):
                flush()
                parts.append(self.variable())
            elif char == "$":
                raise self.error("a lone $ in a string must be written \\$")
            else:
                self.at += 1
                text.append(char)
        flush()
        if not parts:
            return nodes.Literal("", line)
        if len(parts) == 1 and isinstance(parts[0], nodes.Literal):
            return parts[0]
        return nodes.Interpolated(tuple(parts), line)

    def parenthesised(self, properties: frozenset[str] | None = None) -> nodes.Node:
        """``(…)``; ``()`` alone is nothing."""
        self.expect("(", "before an expression")
        self.blanks()
        node = self.expression(0, properties)
        self.blanks()
        self.expect(")", "after an expression")
        return node

    def expression(self, level: int, properties: frozenset[str] | None) -> nodes.Node:
        """Left-associative operators from a level of LEVELS down."""
        if level == len(LEVELS):
            return self.unary(properties)
        left = self.expression(level + 1, properties)
        while True:
            mark = self.at
            self.blanks()
            line = self.line
            operator = self.operator(level)
            if operator is None:
                self.at = mark
                return left
            self.blanks()
            if properties is not None and level == COMPARISON and self.at_word():
                right = self.where_word(operator)
            else:
                right = self.expression(level + 1, properties)
            left = nodes.Binary(operator, left, right, line)

    def operator(self, level: int) -> str | None:
        """Step over an operator of the level, if one is next."""
        for text in LEVELS[level]:
            if not self.starts(text):
                continue
            after = self.peek(len(text))
            if text.isalpha():
                if after in NAME and after:
                    continue
            elif text + after in ("<<", ">>", "&&", "||", "->", "<=", ">=") and len(text) == 1:
                continue
            self.at += len(text)
            return {"or": "||", "and": "&&"}.get(text, text)
        return None

    def at_word(self) -> bool:
        """True if an unquoted word is next."""
        char = self.peek()
        return bool(char) and (char in LITERAL_CHARS or char in "*-/")

    def where_word(self, operator: str) -> nodes.Node:
        """The unquoted right side of a comparison in ``where``."""
        line = self.line
        start = self.at
        while self.peek() and self.peek() not in ' \t\r\n;]})"&|':
            self.at += 1
        value = literal(self.source[start : self.at])
        if type(value) is str and operator != "in":
            # facts 3.2: an unquoted non-numeric value in find matched 0 of 15 items
            self.warn(f"unquoted {value!r} in where")
        return nodes.Literal(value, line)

    def unary(self, properties: frozenset[str] | None) -> nodes.Node:
        """``!x``, ``-x``, ``~x`` and everything tighter."""
        line = self.line
        char = self.peek()
        if char == "-" and self.peek(1).isdigit():
            return self.element(properties)
        if char in ("!", "-", "~") and char:
            self.at += 1
            self.blanks()
            return nodes.Unary(char, self.unary(properties), line)
        return self.element(properties)

    def element(self, properties: frozenset[str] | None) -> nodes.Node:
        """An operand with any number of ``->key``."""
        node = self.operand(properties)
        while True:
            mark = self.at
            self.blanks()
            line = self.line
            if not self.take("->"):
                self.at = mark
                return node
            self.blanks()
            node = nodes.Element(node, self.operand(None), line)

    def operand(self, properties: frozenset[str] | None) -> nodes.Node:
        """A value inside an expression."""
        char = self.peek()
        line = self.line
        if char == '"':
            return self.string()
        if char == "$":
            return self.variable(properties)
        if char == "(":
            return self.parenthesised(properties)
        if char == "[":
            return self.substitution()
        if char == "{":
            return self.array()
        if properties is not None:
            name = self.name(ARGUMENT)
            if name in properties:
                return nodes.Property(name, line)
            raise self.error(f"no property {name or char!r} here")
        return nodes.Literal(literal(self.literal_text()), line)

    def literal_text(self) -> str:
        """An unquoted literal inside parentheses: digits, dots, colons, one prefix length."""
        start = self.at
        if self.peek() == "-":
            self.at += 1
        if self.peek() == "*":
            self.at += 1
        while self.peek() and self.peek() in LITERAL_CHARS:
            self.at += 1
        text = self.source[start : self.at]
        if ("." in text or ":" in text) and self.peek() == "/" and self.peek(1).isdigit():
            self.at += 1
            self.name()
            text = self.source[start : self.at]
        elif text.endswith("."):
            self.at -= 1
            text = text[:-1]
        if not text or text == "-":
            raise self.error(f"expected a value, found {self.peek() or 'end of script'!r}")
        return text

    def array(self) -> nodes.Node:
        """``{1;2;"k"=v}``; line ends count as blanks inside."""
        line = self.line
        self.expect("{", "before an array")
        items: list[tuple[nodes.Node | None, nodes.Node]] = []
        while True:
            self.blanks(newlines=True)
            if self.take("}"):
                return nodes.ArrayLiteral(tuple(items), line)
            if self.take(";"):
                continue
            items.append(self.array_item())
            self.blanks(newlines=True)
            if self.peek() not in (";", "}"):
                raise self.error("expected ; or } in an array")

    def array_item(self) -> tuple[nodes.Node | None, nodes.Node]:
        """``value``, ``key=value`` or ``"key"=value``."""
        line = self.line
        if self.peek() == '"':
            first = self.string()
            if self.take("="):
                return first, self.array_value()
            return None, first
        name = self.argument_name()
        if name is not None:
            return nodes.Literal(name, line), self.array_value()
        return None, self.array_value()

    def array_value(self) -> nodes.Node:
        """An element's value; a nested ``{`` is an array."""
        if self.peek() in ('"', "$", "(", "[", "{"):
            return self.element(None)
        return nodes.Literal(literal(self.bare_word()), self.line)
