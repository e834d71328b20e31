"""Scripts, the scheduler and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NIL, NOTHING, Array, Duration, Id, Value, literal, to_str
from tests.routeros.model.clock import NS, Clock
from tests.routeros.model.facts import Behaviour
from tests.routeros.model.tables import Item, Table

LOG_LIMIT = 179  # facts 1.3: container log lines are cut there; scripts should stay below


class Log(Table):
    """The ``/log`` menu."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def write(self, level: str, message: str, topic: str = "script") -> None:
        """Add a line."""
        self.add(
            {"topics": f"{topic},{level}", "message": message, "time": Duration(self.clock.time())}
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


# what a script, a schedule and a user of the group full have unless somebody says less
FULL = "ftp,reboot,read,write,policy,test,password,sniff,sensitive,romon"


def permissions(value: Value) -> frozenset[str]:
    """The words of a ``policy``."""
    words = value.items if isinstance(value, Array) else to_str(value).split(",")
    return frozenset(to_str(word) for word in words)


class Scripts(Table):
    """The ``/system/script`` menu; ``start`` runs a source under a job name with permissions.

    A script with more permissions than its caller is refused, unless it says that it does not
    require them (manual, scripting: check script permissions).
    """

    def __init__(
        self,
        start: Callable[[str, str, frozenset[str]], Value],
        caller: Callable[[], frozenset[str]],
    ) -> None:
        super().__init__(
            unique=("name",),
            defaults={"source": "", "policy": FULL, "dont-require-permissions": False},
        )
        self.start = start
        self.caller = caller

    def launch(self, key: str) -> Value:
        """Run one for the present caller. Raises RuntimeFault if it may not."""
        item = self.items[key]
        wanted = permissions(item["policy"])
        if item["dont-require-permissions"] is not True and not wanted <= self.caller():
            raise RuntimeFault("not enough permissions to run script")
        return self.start(to_str(item["source"]), to_str(item["name"]), wanted)

    def do_run(self, call: CommandCall) -> Value:
        return self.launch(self.one(call.args["number"]))


class Scheduler(Table):
    """The ``/system/scheduler`` menu: arms the clock whenever an entry changes."""

    def __init__(
        self, clock: Clock, behaviour: Behaviour, fire: Callable[[str, frozenset[str]], None]
    ) -> None:
        super().__init__(
            unique=("name",), defaults={"interval": Duration(0), "disabled": False, "policy": FULL}
        )
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
                self.fire(to_str(item["on-event"]), permissions(item["policy"]))

        self.clock.after(seconds, due)

    def boot(self) -> None:
        """Arm every entry again."""
        for key in self.items:
            self.arm(key, boot=True)
