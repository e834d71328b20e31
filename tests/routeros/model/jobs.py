"""Scripts, the scheduler and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NIL, NOTHING, Duration, Id, Value, literal, to_str
from tests.routeros.model.clock import NS, Clock
from tests.routeros.model.facts import Behaviour
from tests.routeros.model.tables import Item, Table

LOG_LIMIT = 179  # facts 1.3: container log lines are cut there; scripts should stay below


class Log(Table):
    """The ``/log`` menu."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def write(self, level: str, message: str) -> None:
        """Add a line."""
        self.add(
            {"topics": f"script,{level}", "message": message, "time": Duration(self.clock.time())}
        )

    def run(self, call: CommandCall) -> Value:
        if call.spec.name in ("info", "warning", "error", "debug"):
            self.write(call.spec.name, to_str(call.args["message"]))
            return NOTHING
        return super().run(call)

    def lines(self, level: str = "") -> list[str]:
        """The messages so far, of one level or all."""
        return [
            to_str(item["message"])
            for item in self.items.values()
            if to_str(item["topics"]).endswith(level)
        ]


class Scripts(Table):
    """The ``/system/script`` menu; ``start`` runs a source under a job name."""

    def __init__(self, start: Callable[[str, str], Value]) -> None:
        super().__init__(unique=("name",), defaults={"source": "", "policy": "read,write"})
        self.start = start

    def do_run(self, call: CommandCall) -> Value:
        item = self.items[self.one(call.args["number"])]
        return self.start(to_str(item["source"]), to_str(item["name"]))


class Scheduler(Table):
    """The ``/system/scheduler`` menu: arms the clock whenever an entry changes."""

    def __init__(self, clock: Clock, behaviour: Behaviour, fire: Callable[[str], None]) -> None:
        super().__init__(unique=("name",), defaults={"interval": Duration(0), "disabled": False})
        self.clock = clock
        self.behaviour = behaviour
        self.fire = fire
        self.allowed: Callable[[], bool] = lambda: True
        self._armed: dict[str, int] = {}

    def add(self, values: Mapping[str, Value]) -> Id:
        key = super().add(values)
        self.arm(key)
        return key

    def change(self, key: str, values: Mapping[str, Value], unset: object = ()) -> None:
        super().change(key, values)
        self.arm(key)

    def arm(self, key: str, boot: bool = False) -> None:
        """Plan the next run of an entry."""
        item = self.items[key]
        self._armed[key] = self._armed.get(key, 0) + 1
        interval = self._interval(item)
        start = to_str(item.get("start-time", ""))
        if start == "startup":
            if boot and (interval == 0 or not self.behaviour.startup_with_interval):
                self._plan(key, 1.0)
            if interval:
                self._plan(key, interval / NS)
            return
        if not start and self.behaviour.default_start_ignored:
            return
        clock_start = literal(start) if start else Duration(self.clock.time())
        first = clock_start.ns if isinstance(clock_start, Duration) else 0
        wait = (first - self.clock.time()) % (interval or 86400 * NS)
        self._plan(key, (wait or interval) / NS)

    def _interval(self, item: Item) -> int:
        interval = item.get("interval", NIL)
        if isinstance(interval, str):
            interval = literal(interval)
        return interval.ns if isinstance(interval, Duration) else 0

    def _plan(self, key: str, seconds: float) -> None:
        armed = self._armed[key]

        def due() -> None:
            item = self.items.get(key)
            if item is None or self._armed[key] != armed:
                return
            interval = self._interval(item)
            if interval:
                self.clock.after(interval / NS, due)
            if item.get("disabled") is not True and self.allowed():
                self.fire(to_str(item["on-event"]))

        self.clock.after(seconds, due)

    def boot(self) -> None:
        """Arm every entry again."""
        for key in self.items:
            self.arm(key, boot=True)
