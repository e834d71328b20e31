"""What `tailscale` says in the container, as far as the scripts read it.

Its words are those of the command of Tailscale 1.104 (cmd/tailscale/cli: status.go, get.go).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

EXITS = ["0.0.0.0/0", "::/0"]


@dataclass
class Node:
    """A node in a tailnet.

    routes: what it announces. exit: whether it offers to be an exit node. approved: what control
    lets it have of that. expiry: when its key ends, "" for never. way: how the other peer is
    reached, "" if it is idle. login: where a node that is logged out can be let in. older: its
    command has no `get`.
    """

    routes: list[str] = field(default_factory=list)
    exit: bool = False
    approved: list[str] = field(default_factory=list)
    expiry: str = ""
    way: str = "direct 192.0.2.7:41641"
    login: str = "https://login.tailscale.com/a/0"
    older: bool = False

    def logged_out(self) -> str:
        """What status says before the login."""
        return "Logged out." + (f"\nLog in at: {self.login}\n" if self.login else "\n")

    def answer(self, command: str) -> str:
        """What a command of a node says that is logged in."""
        words = command.split()
        if words[:2] == ["tailscale", "get"]:
            return "unknown subcommand: get\n" if self.older else self._flags() + "\n"
        if words[:2] == ["tailscale", "set"]:
            self._set(command)
            return ""
        if "--json" in words:
            return json.dumps(self._status(), indent=2) + "\n"
        peer = f"active; {self.way}, tx 1 rx 1" if self.way else "-"
        return f"100.101.102.103 router me@ linux -\n100.64.0.9 laptop me@ linux {peer}\n"

    def _set(self, command: str) -> None:
        if found := re.search(r"--advertise-routes=(\S*)", command):
            self.routes = [word for word in found[1].split(",") if word]
        if "--advertise-exit-node" in command:
            self.exit = "--advertise-exit-node=false" not in command

    def _flags(self) -> str:
        exits = "--advertise-exit-node" + ("" if self.exit else "=false")
        routes = ",".join(self.routes)
        return f"--accept-routes=false --hostname= --advertise-routes={routes} {exits} --sync"

    def _status(self) -> dict[str, Any]:
        own: dict[str, Any] = {
            "HostName": "router",
            "TailscaleIPs": ["100.101.102.103"],
            "AllowedIPs": ["100.101.102.103/32", *self.approved],
            "Addrs": ["192.0.2.1:41641"],
        }
        if self.expiry:
            own["KeyExpiry"] = self.expiry
        return {"BackendState": "Running", "AuthURL": "", "Self": own, "Health": []}
