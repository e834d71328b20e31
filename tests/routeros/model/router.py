"""One router: flash that survives, RAM that does not, and every menu our scripts use."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Protocol

from tests.routeros.lang.errors import RscError, RuntimeFault
from tests.routeros.lang.evaluator import Interpreter
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.parser import parse
from tests.routeros.lang.values import (
    NIL,
    NOTHING,
    NS,
    Array,
    Duration,
    Id,
    Value,
    literal,
    to_address,
    to_num,
    to_str,
)
from tests.routeros.model import facts
from tests.routeros.model.clock import Clock
from tests.routeros.model.containers import Containers
from tests.routeros.model.faults import FaultPlan, Hang, PowerCut
from tests.routeros.model.fetch import Direct, Fetch, Transport
from tests.routeros.model.jobs import FULL, Log, Scheduler, Scripts, permissions
from tests.routeros.model.registry import Registry
from tests.routeros.model.storage import MIB, Disks, Storage
from tests.routeros.model.tables import Item, Record, Table

SIMPLE_LISTS = (
    "container/envs",
    "interface/bridge/port",
    "interface/list/member",
    "ip/address",
    "ip/route",
    "ip/dns/static",
    "ip/firewall/filter",
    "ip/firewall/nat",
    "ip/firewall/mangle",
    "ip/firewall/raw",
    "ipv6/address",
    "ipv6/route",
    "ipv6/firewall/filter",
    "ipv6/firewall/nat",
    "routing/rule",
    "routing/table",
    "system/logging",
)


class Mounts(Table):
    """``/container/mounts``: some versions may show paths with a slash before them."""

    slashed = False

    def view(self, key: str) -> Mapping[str, Value]:
        item = self.items[key]
        return {**item, "src": "/" + to_str(item["src"]).strip("/")} if self.slashed else item


class Handler(Protocol):
    """A menu."""

    def run(self, call: CommandCall) -> Value:
        """Run one of its commands."""


class Rebooted(Exception):
    """``/system/reboot``: ends every job."""


class Router:
    """A RouterOS device that runs scripts; implements ``lang.host.Host``."""

    def __init__(
        self,
        version: str = "7.24",
        *,
        registries: list[Registry] | None = None,
        transport: Transport | None = None,
        flash: int = 40 * MIB,
        architecture: str = "arm64",
        ready: bool = True,
        ram: int = 512 * MIB,
    ) -> None:
        self.version = version
        self.called = version  # what it says it is; a test may let it be a later one
        self.behaviour = facts.behaviour(version)
        self.architecture = architecture
        self.package = "installed"
        self.schema = facts.schema(version, self._lacking(architecture))
        self.error_suffix = self.behaviour.error_suffix
        self.registries = registries if registries is not None else [Registry()]
        self.clock = Clock()
        seconds = facts.seconds()
        self.storage = Storage(self.clock, flash, seconds.listing)
        self.log = Log(self.clock)
        self.containers = Containers(
            self.clock, self.storage, self.behaviour, seconds, self.registries, self.log.write
        )
        self.scheduler = Scheduler(self.clock, self.behaviour, self._scheduled)
        self.scripts = Scripts(self._start, lambda: self._allowed)
        self._allowed = permissions(FULL)
        self.jobs = Table()
        self.modes = {"container": ready, "fetch": ready, "scheduler": ready}
        self.pending_modes: dict[str, bool] = {}
        self.globals: dict[str, Value] = {}
        self.printed: list[str] = []
        self.faults: FaultPlan | None = None
        self.watched = ""
        self.ram = ram
        self.random_source = random.Random(7)
        self.writes = 0
        self._job = ""
        self.fetch = Fetch(transport or Direct(self.registries), self.storage, self.behaviour)
        self.menus = self._menus()
        self._wire()

    # -- menus ------------------------------------------------------------------------------

    def _lacking(self, architecture: str) -> frozenset[str]:
        container = set() if self.package == "installed" else {"container"}
        return frozenset({architecture, *container})

    def install_package(self, state: str) -> None:
        """``installed``, ``disabled``, ``missing`` or ``available`` (listed, not there)."""
        self.package = state
        self.schema = facts.schema(self.version, self._lacking(self.architecture))
        packages = self.menu("system/package")
        for key, item in list(packages.items.items()):
            if item["name"] == "container":
                item["disabled"] = state in ("disabled", "available")
                item["available"] = state == "available"
                if state == "missing":
                    del packages.items[key]

    def _menus(self) -> dict[tuple[str, ...], Handler]:
        named = Table(unique=("name",), guard=self._known_interface)
        self.bridges = Table(unique=("name",))
        self.veths = Table(unique=("name",))
        self.interfaces = named
        menus: dict[str, Handler] = {
            path: Table(
                defaults={"disabled": False} if "firewall" in path else {},
                guard=self._known_interface,
            )
            for path in SIMPLE_LISTS
        }
        menus |= {
            "container": self.containers,
            "container/config": Record(
                {
                    "registry-url": "https://registry-1.docker.io",
                    "tmpdir": "",
                    "username": "",
                    "password": "",
                }
            ),
            "container/mounts": Mounts(),
            "disk": Disks(self.storage),
            "file": self.storage,
            "interface": named,
            "interface/veth": self.veths,
            "interface/bridge": self.bridges,
            "interface/list": Table(unique=("name",)),
            "ip/dns": Record(
                {"servers": "192.0.2.53", "allow-remote-requests": True, "dynamic-servers": ""}
            ),
            "ipv6/settings": Record({"disable-ipv6": False, "forward": True}),
            "log": self.log,
            "system/clock": Record({"time-zone-name": "UTC"}, self._clock_values),
            "system/device-mode": Record({"mode": "advanced"}, lambda: dict(self.modes)),
            "system/identity": Record({"name": "router"}),
            "system/resource": Record({}, self._resources),
            "system/routerboard": Record(
                {"model": "model", "routerboard": True, "firmware-type": "ipq6000"}
            ),
            "system/package": Table(unique=("name",)),
            "system/scheduler": self.scheduler,
            "system/script": self.scripts,
            "system/script/job": self.jobs,
        }
        if "x86_64" in self.architecture:
            del menus["system/routerboard"]
        return {tuple(path.split("/")): menu for path, menu in menus.items()}

    def _wire(self) -> None:
        mounts = self.menu("container/mounts")
        if isinstance(mounts, Mounts):
            mounts.slashed = self.behaviour.slashed_paths
        self.containers.allowed = lambda: self.modes["container"]
        self.scheduler.allowed = lambda: self.modes["scheduler"]
        self.containers.resolvable = self._has_dns
        self.containers.guard = self._known_interface
        self.containers.tmpdir = self._tmpdir
        self.containers.state_source = self._state_source
        self.interfaces.add({"name": "ether1", "type": "ether"})
        packages = self.menu("system/package")
        for name in ("routeros", "container"):
            packages.add({"name": name, "version": self.version})
        lists = self.menu("interface/list")
        for name in ("LAN", "WAN"):
            lists.add({"name": name})

    def menu(self, path: str) -> Table:
        """The list menu at ``a/b/c``."""
        menu = self.menus[tuple(path.split("/"))]
        if not isinstance(menu, Table):
            raise TypeError(f"{path} is no list")
        return menu

    def _known_interface(self, item: Item) -> None:
        name = item.get("interface", item.get("bridge"))
        names = {
            to_str(entry["name"])
            for table in (self.interfaces, self.bridges, self.veths)
            for entry in table.items.values()
        }
        if name is not None and to_str(name) not in names:
            raise RuntimeFault("input does not match any value of interface")

    def _has_dns(self, item: Item) -> bool:
        servers = self.menus["ip", "dns"]
        return bool(item.get("dns")) or (
            isinstance(servers, Record) and bool(servers.all().get("servers"))
        )

    def _state_source(self, item: Item) -> str | None:
        wanted = item.get("mountlists", item.get("mounts"))
        if wanted is None:
            return None
        for mount in self.menu("container/mounts").items.values():
            name = mount.get("list", mount.get("name"))
            if name == wanted and mount.get("dst") == "/var/lib/tailscale":
                return to_str(mount["src"]).strip("/")
        return None

    def _tmpdir(self) -> str:
        config = self.menus["container", "config"]
        return to_str(config.all()["tmpdir"]) if isinstance(config, Record) else ""

    def _clock_values(self) -> Mapping[str, Value]:
        return {"date": self.clock.date(), "time": Duration(self.clock.time())}

    def _resources(self) -> Mapping[str, Value]:
        running = sum(
            life.image.ram
            for life in self.containers.lives.values()
            if life.image is not None and life.state == "running"
        )
        return {
            "version": f"{self.called} (stable)",
            "architecture-name": self.architecture,
            "board-name": "model",
            "cpu": "ARM64",
            "cpu-count": 2,
            "free-hdd-space": self.storage.free(""),
            "total-hdd-space": self.storage.disks[""],
            "free-memory": self.ram - running,
            "total-memory": self.ram,
            "uptime": Duration(self.clock.uptime),
        }

    # -- host -------------------------------------------------------------------------------

    def command(self, call: CommandCall) -> Value:
        path = "/" + "/".join((*call.path, call.spec.name))
        return self._guarded(f"{call.line} {path}", lambda: self._dispatch(call))

    def _guarded(self, site: str, action: Callable[[], Value]) -> Value:
        plan = self.faults
        if plan is None or self.watched not in (self._job, "*"):
            return action()
        kind = plan.before(site)
        if kind == "fail":
            raise RuntimeFault("failure: planted by the test")
        if kind == "hang":
            raise Hang(site)
        result = action()
        if kind == "cut":
            raise PowerCut(site)
        if kind == "fail-after":
            raise RuntimeFault("failure: planted by the test")
        return result

    def _permit(self, call: CommandCall) -> None:
        """Raise RuntimeFault for what the job may not do."""
        name = call.spec.name
        need = {"read"} if name in ("get", "find", "print") else {"write"}
        if call.path in (("log",), ("system", "script")) and name not in ("add", "set", "remove"):
            need = {"read"}
        if name in ("ping", "fetch"):
            need = {"test"}
        if call.path == ("file",) and need == {"write"} and self.behaviour.files_need_ftp:
            need = {"write", "ftp"}
        if not need <= self._allowed:
            raise RuntimeFault("not enough permissions")

    def _dispatch(self, call: CommandCall) -> Value:
        self._permit(call)
        name = call.spec.name
        if name in ("add", "set", "remove", "enable", "disable") and call.path != ("log",):
            self.writes += 1
        if call.path == ("tool",):
            if not self.modes["fetch"]:
                raise RuntimeFault("failure: not allowed by device-mode")
            return self.fetch.run(call)
        if not call.path:
            return self._ping(call) if name == "ping" else self._import(call)
        if call.path == ("system",):
            raise Rebooted
        if call.path == ("system", "device-mode") and name == "update":
            self.pending_modes = {key: value is True for key, value in call.args.items()}
            return NOTHING
        return self.menus[call.path].run(call)

    def _ping(self, call: CommandCall) -> Value:
        count = to_num(call.args.get("count", 4))
        number = count if isinstance(count, int) else 4
        self.clock.advance(number * NS)
        address = to_str(call.args["address"])
        if address.startswith("100."):
            linked = any(map(self.containers.healthy, self.containers.items))
            return number if linked else 0
        known = {
            to_str(veth.get("address", "")).split("/")[0].split(",")[0]
            for veth in self.veths.items.values()
        }
        return number if address in known and self.containers.answers() else 0

    def _import(self, call: CommandCall) -> Value:
        source = self.storage.read(to_str(call.args["file-name"]))
        if source is None:
            raise RuntimeFault("failure: no such file")
        if to_str(call.args.get("dry-run", "no")) in ("yes", "true"):
            parse(source, self.schema)
            return NOTHING
        return self.run(source, "import", by_line=True)

    def delay(self, ns: int) -> None:
        def wait() -> Value:
            self.clock.advance(ns)
            return NOTHING

        self._guarded("delay", wait)

    def now(self) -> int:
        return self.clock.now

    def output(self, text: str) -> None:
        self.printed.append(text)

    def resolve(self, name: str, kind: str) -> Value:
        def look() -> Value:
            if any(registry.host == name for registry in self.registries):
                return to_address("192.0.2.80") or NIL
            raise RuntimeFault("failure: dns name does not exist")

        return self._guarded("resolve", look)

    def execute(self, source: str, wait: bool) -> Value:
        before = len(self.printed)
        try:
            self.run(source, "execute")
        except RscError as problem:
            self.log.write("error", problem.message)
        return "\n".join(self.printed[before:]) if wait else Id("*1")

    def random(self, low: int, high: int) -> int:
        return self.random_source.randint(low, high)

    # -- jobs -------------------------------------------------------------------------------

    def run(self, source: str, job: str = "", by_line: bool = False) -> Value:
        """Run a script to its end.

        Raises ParseError or RuntimeFault as the script does; PowerCut and Hang if planted.
        """
        key = self.jobs.add({"script": job, "type": "command"})
        before, self._job = self._job, job
        try:
            result = Interpreter(self, self.schema, job).run(source, by_line)
        except Hang:
            raise
        except BaseException:
            self.jobs.items.pop(key, None)
            raise
        finally:
            self._job = before
        self.jobs.items.pop(key, None)
        return result

    def run_script(self, name: str, allowed: str = "ftp,read,write,policy,test") -> None:
        """Run a stored script as our schedule would: its errors go to the log."""
        self._scheduled(name, permissions(allowed))

    def run_as(self, source: str, policy: str) -> Value:
        """Run commands for a user with some permissions. Raises as ``run`` does."""
        before, self._allowed = self._allowed, permissions(policy)
        try:
            return self.run(source)
        finally:
            self._allowed = before

    def _start(self, source: str, job: str, allowed: frozenset[str]) -> Value:
        before, self._allowed = self._allowed, allowed
        try:
            return self.run(source, job)
        finally:
            self._allowed = before

    def _scheduled(self, event: str, allowed: frozenset[str]) -> None:
        item = next(
            (script for script in self.scripts.items.values() if script["name"] == event), None
        )
        before, self._allowed = self._allowed, allowed
        try:
            if item is None:
                self.run(event)
            else:
                self.scripts.launch(to_str(item[".id"]))
        except RscError as problem:
            self.log.write("error", f"{event}: {problem}")
        except Hang:
            pass
        finally:
            self._allowed = before

    def advance(self, seconds: float) -> None:
        """Let time pass; schedules fire. Raises PowerCut if one was planted."""
        self.clock.advance(int(seconds * NS))

    # -- power ------------------------------------------------------------------------------

    def power_cut(self) -> None:
        """The power goes and comes back: RAM is empty, flash is as it was."""
        self.clock.forget()
        self.containers.power_lost()
        self.globals = {}
        self.jobs.items.clear()
        self._job = ""
        self._allowed = permissions(FULL)
        self.faults = None
        disks = self.menu("disk")
        for item in list(self.storage.items.values()):
            slot = self.storage.slot(to_str(item["name"]))
            if any(d["slot"] == slot and d["type"] == "tmpfs" for d in disks.items.values()):
                self.storage.drop(to_str(item["name"]))
        self.clock.now += 30 * NS
        self.clock.booted = self.clock.now
        self.containers.boot()
        self.scheduler.boot()

    def press_button(self) -> None:
        """Somebody at the device confirms a change of device-mode; it reboots."""
        self.modes.update(self.pending_modes)
        self.pending_modes = {}
        self.power_cut()

    def plug(self, slot: str, size: int) -> None:
        """Plug in a disk of so many bytes."""
        disks = self.menus["disk",]
        if not isinstance(disks, Disks):
            raise TypeError("no disks")
        disks.plug(slot, size)

    def upload(self, name: str, contents: str) -> None:
        """Store a file as scp would."""
        self.storage.put(name, len(contents.encode()), contents=contents)

    def value(self, expression: str) -> Value:
        """The value of an expression or command, for assertions."""
        return Interpreter(self, self.schema).run(f":return {expression}")


def number(value: Value) -> int:
    """An int out of a value, for assertions. Raises TypeError if it is none."""
    if isinstance(value, str):
        value = literal(value)
    if isinstance(value, Array):
        return len(value)
    if not isinstance(value, int):
        raise TypeError(f"no number: {value!r}")
    return value
