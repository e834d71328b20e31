"""Menus that are lists of items or one record, with the verbs all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NIL, NOTHING, Array, Id, Value, to_str

Item = dict[str, Value]


def settle(value: Value) -> Value:
    """What a menu stores for an argument: yes and no become bools."""
    if isinstance(value, str) and not isinstance(value, Id):
        return {"yes": True, "true": True, "no": False, "false": False}.get(value, value)
    return value


class Table:
    """A list menu. ``unique`` names properties that no two items may share; ``defaults`` are
    the values of what an add leaves out; ``guard`` may refuse an item by raising."""

    def __init__(
        self,
        unique: tuple[str, ...] = (),
        defaults: Mapping[str, Value] | None = None,
        guard: Callable[[Item], None] | None = None,
    ) -> None:
        self.items: dict[str, Item] = {}
        self.unique = unique
        self.defaults = dict(defaults or {})
        self.guard = guard
        self._ids = count(1)

    def view(self, key: str) -> Mapping[str, Value]:
        """The properties of an item as scripts see them."""
        return self.items[key]

    def check(self, item: Item, key: str | None) -> None:
        """Raise RuntimeFault if an item may not be stored."""
        for name in self.unique:
            for other, existing in self.items.items():
                if other != key and name in item and existing.get(name) == item[name]:
                    raise RuntimeFault(f"failure: already have such {name}")
        if self.guard is not None:
            self.guard(item)

    def add(self, values: Mapping[str, Value]) -> Id:
        """Store an item and give its id."""
        item = {**self.defaults, **{name: settle(value) for name, value in values.items()}}
        item.pop("place-before", None)
        self.check(item, None)
        key = Id(f"*{next(self._ids):X}")
        item[".id"] = key
        self.items[key] = item
        return key

    def resolve(self, reference: Value) -> list[str]:
        """Ids for what a script gave: ids, an array of them, or names.

        Raises RuntimeFault "no such item" for what is not there.
        """
        if isinstance(reference, Array):
            return [key for part in reference.items for key in self.resolve(part)]
        text = to_str(reference)
        if not text:
            return []
        if text in self.items:
            return [text]
        named = [
            key for key, item in self.items.items() if to_str(item.get("name", NOTHING)) == text
        ]
        if not named:
            raise RuntimeFault("no such item")
        return named

    def one(self, reference: Value) -> str:
        """Exactly one id. Raises RuntimeFault for none or several."""
        keys = self.resolve(reference)
        if len(keys) != 1:
            raise RuntimeFault("no such item" if not keys else "invalid internal item number")
        return keys[0]

    def matching(self, where: Callable[[Mapping[str, Value]], bool] | None) -> list[str]:
        """Ids of the items that a where clause takes."""
        return [key for key in self.items if where is None or where(self.view(key))]

    def run(self, call: CommandCall) -> Value:
        """A shared verb. Raises RuntimeFault for one that this menu does not model."""
        verb = getattr(self, f"do_{call.spec.name.replace('-', '_')}", None)
        if verb is None:
            raise RuntimeFault(f"{call.spec.name} is not modelled for /{'/'.join(call.path)}")
        result: Value = verb(call)
        return result

    def do_add(self, call: CommandCall) -> Value:
        return self.add(call.args)

    def change(self, key: str, values: Mapping[str, Value], unset: Iterable[str] = ()) -> None:
        """Change one item."""
        item = {**self.items[key], **{name: settle(value) for name, value in values.items()}}
        for name in unset:
            item.pop(name, None)
        self.check(item, key)
        self.items[key] = item

    def do_set(self, call: CommandCall) -> Value:
        values = {name: value for name, value in call.args.items() if name != "numbers"}
        for key in self.resolve(call.args.get("numbers", NIL)):
            self.change(key, values, call.unset)
        return NOTHING

    def do_get(self, call: CommandCall) -> Value:
        view = self.view(self.one(call.args.get("number", NIL)))
        name = call.args.get("value-name")
        if name is not None:
            return view.get(to_str(name), NOTHING)
        return Array([], dict(view))

    def do_find(self, call: CommandCall) -> Value:
        return Array([Id(key) for key in self.matching(call.where)])

    def do_print(self, call: CommandCall) -> Value:
        keys = self.matching(call.where)
        if "count-only" in call.flags:
            return len(keys)
        if "as-value" in call.flags:
            return Array([Array([], dict(self.view(key))) for key in keys])
        return NOTHING

    def discard(self, key: str) -> None:
        """Remove one item."""
        del self.items[key]

    def do_remove(self, call: CommandCall) -> Value:
        for key in self.resolve(call.args.get("numbers", NIL)):
            self.discard(key)
        return NOTHING

    def do_enable(self, call: CommandCall) -> Value:
        return self._disabled(call, False)

    def do_disable(self, call: CommandCall) -> Value:
        return self._disabled(call, True)

    def _disabled(self, call: CommandCall, value: bool) -> Value:
        for key in self.resolve(call.args.get("numbers", NIL)):
            self.change(key, {"disabled": value})
        return NOTHING


class Record:
    """A menu with one record; ``live`` computes the values that move."""

    def __init__(
        self,
        values: Mapping[str, Value] | None = None,
        live: Callable[[], Mapping[str, Value]] | None = None,
    ) -> None:
        self.values: Item = dict(values or {})
        self.live = live or dict

    def all(self) -> Item:
        """Every value as scripts see it."""
        return {**self.values, **self.live()}

    def run(self, call: CommandCall) -> Value:
        """get, set or print."""
        if call.spec.name == "set":
            for name, value in call.args.items():
                self.values[name] = settle(value)
            return NOTHING
        if call.spec.name == "get":
            values = self.all()
            wanted = call.args.get("value-name")
            if wanted is None:
                return Array([], values)
            return values.get(to_str(wanted), NOTHING)
        if call.spec.name == "print":
            return Array([], self.all()) if "as-value" in call.flags else NOTHING
        raise RuntimeFault(f"{call.spec.name} is not modelled for /{'/'.join(call.path)}")
