"""tailscaled and its command line in one binary: sources, tags and platform to an ELF file."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from build.config import features
from build.config.targets import Target
from build.core import cache, digest, log
from build.core.errors import BuildFailed
from build.core.paths import PATCHES, work_dir
from build.core.version import Release
from build.golang import modules, stdlib, symbols
from build.golang.gotool import Go
from build.sources import patching, substitution

PACKAGE = "./cmd/tailscaled"
SYMBOLS = "symbols.xz"
ROOTS_TAG = "mt_roots"
"""Build tag of our file that puts the CA roots into the binary."""


@dataclass(frozen=True)
class Linker:
    """Another linker than the toolchain's.

    `identity` stands for it in the names of builds, `key` is that of the object which `build`
    returns.
    """

    identity: str
    key: str
    build: Callable[[], cache.Entry]

    def option(self) -> str:
        """Return the go command's option that puts it in place; its files are checked first."""
        tool = self.build()
        link, toolexec = (cache.checked(tool.artifact(name)) for name in ("link", "toolexec"))
        return f"-toolexec={toolexec} {link}"


@dataclass(frozen=True)
class Recipe:
    """How the compiler is called: what a comparison with another recipe varies.

    `gcflags` goes to the compiler of all packages, `ldflags` to the linker beside the version
    stamps, `tags` are added to those of the features. `lean` links without line tables, `roots`
    puts the Mozilla CA set into the binary. `features`, if given, are in and no others, whatever
    they need: that is for showing what breaks. `modules` takes the patched Go modules, `stdlib`
    our changes of the standard library, `symbols` leaves a file of symbols beside the binary.
    `pristine` takes Tailscale's source as it is, without patches/tailscale.
    """

    name: str
    gcflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ("-s", "-w")
    tags: tuple[str, ...] = ()
    lean: bool = True
    roots: bool = True
    features: tuple[str, ...] = ()
    modules: bool = True
    stdlib: bool = True
    symbols: bool = False
    pristine: bool = False


OURS = Recipe("ours", symbols=True)
UPSTREAM = Recipe(
    "upstream",
    gcflags=("-l",),
    lean=False,
    roots=False,
    modules=False,
    stdlib=False,
    pristine=True,
    features=tuple(
        "advertiseexitnode advertiseroutes cli dns gro health ipnbus iptables listenrawdisco "
        "netstack osrouter peerapiserver portmapper unixsocketidentity useexitnode "
        "useroutes".split()
    ),
)
"""What the design that we follow does: no inlining, stock linker, a CA file beside the binary, and
its features without those that they need."""
FITTED = replace(UPSTREAM, name="fitted", pristine=False)
"""Upstream's recipe with our files in the daemon, which our entrypoint and the laboratory need."""


def pristine(go: Go) -> Go:
    """Return the same go command with Tailscale's source as it is; substitutes stay in place."""
    # Patches are found by the pin's name.
    return replace(go, tailscale=replace(go.tailscale, name=f"{go.tailscale.name}-pristine"))


def check_go_version(go_mod: str, go_version: str) -> None:
    """Raise BuildFailed if the toolchain is older than a go.mod asks for."""
    match = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    if not match:
        raise BuildFailed("Tailscale's go.mod does not say which Go it needs")
    if Version(match[1]) > Version(go_version):
        raise BuildFailed(
            f"Tailscale asks for Go {match[1]}, the pinned toolchain is {go_version}",
            why="its go.mod says so",
            cure="raise the pin `go` in build/data/pins.toml together with Tailscale's",
        )


def graph(go: Go) -> dict[str, features.Feature]:
    """Return the feature graph of the pinned Tailscale."""
    source = go.source / "feature" / "featuretags" / "featuretags.go"
    return features.parse_graph(source.read_text())


@functools.cache
def tags(go: Go) -> list[str]:
    """Return the Go build tags of our features, after upstream's own tool agreed to them.

    What was decided by rule is told once, however many platforms ask.

    Raises BuildFailed if `cmd/featuretags --min --add=…`, given the same features with all that
    ours pulled in, prints other tags.
    """
    verdicts = features.load_verdicts()
    key = {
        "name": "tags",
        "trees": go.keys(),
        "verdicts": {name: [v.verdict, v.since] for name, v in verdicts.features.items()},
        "edges": [[edge.source, edge.to] for edge in verdicts.edges],
    }

    def build(out: Path, scratch: Path) -> dict[str, Any]:
        go_mod = (go.source / "go.mod").read_text()
        check_go_version(go_mod, go.version)
        resolution = features.resolve(graph(go), verdicts, go.tailscale.version)
        record = work_dir() / "tags" / "featuretags.log"
        wanted = [row.name for row in resolution.rows if row.verdict == "in"]
        own = [edge.to for edge in verdicts.edges if edge.source in resolution.included]
        words = ["run", "./cmd/featuretags", "--min", f"--add={','.join([*wanted, *own])}"]
        printed = go.run(words, what="upstream's featuretags", record=record, scratch=scratch)
        theirs = printed.strip().split("\n")[-1].split(",")
        if sorted(theirs) != sorted(resolution.tags):
            differing = sorted(set(theirs) ^ set(resolution.tags))
            raise BuildFailed(
                "upstream's featuretags and our resolver disagree",
                why=f"only one of them has: {', '.join(differing)}",
                cure="see how upstream resolves Deps now (cmd/featuretags), then "
                "build/config/features.py",
            )
        return {"tags": list(resolution.tags), "remarks": list(resolution.remarks)}

    entry = cache.obtain("tags", "all", key, build, title="feature tags")
    for remark in entry.facts["remarks"]:
        log.warn(remark)
    return list(entry.facts["tags"])


def tags_of(go: Go, recipe: Recipe) -> list[str]:
    """Return the build tags of a recipe's features: ours, unless it names others."""
    if recipe.features:
        return features.tags_for(graph(go), set(recipe.features))
    return tags(go)


def stamps(go: Go, long: str) -> list[str]:
    """Return the -X options that say which version this is.

    Without them a build outside git calls itself `<version>-ERR-BuildInfo`.
    """
    package = "tailscale.com/version"
    return [
        f"-X {package}.shortStamp={go.tailscale.version}",
        f"-X {package}.longStamp={long}",
    ]


def label_of(target: Target, recipe: Recipe) -> str:
    """Return under which name a platform's binary by a recipe is told about and logged."""
    return target.name if recipe == OURS else f"{target.name}-{recipe.name}"


def compile_words(
    go: Go, recipe: Recipe, build_tags: list[str], long: str, output: Path
) -> list[str]:
    """Return the arguments of `go` that make the binary."""
    ldflags = " ".join([*recipe.ldflags, *stamps(go, long)])
    all_tags = [*build_tags, *recipe.tags, *([ROOTS_TAG] if recipe.roots else [])]
    words = ["build", "-trimpath", f"-tags={','.join(all_tags)}"]
    if recipe.gcflags:
        words.append(f"-gcflags=all={shlex.join(recipe.gcflags)}")
    return [*words, f"-ldflags={ldflags}", "-o", str(output), PACKAGE]


def build(
    go: Go,
    target: Target,
    release: Release,
    recipe: Recipe = OURS,
    linker: Linker | None = None,
    before: Callable[[], None] = lambda: None,
) -> cache.Entry:
    """Return the object with `tailscale.combined` for a platform.

    `linker` is needed for a lean recipe; `before` is called if the binary has to be compiled.
    The long version in the facts ends in a hash of all that was chosen, and so names the build;
    the machine and the code that made it are in the key, but not in the name: they give the same.
    Raises BuildFailed if the go command fails.
    """
    go = pristine(go) if recipe.pristine else go
    lean = linker if recipe.lean else None
    build_tags = tags_of(go, recipe)
    nowhere = Path("OUT")
    chosen = {
        "name": "tailscaled",
        "target": target.name,
        "tailscale": go.tailscale.sha256,
        "patches": digest.of_json(patching.patches_identity(PATCHES / go.tailscale.name)),
        "go": go.go.sha256,
        "environment": {"GOARCH": target.goarch, **target.go_env},
        "modules": digest.of_json(modules.identity()) if recipe.modules else "",
        "stdlib": digest.of_json(stdlib.identity()) if recipe.stdlib else "",
        "linker": lean.identity if lean else "",
        "symbols": recipe.symbols,
        "command": compile_words(go, recipe, build_tags, release.long, nowhere),
    }
    if others := substitution.identity(go.tailscale):
        chosen["substitutes"] = others

    # A crash report names the build by this. It is in the binary: that must not change with the
    # machine, nor with a line of this program that has nothing to do with it.
    long = f"{release.long}-{digest.of_json(chosen)[:10]}"
    key = {
        **chosen,
        "trees": go.keys(),
        "modules": modules.key(go) if recipe.modules else "",
        "stdlib": stdlib.key(go) if recipe.stdlib else "",
        "linker": lean.key if lean else "",
    }
    label = label_of(target, recipe)

    def make(out: Path, scratch: Path) -> dict[str, Any]:
        before()
        record = work_dir() / label / "golang.log"
        what = f"tailscaled for {target.name}"
        words = compile_words(go, recipe, build_tags, long, out / "tailscale.combined")
        source = modules.source(go).data if recipe.modules else None
        options = [lean.option()] if lean else []
        options += [stdlib.option(go, scratch)] if recipe.stdlib else []
        words[1:1] = options
        go.run(words, what=what, record=record, scratch=scratch, target=target, cwd=source)
        if not recipe.symbols:
            return {"long": long}
        # The twin: the same packages, out of the compiler's cache, by the toolchain's own linker.
        twin = scratch / "twin"
        words = compile_words(go, replace(recipe, ldflags=("-w",)), build_tags, long, twin)
        words[1:1] = [word for word in options if word.startswith("-overlay")]
        go.run(
            words, what=what, record=record, scratch=scratch, target=target, cwd=source, append=True
        )
        (out / SYMBOLS).write_bytes(symbols.extract(out / "tailscale.combined", twin, long))
        return {"long": long}

    title = f"tailscaled {go.tailscale.version}"
    if recipe != OURS:
        title += f" ({recipe.name})"
    return cache.obtain("golang", label, key, make, title=title)


def fetch_modules(go: Go, target: Target, scratch: Path) -> int:
    """Download every module that a build for the platform reads; returns the number of packages."""
    online = replace(go, offline=False)
    words = ["list", "-deps", f"-tags={','.join([*tags(online), ROOTS_TAG])}", PACKAGE]
    record = work_dir() / target.name / "modules.log"
    what = f"modules for {target.name}"
    printed = online.run(words, what=what, record=record, scratch=scratch, target=target)
    return len(printed.split())


def verify_modules(go: Go, scratch: Path) -> None:
    """Compare the downloaded modules with go.sum. Raises BuildFailed naming an altered one."""
    record = work_dir() / "tags" / "verify.log"
    go.run(["mod", "verify"], what="checking the Go modules", record=record, scratch=scratch)
