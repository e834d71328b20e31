"""The pinned go command inside Tailscale's source tree: where it is, its environment, one call."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from build.config import toolpath
from build.config.pins import Pin
from build.config.targets import Target
from build.core import cache, command
from build.core.errors import BuildFailed
from build.sources import obtain

Trees = Callable[[Pin], cache.Entry]
"""Gives the unpacked sources of a pin."""


def toolchain_version(go: Pin) -> str:
    """Return which Go the pin of a toolchain is, such as 1.26.8, out of its module version.

    Raises BuildFailed if that names none.
    """
    match = re.search(r"go(\d+(?:\.\d+)+)", go.version)
    if not match:
        raise BuildFailed(f"the Go pin's version {go.version} names no Go release")
    return match[1]


@dataclass(frozen=True)
class Go:
    """The pins of Tailscale and Go and how to get their trees.

    `offline` keeps the go command from asking its module proxy.
    """

    tailscale: Pin
    go: Pin
    trees: Trees
    offline: bool = False

    @property
    def version(self) -> str:
        """The toolchain's version."""
        return toolchain_version(self.go)

    @property
    def root(self) -> Path:
        """The toolchain's GOROOT."""
        return self.trees(self.go).data

    @property
    def source(self) -> Path:
        """Tailscale's source tree, our patches applied."""
        return self.trees(self.tailscale).data

    def keys(self) -> dict[str, str]:
        """Return what stands for both trees, our patches included, in keys."""
        return {pin.name: obtain.tree_key(pin) for pin in (self.tailscale, self.go)}

    def environment(self, scratch: Path, target: Target | None = None) -> dict[str, str]:
        """Return the environment of a go command; without a target it works for this machine.

        Of the machine's programs it sees none: without C it needs none.
        """
        env = toolpath.environment(scratch, f"{self.root}/bin")
        env |= {
            "GOROOT": str(self.root),
            "GOMODCACHE": str(cache.part("gomod")),
            "GOCACHE": str(cache.part("gocache")),
            "GOPATH": str(scratch / "gopath"),
            "GOENV": "off",
            "GOTOOLCHAIN": "local",
            "GOTELEMETRY": "off",
            "GOWORK": "off",
            "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
            "CGO_ENABLED": "0",
        }
        if self.offline:
            env["GOPROXY"] = "off"
        else:
            # Modules are checked against the go.sum of Tailscale's own zip, which the pin covers.
            network = command.network_environment()
            network.pop("HOME", None)
            env |= network
        if target:
            env |= {"GOOS": "linux", "GOARCH": target.goarch, **target.go_env}
        return env

    def run(
        self,
        words: list[str],
        *,
        what: str,
        record: Path,
        scratch: Path,
        target: Target | None = None,
        append: bool = False,
        cwd: Path | None = None,
    ) -> str:
        """Run the go command in Tailscale's tree, or `cwd`, and return its standard output.

        `record` is the log file, `scratch` a folder for temporary files. Raises BuildFailed.
        """
        cure = ""
        if self.offline:
            cure = "if a module is missing: run `invoke fetch` once with a network"
        return command.run(
            [str(self.root / "bin" / "go"), *words],
            what=what,
            log_file=record,
            env=self.environment(scratch, target),
            cwd=cwd or self.source,
            cure=cure,
            append=append,
        )
