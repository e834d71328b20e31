"""Flash and disks: who uses how many bytes, and the file list with its delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.lang.host import CommandCall
from tests.routeros.lang.values import NIL, NOTHING, Array, Id, Value, length, to_str
from tests.routeros.model.clock import NS, Clock
from tests.routeros.model.tables import Item, Table

MIB = 1 << 20
CONTENTS_LIMIT = 60 * 1024


class Storage(Table):
    """The ``/file`` menu. Internal flash is the disk with the empty slot name.

    A new file shows up in find only after ``listing`` seconds if ``slow`` made it
    (facts 1.3: the listing lags minutes behind what containers do).
    """

    def __init__(self, clock: Clock, flash: int, listing: int) -> None:
        super().__init__(unique=("name",))
        self.clock = clock
        self.disks: dict[str, int] = {"": flash}
        self.listing = listing
        self.busy: Callable[[str], bool] = lambda path: False
        self._by_name: dict[str, str] = {}
        self._seen_at: dict[str, int] = {}

    def slot(self, path: str) -> str:
        """The disk that a path is on; an unknown first word is a directory of the flash."""
        first = path.strip("/").split("/")[0]
        return first if first in self.disks else ""

    def used(self, slot: str) -> int:
        """Bytes in use on a disk."""
        return sum(
            int(to_str(item["size"]))
            for item in self.items.values()
            if self.slot(to_str(item["name"])) == slot
        )

    def free(self, slot: str) -> int:
        """Bytes left on a disk."""
        return self.disks[slot] - self.used(slot)

    def put(
        self, path: str, size: int, kind: str = "file", contents: str = "", slow: bool = False
    ) -> None:
        """Store or replace a file or a directory tree. Raises RuntimeFault if it does not fit."""
        path = path.strip("/")
        old = self._by_name.get(path)
        before = int(to_str(self.items[old]["size"])) if old else 0
        if size - before > self.free(self.slot(path)):
            raise RuntimeFault("failure: not enough space on disk")
        values: Item = {"name": path, "size": size, "type": kind, "contents": contents}
        if old:
            self.items[old].update(values)
        else:
            key = super().add(values)
            self._by_name[path] = key
            self._seen_at[key] = self.clock.now + (self.listing * NS if slow else 0)

    def drop(self, path: str) -> None:
        """Forget a file, or a folder with all that is in it; nothing happens if there is none."""
        path = path.strip("/")
        for name in [name for name in self._by_name if f"{name}/".startswith(f"{path}/")]:
            del self.items[self._by_name.pop(name)]

    def read(self, path: str) -> str | None:
        """The contents of a file, or None."""
        key = self._by_name.get(path.strip("/"))
        return to_str(self.items[key]["contents"]) if key else None

    def exists(self, path: str) -> bool:
        """True for a file or tree that is really there, listed or not."""
        return path.strip("/") in self._by_name

    def matching(self, where: Callable[[Mapping[str, Value]], bool] | None) -> list[str]:
        return [key for key in super().matching(where) if self._seen_at[key] <= self.clock.now]

    def do_add(self, call: CommandCall) -> Value:
        contents = to_str(call.args.get("contents", ""))
        kind = to_str(call.args.get("type", "file"))
        self.put(to_str(call.args["name"]), length(contents), kind, contents)
        return Id(self._by_name[to_str(call.args["name"]).strip("/")])

    def do_set(self, call: CommandCall) -> Value:
        for key in self.resolve(call.args.get("numbers", NIL)):
            contents = to_str(call.args.get("contents", self.items[key]["contents"]))
            self.put(to_str(self.items[key]["name"]), length(contents), "file", contents)
        return NOTHING

    def do_get(self, call: CommandCall) -> Value:
        item = self.items[self.one(call.args.get("number", NIL))]
        if length(item["contents"]) > CONTENTS_LIMIT:
            item = {**item, "contents": ""}
        name = call.args.get("value-name")
        return Array([], dict(item)) if name is None else item.get(to_str(name), NOTHING)

    def discard(self, key: str) -> None:
        path = to_str(self.items[key]["name"])
        if self.busy(path):
            return  # facts 1.3: silently does nothing while the container is being removed
        self.drop(path)


class Disks(Table):
    """The ``/disk`` menu: what is plugged in or made of RAM."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(unique=("slot",))
        self.storage = storage

    def plug(self, slot: str, size: int) -> None:
        """Plug in a disk of so many bytes."""
        self.storage.disks[slot] = size
        self.add({"slot": slot, "type": "hardware", "fs": "ext4", "mounted": True})

    def do_add(self, call: CommandCall) -> Value:
        """``type=tmpfs``: a disk in RAM; what is in it goes with the power."""
        key = super().do_add(call)
        size = to_str(call.args.get("tmpfs-max-size", "64M"))
        number = int(size.rstrip("MGk")) * {"k": 1 << 10, "M": MIB, "G": MIB << 10}[size[-1]]
        self.storage.disks[to_str(call.args["slot"])] = number
        return key

    def discard(self, key: str) -> None:
        slot = to_str(self.items[key]["slot"])
        for item in list(self.storage.items.values()):
            if self.storage.slot(to_str(item["name"])) == slot:
                self.storage.drop(to_str(item["name"]))
        del self.storage.disks[slot]
        super().discard(key)

    def view(self, key: str) -> Mapping[str, Value]:
        item = self.items[key]
        slot = to_str(item["slot"])
        return {
            **item,
            "size": self.storage.disks[slot],
            "free": self.storage.free(slot),
            "mount-point": slot,
        }
