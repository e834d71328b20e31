"""tailscaled and its command line in one binary: sources, tags and platform to an ELF file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from build import archives, cache, command, digest, features, tools
from build.errors import BuildFailed
from build.paths import PATCHES, cache_dir, work_dir
from build.pins import Pin
from build.targets import Target
from build.version import Release

Trees = Callable[[Pin], cache.Entry]

PACKAGE = "./cmd/tailscaled"


@dataclass(frozen=True)
class Recipe:
    """How the compiler is called: what a comparison with another recipe varies.

    `gcflags` goes to the compiler of all packages, `ldflags` to the linker beside the version
    stamps, `tags` are added to those of the features.
    """

    name: str
    gcflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ("-s", "-w")
    tags: tuple[str, ...] = ()


OURS = Recipe("ours", gcflags=("-l",))


@dataclass(frozen=True)
class Inputs:
    """What every step here starts from: the pins of Tailscale and Go, and how to get their trees.

    `offline` keeps the go command from asking its module proxy.
    """

    tailscale: Pin
    go: Pin
    trees: Trees
    offline: bool = False

    @property
    def go_version(self) -> str:
        """The toolchain's version, such as 1.26.8, out of its module version."""
        match = re.search(r"go(\d+(?:\.\d+)+)", self.go.version)
        if not match:
            raise BuildFailed(f"the Go pin's version {self.go.version} names no Go release")
        return match[1]


def environment(inputs: Inputs, scratch: Path, target: Target | None = None) -> dict[str, str]:
    """Return the environment of a go command; without a target it works for this machine."""
    env = tools.clean_environment(scratch)
    shared = cache_dir()
    env |= {
        "PATH": f"{inputs.trees(inputs.go).data}/bin:{env['PATH']}",
        "GOROOT": str(inputs.trees(inputs.go).data),
        "GOMODCACHE": str(shared / "gomod"),
        "GOCACHE": str(shared / "gocache"),
        "GOPATH": str(scratch / "gopath"),
        "GOENV": "off",
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    network = {} if inputs.offline else command.network_environment()
    network.pop("HOME", None)
    env |= network
    if inputs.offline:
        # Modules are checked against the go.sum of Tailscale's own zip, which the pin covers.
        env["GOPROXY"] = "off"
    if target:
        env |= {"GOOS": "linux", "GOARCH": target.goarch, **target.go_env}
    return env


def go(
    inputs: Inputs,
    words: list[str],
    *,
    what: str,
    record: Path,
    scratch: Path,
    target: Target | None = None,
    append: bool = False,
) -> str:
    """Run the pinned go command inside Tailscale's source tree and return its output."""
    cure = ""
    if inputs.offline:
        cure = "if a module is missing: run `invoke fetch` once with a network"
    return command.run(
        [str(inputs.trees(inputs.go).data / "bin" / "go"), *words],
        what=what,
        log_file=record,
        env=environment(inputs, scratch, target),
        cwd=inputs.trees(inputs.tailscale).data,
        cure=cure,
        append=append,
    )


def check_go_version(go_mod: str, go_version: str) -> None:
    """Raise BuildFailed if the toolchain is older than a go.mod asks for."""
    match = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    if match and Version(match[1]) > Version(go_version):
        raise BuildFailed(
            f"Tailscale asks for Go {match[1]}, the pinned toolchain is {go_version}",
            why="its go.mod says so",
            cure="raise the pin `go` in build/data/pins.toml together with Tailscale's",
        )


def graph(inputs: Inputs) -> dict[str, features.Feature]:
    """Return the feature graph of the pinned Tailscale."""
    source = inputs.trees(inputs.tailscale).data / "feature" / "featuretags" / "featuretags.go"
    return features.parse_graph(source.read_text())


def tags(inputs: Inputs) -> list[str]:
    """Return the Go build tags of our features, after upstream's own tool agreed to them.

    Raises BuildFailed if `cmd/featuretags --min --add=…`, given the same features with all that
    ours pulled in, prints other tags.
    """
    verdicts = features.load_verdicts()
    key = {
        "name": "tags",
        "tailscale": inputs.tailscale.sha256,
        "go": inputs.go.sha256,
        "verdicts": {name: [v.verdict, v.since] for name, v in verdicts.features.items()},
        "edges": [[edge.source, edge.to] for edge in verdicts.edges],
    }

    def build(out: Path, scratch: Path) -> dict[str, Any]:
        go_mod = (inputs.trees(inputs.tailscale).data / "go.mod").read_text()
        check_go_version(go_mod, inputs.go_version)
        resolution = features.resolve(graph(inputs), verdicts, inputs.tailscale.version)
        record = work_dir() / "tags" / "featuretags.log"
        wanted = [row.name for row in resolution.rows if row.verdict == "in"]
        own = [edge.to for edge in verdicts.edges if edge.source in resolution.included]
        words = ["run", "./cmd/featuretags", "--min", f"--add={','.join([*wanted, *own])}"]
        printed = go(inputs, words, what="upstream's featuretags", record=record, scratch=scratch)
        theirs = printed.strip().split("\n")[-1].split(",")
        if sorted(theirs) != sorted(resolution.tags):
            differing = sorted(set(theirs) ^ set(resolution.tags))
            raise BuildFailed(
                "upstream's featuretags and our resolver disagree",
                why=f"only one of them has: {', '.join(differing)}",
                cure="see how upstream resolves Deps now (cmd/featuretags), then build/features.py",
            )
        return {"tags": list(resolution.tags)}

    entry = cache.obtain("tags", "all", key, build, title="feature tags")
    return list(entry.facts["tags"])


def stamps(inputs: Inputs, release: Release) -> list[str]:
    """Return the -X options that say which version this is.

    Without them a build outside git calls itself `<version>-ERR-BuildInfo`.
    """
    package = "tailscale.com/version"
    return [
        f"-X {package}.shortStamp={inputs.tailscale.version}",
        f"-X {package}.longStamp={release.long}",
    ]


def compile_words(
    inputs: Inputs, recipe: Recipe, build_tags: list[str], release: Release, output: Path
) -> list[str]:
    """Return the arguments of `go` that make the binary."""
    ldflags = " ".join([*recipe.ldflags, *stamps(inputs, release)])
    words = ["build", "-trimpath", f"-tags={','.join([*build_tags, *recipe.tags])}"]
    if recipe.gcflags:
        words.append(f"-gcflags=all={shlex.join(recipe.gcflags)}")
    return [*words, f"-ldflags={ldflags}", "-o", str(output), PACKAGE]


def build(
    inputs: Inputs,
    target: Target,
    release: Release,
    recipe: Recipe = OURS,
    before: Callable[[], None] = lambda: None,
) -> cache.Entry:
    """Return the object with `tailscale.combined` for a platform.

    `before` is called if it has to be compiled. Raises BuildFailed if the go command fails.
    """
    build_tags = tags(inputs)
    nowhere = Path("OUT")
    key = {
        "name": "tailscaled",
        "target": target.name,
        "tailscale": inputs.tailscale.sha256,
        "patches": digest.of_json(archives.patches_identity(PATCHES / "tailscale")),
        "go": inputs.go.sha256,
        "environment": {"GOARCH": target.goarch, **target.go_env},
        "command": compile_words(inputs, recipe, build_tags, release, nowhere),
    }

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        before()
        record = work_dir() / target.name / "golang.log"
        what = f"tailscaled for {target.name}"
        words = compile_words(inputs, recipe, build_tags, release, out / "tailscale.combined")
        go(inputs, words, what=what, record=record, scratch=scratch, target=target)
        return {}

    title = f"tailscaled {inputs.tailscale.version}"
    return cache.obtain("golang", target.name, key, make, title=title)


def fetch_modules(inputs: Inputs, target: Target, scratch: Path) -> int:
    """Download every module that a build for the platform reads; returns the number of packages."""
    online = replace(inputs, offline=False)
    words = ["list", "-deps", f"-tags={','.join(tags(online))}", PACKAGE]
    record = work_dir() / target.name / "modules.log"
    what = f"modules for {target.name}"
    return len(go(online, words, what=what, record=record, scratch=scratch, target=target).split())


def verify_modules(inputs: Inputs, scratch: Path) -> None:
    """Compare the downloaded modules with go.sum. Raises BuildFailed naming an altered one."""
    record = work_dir() / "tags" / "verify.log"
    go(
        inputs,
        ["mod", "verify"],
        what="checking the Go modules",
        record=record,
        scratch=scratch,
    )
