"""The container subsystem: states, pulls that go wrong in silence, starts, stops, removal.

Facts 1.2 to 1.4 and the behaviours in versions.toml; what is a guess is marked there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NIL, NOTHING, Array, Id, Value, to_str
from tests.routeros.model.clock import NS, Clock
from tests.routeros.model.facts import Behaviour, Seconds
from tests.routeros.model.node import Node
from tests.routeros.model.registry import Image, Registry
from tests.routeros.model.storage import Storage
from tests.routeros.model.tables import Item, Table

READY = 4  # seconds after the start until tailscaled answers
STATE = "/var/lib/tailscale"
WAITING = "starting-with-healthcheck"
FLAGS = ("stopped", "starting", "running", "stopping", "deleting", "healthy", "unhealthy", WAITING)


@dataclass
class Life:
    """What is true of a container besides its configuration.

    state: downloading, stopped, failed, starting, running, stopping, deleting.
    stuck: it never comes to the end of stopping, unless it is killed.
    epoch counts state changes, so that an event planned for an old state does nothing.
    """

    state: str = "downloading"
    image: Image | None = None
    extracted: int = 0
    stuck: bool = False
    started: int = 0
    epoch: int = 0


class Containers(Table):
    """The ``/container`` menu."""

    def __init__(
        self,
        clock: Clock,
        storage: Storage,
        behaviour: Behaviour,
        seconds: Seconds,
        registries: list[Registry],
        log: Callable[[str, str, str], None],
    ) -> None:
        super().__init__(unique=("name", "root-dir"))
        self.clock = clock
        self.storage = storage
        self.behaviour = behaviour
        self.seconds = seconds
        self.registries = registries
        self.log = log
        self.lives: dict[str, Life] = {}
        self.files: dict[str, Image] = {}
        self.allowed: Callable[[], bool] = lambda: True
        self.resolvable: Callable[[Item], bool] = lambda item: True
        self.state_source: Callable[[Item], str | None] = lambda item: None
        self.tmpdir: Callable[[], str] = str
        self.trouble = "no such image"
        self.refused: dict[str, str] = {}
        self.history: list[str] = []
        self.node = Node()
        storage.busy = self.busy

    def busy(self, path: str) -> bool:
        """True while a container that owns the directory exists."""
        return any(self.root(key).strip("/") == path.strip("/") for key in self.items)

    def root(self, key: str) -> str:
        """The root-dir of a container."""
        return to_str(self.items[key].get("root-dir", f"container-{key[1:]}"))

    def view(self, key: str) -> Mapping[str, Value]:
        life = self.lives[key]
        image = life.image
        failed = life.state == "failed"
        view: Item = dict(self.items[key])
        if self.behaviour.slashed_paths:
            view["root-dir"] = "/" + self.root(key).strip("/")
        if self.behaviour.status_property:
            view["status"] = "error" if failed else life.state
        else:
            view["stopped"] = life.state == "stopped" or (
                failed and self.behaviour.failed_counts_as_stopped
            )
            for state in ("starting", "running", "stopping", "deleting"):
                view[state] = life.state == state
        if self.behaviour.tag_before_image and "remote-image" in self.items[key]:
            view["tag"] = self.items[key]["remote-image"]
        if self.behaviour.health_flags and life.state == "running" and image is not None:
            view["running"] = not self.behaviour.health_replaces
            flag = "unhealthy" if image.behaviour == "mute" else "healthy"
            if self.clock.now - life.started < self.seconds.health * NS:
                flag = WAITING
            if flag != WAITING or not self.behaviour.health_nameless:
                view[flag] = True
        if image is not None and life.state != "downloading":
            view.update(
                {
                    "image-id": image.digest[7:19],
                    "arch": "arm64",
                    "tag": image.name,
                    "container-size": image.size,
                }
            )
        return view

    def do_get(self, call: CommandCall) -> Value:
        result = super().do_get(call)
        if self.behaviour.flags_apart and isinstance(result, Array):
            for flag in FLAGS:
                result.keyed.pop(flag, None)
        return result

    # -- adding -----------------------------------------------------------------------------

    def do_add(self, call: CommandCall) -> Value:
        if not self.allowed():
            raise RuntimeFault("failure: not allowed by device-mode")
        values = dict(call.args)
        source = values.pop("copy-from", None)
        if source is not None:
            copied = {
                name: value
                for name, value in self.items[self.one(source)].items()
                if name not in (".id", "name", "root-dir", "remote-image", "file")
            }
            values = {**copied, **values}
        file = to_str(values.get("file", ""))
        if file and not (file in self.files and self.storage.exists(file)):
            raise RuntimeFault("failure: file not found")
        if "file" not in values and "remote-image" not in values:
            raise RuntimeFault("failure: no image specified")
        for name, problem in self.refused.items():
            if name in values:
                raise RuntimeFault(f"failure: {problem}")
        key = self.add(values)
        self.lives[key] = Life()
        self._plan(key, self.seconds.download, self._downloaded)
        return Id(key)

    def _plan(self, key: str, seconds: float, action: Callable[[str], None]) -> None:
        epoch = self.lives[key].epoch

        def due() -> None:
            life = self.lives.get(key)
            if life is not None and life.epoch == epoch:
                action(key)

        self.clock.after(seconds, due)

    def _enter(self, key: str, state: str) -> None:
        life = self.lives[key]
        life.state = state
        life.epoch += 1
        self.history.append(f"{to_str(self.items[key].get('name', key))} {state}")

    def _wanted(self, key: str) -> Image | None:
        item = self.items[key]
        if "file" in item:
            return self.files.get(to_str(item["file"]))
        reference = to_str(item["remote-image"])
        for registry in self.registries:
            image = registry.pull(reference)
            if image is not None:
                return image
        return None

    def _downloaded(self, key: str) -> None:
        image = self._wanted(key)
        if image is None:
            self.log(
                "error",
                f"download/extract failed for {self.root(key)}: {self.trouble}",
                "container",
            )
            self._enter(key, "failed")
            return
        slot = self.storage.slot(self.root(key))
        transfer = image.transfer
        temporary = self.storage.slot(self.tmpdir() or self.root(key))
        if temporary != slot:
            full = self.storage.free(temporary) < transfer
            transfer = 0
        else:
            full = False
        if full or self.storage.free(slot) < image.size + transfer:
            self.log("error", "not enough space", "container")
            self._enter(key, "failed")
            return
        self.storage.put(self.root(key), image.size, "container store", slow=True)
        self.lives[key].image = image
        self._plan(key, self.seconds.extract, self._extracted)

    def _extracted(self, key: str) -> None:
        self._enter(key, "stopped")
        self.lives[key].extracted = self.clock.now

    # -- starting and stopping --------------------------------------------------------------

    def do_start(self, call: CommandCall) -> Value:
        for key in self.resolve(call.args.get("numbers", call.args.get("number", NIL))):
            self.start(key)
        return NOTHING

    def start(self, key: str) -> None:
        """Start one. Raises RuntimeFault if it is in no state to start."""
        life = self.lives[key]
        if life.state == "downloading" and life.image is not None:
            # facts 1.3: a start while extracting corrupts the container
            life.image = Image("corrupt", "crash")
            return
        if life.state != "stopped":
            raise RuntimeFault(f"failure: container is {life.state}")
        if life.image is None:
            raise RuntimeFault("failure: no image")
        item = self.items[key]
        if self.behaviour.lost_command and not (item.get("cmd") or item.get("entrypoint")):
            self.log(
                "error", "start failed: no command specified, set cmd or entrypoint", "container"
            )
            return
        if not self.resolvable(item):
            self.log("error", "start failed: no dns", "container")
            return
        if self.behaviour.shared_veth_refused and any(
            other != key
            and self.lives[other].state in ("starting", "running", "stopping")
            and self.items[other].get("interface") == item.get("interface")
            for other in self.items
        ):
            raise RuntimeFault("failure: interface already in use")
        self._enter(key, "starting")
        self._plan(key, self.seconds.start, self._running)

    def _running(self, key: str) -> None:
        life = self.lives[key]
        if life.image is not None and life.image.behaviour == "dead":
            self.log("error", f"{self.root(key)} does not start", "container")
            self._enter(key, "stopped")
            return
        self._enter(key, "running")
        life.started = self.clock.now
        self._touch_state(key)
        if life.image is not None and life.image.behaviour == "crash":
            self._plan(key, 3, self._crashed)

    def _crashed(self, key: str) -> None:
        self.log("error", f"{self.root(key)} exited", "container")
        self._enter(key, "stopped")
        item = self.items[key]
        if to_str(item.get("restart-policy", "no")) != "no" or "auto-restart-interval" in item:
            self._plan(key, 10, self._restart)

    def _restart(self, key: str) -> None:
        self._enter(key, "starting")
        self._plan(key, self.seconds.start, self._running)

    def _touch_state(self, key: str) -> None:
        """tailscaled opens its state: a second one on the same state breaks it."""
        source = self.state_source(self.items[key])
        path = f"{source or self.root(key) + STATE}/tailscaled.state"
        for other in self.items:
            if (
                other != key
                and self.lives[other].state in ("running", "stopping")
                and (source is not None and self.state_source(self.items[other]) == source)
            ):
                self.storage.put(path, 4096, contents="broken: two daemons")
                return
        if not self.storage.exists(path):
            try:
                self.storage.put(path, 4096, contents=f"node-{self.clock.now // NS}")
            except RuntimeFault as fault:
                self.log("error", fault.message, "container")

    def do_stop(self, call: CommandCall) -> Value:
        for key in self.resolve(call.args.get("numbers", call.args.get("number", NIL))):
            life = self.lives[key]
            if life.state in ("running", "starting"):
                self._enter(key, "stopping")
                if not life.stuck:
                    self._plan(key, self.seconds.stop, lambda key: self._enter(key, "stopped"))
            elif life.state != "stopped":
                raise RuntimeFault(f"failure: container is {life.state}")
        return NOTHING

    def do_kill(self, call: CommandCall) -> Value:
        for key in self.resolve(call.args.get("number", NIL)):
            self.lives[key].stuck = False
            self._plan(key, 1, lambda key: self._enter(key, "stopped"))
        return NOTHING

    # -- changing and removing --------------------------------------------------------------

    def change(self, key: str, values: Mapping[str, Value], unset: object = ()) -> None:
        running = self.lives[key].state in ("running", "starting", "stopping")
        if running and self.behaviour.set_while_running_refused:
            raise RuntimeFault("failure: container is running")
        super().change(key, values)

    def discard(self, key: str) -> None:
        life = self.lives[key]
        if life.state in ("running", "starting", "stopping"):
            raise RuntimeFault("failure: container must be stopped first")
        if life.state == "deleting":
            return
        self._enter(key, "deleting")
        self._plan(key, self.seconds.remove, self._gone)

    def _gone(self, key: str) -> None:
        root = self.root(key)
        self.storage.drop(root)
        # a state that was kept inside the root-dir goes with it (facts 1.3)
        self.storage.drop(f"{root}{STATE}/tailscaled.state")
        self.history.append(f"{to_str(self.items[key].get('name', key))} gone")
        del self.items[key]
        del self.lives[key]

    # -- looking ----------------------------------------------------------------------------

    def healthy(self, key: str) -> bool:
        """True if a container runs and does its work."""
        life = self.lives[key]
        return (
            life.state == "running"
            and life.image is not None
            and life.image.behaviour == "good"
            and self.clock.now - life.started >= READY * NS
        )

    def answers(self) -> bool:
        """True if a running container answers a ping on its address."""
        return any(
            life.state == "running" and life.image is not None and life.image.behaviour != "deaf"
            for life in self.lives.values()
        )

    def startable(self, key: str) -> bool:
        """True if a good image is on flash and would survive a power cut now."""
        life = self.lives[key]
        return (
            life.state in ("stopped", "starting", "running", "stopping")
            and life.image is not None
            and life.image.behaviour == "good"
            and self.clock.now - life.extracted >= self.seconds.durable * NS
        )

    def do_shell(self, call: CommandCall) -> Value:
        key = self.one(call.args["number"])
        life = self.lives[key]
        if life.state != "running" or life.image is None:
            raise RuntimeFault("failure: container is not running")
        command = to_str(call.args.get("cmd", ""))
        text = self._shell(key, life.image, command)
        return Array([], {"output": text}) if "as-value" in call.flags else text

    def _shell(self, key: str, image: Image, command: str) -> str:
        ready = self.clock.now - self.lives[key].started >= READY * NS
        if image.behaviour == "mute" or not ready:
            return "failed to connect to local tailscaled; it doesn't appear to be running"
        if image.behaviour == "login":
            return self.node.logged_out()
        if "version" in command:
            return f"{image.name}\n"
        return self.node.answer(command)

    def do_save(self, call: CommandCall) -> Value:
        key = self.one(call.args["number"])
        image = self.lives[key].image
        if image is None:
            raise RuntimeFault("failure: no image")
        path = to_str(call.args["file"])
        self.storage.put(path, image.transfer, "container tarball")
        self.files[path] = image
        return NOTHING

    # -- power ------------------------------------------------------------------------------

    def power_lost(self) -> None:
        """What a power cut leaves on flash."""
        for key in list(self.items):
            life = self.lives[key]
            life.epoch += 1
            young = self.clock.now - life.extracted < self.seconds.durable * NS
            if life.state == "deleting":
                if self.behaviour.half_removed_keeps_entry:
                    life.state, life.image = "failed", None
                else:
                    del self.items[key]
                    del self.lives[key]
            elif life.state in ("downloading", "failed") or young:
                life.state, life.image = "failed", None
            else:
                life.state = "stopped"

    def boot(self) -> None:
        """Start what is to start on boot."""
        for key, item in list(self.items.items()):
            if item.get("start-on-boot") is True and self.lives[key].state == "stopped":
                try:
                    self.start(key)
                except RuntimeFault as fault:
                    self.log("error", fault.message, "container")
