"""Many routers behind REST and the binary API on real sockets, some with a trouble of their own.

`python -m tests.routeros.farm COUNT TAR TROUBLES` has them in a process of its own and talks in
JSON lines: TROUBLES is {number: trouble}, it prints {name: [address of REST, port of the API]} and
waits for "cure" or "verdict" on its input.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.routeros import bed as beds
from tests.routeros.bed import NEW, Bed
from tests.routeros.model import FaultPlan, PowerCut, api
from tests.routeros.model.rest import Loopback, Rest, serve

TROUBLES = ("unreachable", "password", "package", "flash", "half")
"""No server there, another password, no container package, no room, power lost in the middle."""


class Mortal(Rest):
    """A router that answers nothing more once its power is gone."""

    dead = False

    def answer(self, method: str, path: str, credentials: str, body: bytes) -> tuple[int, Any]:
        try:
            if self.dead:
                raise PowerCut
            return super().answer(method, path, credentials, body)
        except PowerCut:
            self.dead = True
            raise ConnectionAbortedError from None


class CutAtStop(FaultPlan):
    """The power goes when the old container has just been stopped for the new one."""

    def before(self, site: str) -> str:
        if self.struck or not site.endswith("/container/stop"):
            return ""
        self.struck = True
        return "cut"


@dataclass
class Place:
    """One router, and where it is reached."""

    name: str
    address: str
    port: int
    bed: Bed
    rest: Mortal
    trouble: str
    had: bool

    def has(self) -> bool:
        """Whether its VPN works, an hour after whatever happened and with its power back."""
        if self.rest.dead:
            self.bed.router.power_cut()
            self.rest.dead = False
        self.bed.router.advance(3600)
        return bool(self.bed.running())

    def cure(self) -> None:
        """Somebody goes there and sees to it."""
        router = self.bed.router
        if self.trouble == "password":
            self.rest.credentials = Rest(router).credentials
        elif self.trouble == "package":
            router.install_package("installed")
        elif self.trouble == "flash":
            router.storage.drop("backup.bin")
        elif self.rest.dead:
            router.power_cut()
            self.rest.dead = False


def _made(trouble: str, tar: str) -> Bed:
    if trouble == "package":
        made = beds.empty()
        made.router.install_package("disabled")
    else:
        made = beds.installed()
    router = made.router
    made.publish(NEW)
    router.containers.files[tar] = NEW
    router.fetch.transport = Loopback(router.fetch.transport)
    if trouble == "flash":
        router.storage.put("backup.bin", router.storage.free("") - (1 << 20))
    elif trouble == "half":
        router.faults, router.watched = CutAtStop(), "*"
    return made


@contextmanager
def farm(count: int, tar: str, troubles: Mapping[int, str] | None = None) -> Iterator[list[Place]]:
    """So many routers on which the old image runs; `troubles` by number, from 0."""
    with ExitStack() as stack:
        places = []
        for number in range(count):
            trouble = (troubles or {}).get(number, "")
            made = _made(trouble, tar)
            password = "another" if trouble == "password" else "secret"
            rest = Mortal(made.router, password=password, pace=120)
            if trouble == "unreachable":
                # Bound and not listening: refused, and nobody else gets the port.
                shut = stack.enter_context(socket.socket())
                shut.bind(("127.0.0.1", 0))
                port = shut.getsockname()[1]
                address = f"http://127.0.0.1:{port}"
            else:
                address = stack.enter_context(serve(rest))
                port = stack.enter_context(api.serve(rest))
            had = bool(made.running())
            places.append(Place(f"router-{number:03}", address, port, made, rest, trouble, had))
        yield places


def verdict(places: list[Place]) -> dict[str, Any]:
    """How many have which image, and which had a VPN and have none any more."""
    without = [one.name for one in places if one.had and not one.has()]
    new = [one.name for one in places if one.bed.running() == [NEW]]
    return {"without": without, "new": new, "digest": NEW.digest}


def main(count: int, tar: str, troubles: Mapping[int, str]) -> None:
    """Serve until the input ends."""
    with farm(count, tar, troubles) as places:
        print(json.dumps({one.name: [one.address, one.port] for one in places}), flush=True)
        for line in sys.stdin:
            if line.strip() == "cure":
                for one in places:
                    one.cure()
            print(json.dumps(verdict(places)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], {int(n): one for n, one in json.loads(sys.argv[3]).items()})
