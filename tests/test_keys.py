"""Keys see everything: each kind of input, edited in a copy, makes exactly the right stages run.

No stage runs here: `fakes/plan.py` has the pipeline state the keys of all of them.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import programs

from build.config.pins import pins
from build.config.targets import targets
from build.core import cache, code, paths
from build.lab import boot
from build.sources import obtain

ROOT = Path(__file__).resolve().parent.parent
PLAN = ROOT / "tests" / "fakes" / "plan.py"
TARGETS = list(targets())
PACK = ("compress-busybox", "compress-tailscale.combined")

Plan = dict[str, dict[str, str]]


def each(*stages: str) -> set[str]:
    """The stages that run once for each platform, for all of them."""
    return {f"{stage} {target}" for stage in stages for target in TARGETS}


ONCE = {
    "tags all",
    "modules all",
    "stdlib all",
    "linker tools",
    "lab servers",
    "upx tools",
    "xz tools",
    "buildx all",
}
GUESTS = {f"lab {name}" for name in boot.MODELS}
MACHINES = {f"machine {name}" for name in boot.MODELS}
SOURCES = {f"source {name}" for name in pins()}
ALL = SOURCES | ONCE | GUESTS | MACHINES | each("golang", "busybox", "stub", *PACK, "image", "sbom")
GO = (
    {"tags all", "modules all", "stdlib all", "linker tools", "lab servers"}
    | GUESTS
    | each("golang", "sbom")
)
HOST = {"upx tools", "xz tools"}
"""Programs for this machine, made of C."""
IMAGE = each("image") | {"buildx all"}


def closure(stages: Iterable[str]) -> set[str]:
    """These stages and all whose inputs are their output."""
    found = set(stages)
    for target in TARGETS:
        if found & {f"golang {target}", f"stub {target}", "xz tools"}:
            found.add(f"compress-tailscale.combined {target}")
        if found & {f"busybox {target}", f"stub {target}", "xz tools"}:
            found.add(f"compress-busybox {target}")
        if found & {f"{pack} {target}" for pack in PACK}:
            found |= {f"image {target}", "buildx all"}
        if found & {f"golang {target}", f"image {target}"}:
            found.add(f"sbom {target}")
        if f"lab {target}" in found:
            found.add(f"machine {target}")
    return found


@dataclass
class Copy:
    """A copy of what builds read, to be edited."""

    root: Path
    path: str = os.environ["PATH"]

    def plan(self, *blind: str) -> Plan:
        env = {
            "PATH": self.path,
            "PYTHONPATH": str(self.root),
            "MT_CACHE": str(self.root.parent / "cache"),
            "MT_DIST": str(self.root.parent / "dist"),
            "MT_WORK": str(self.root.parent / "work"),
            "HOME": str(self.root.parent),
        }
        argv = [sys.executable, str(PLAN), *blind]
        done = subprocess.run(argv, cwd=self.root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def replace(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert old in text, f"{file} has no {old!r}: correct this test"
        (self.root / file).write_text(text.replace(old, new, 1))

    def append(self, file: str, text: str) -> None:
        place = self.root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a") as stream:
            stream.write(text)

    def pin(self, name: str, pattern: str, new: str) -> None:
        """Change what `pattern` matches in a pin's block."""
        file = self.root / "build" / "data" / "pins.toml"
        before, mark, after = file.read_text().partition(f"\n[{name}]\n")
        assert mark
        changed, count = re.subn(pattern, new, after, count=1, flags=re.MULTILINE)
        assert count
        file.write_text(before + mark + changed)

    def sha256(self, name: str) -> None:
        self.pin(name, r'^sha256 = ".{8}', 'sha256 = "00000000')

    def code(self, module: str) -> None:
        self.append(f"build/{module}.py", "\nADDED = 1\n")

    def host(self, name: str) -> None:
        folder = self.root.parent / "bin"
        programs.program(folder, name)
        self.path = f"{folder}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("keys") / "checkout"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("build", "patches"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ("LICENSE", "README.md", "busybox-applets.config"):
        shutil.copy(ROOT / name, root / name)
    (root.parent / "cache").mkdir()
    return Copy(root)


@pytest.fixture(scope="module")
def before(original: Copy) -> Plan:
    return original.plan()


@pytest.fixture
def copy(original: Copy, places: Path) -> Copy:
    shutil.copytree(original.root, places / "checkout", symlinks=True)
    (places / "cache").mkdir()
    with contextlib.suppress(FileNotFoundError):  # saves time
        shutil.copy(original.root.parent / "cache" / "code.json", places / "cache")
    return Copy(places / "checkout")


def run(before: Plan, after: Plan) -> dict[str, set[str]]:
    """The stages whose keys differ, by what their outputs are supposed to do."""
    return {
        case: {name for name in ALL if before[case][name] != after[case].get(name)}
        for case in ("same", "worst")
    }


Edit = Callable[[Copy], None]

EDITS: dict[str, tuple[Edit, set[str]]] = {
    # code of a stage, code below it
    "a stage's own code": (lambda c: c.code("native/busybox"), each("busybox")),
    "code of the C stages": (lambda c: c.code("native/crosscc"), each("busybox", "stub") | HOST),
    "code of packing": (lambda c: c.code("native/compress"), each(*PACK)),
    "code of our packer": (lambda c: c.code("native/packer"), each(*PACK)),
    "code of building UPX": (lambda c: c.code("native/upx"), {"upx tools"}),
    "code of building xz": (lambda c: c.code("native/xz"), {"xz tools"}),
    "code of building either": (lambda c: c.code("native/hostprogram"), HOST),
    "code of building the unpacker": (lambda c: c.code("native/stub"), each("stub")),
    "the unpacker": (lambda c: c.append("build/native/stub/unpack.c", "\n"), each("stub")),
    "code of the linker": (
        lambda c: c.code("golang/linker"),
        {"linker tools"} | each("golang"),
    ),
    "code of the standard library": (
        lambda c: c.code("golang/stdlib"),
        {"stdlib all", "tags all"} | each("golang"),
    ),
    "code of patched modules": (
        lambda c: c.code("golang/unsign"),
        {"modules all", "tags all"} | each("golang", "sbom"),
    ),
    "code of the symbols": (
        lambda c: c.code("golang/symbols"),
        {"tags all"} | each("golang"),
    ),
    "code of the image": (lambda c: c.code("image/oci"), IMAGE),
    "code of the root file system": (lambda c: c.code("image/rootfs"), IMAGE),
    "code of the other assembler": (lambda c: c.code("image/buildx"), {"buildx all"}),
    "code of the SBOM": (lambda c: c.code("sbom/inventory"), each("sbom")),
    "code of the laboratory's servers": (
        lambda c: c.code("lab/servers"),
        {"lab servers"} | GUESTS,
    ),
    "code of the machine": (lambda c: c.code("lab/boot"), MACHINES),
    "code of unpacking": (
        lambda c: c.code("sources/archives"),
        SOURCES | GO | each("busybox", "stub") | HOST | {"buildx all"},
    ),
    "code below everything": (lambda c: c.code("core/digest"), ALL),
    "code of running programs": (
        lambda c: c.code("core/command"),
        GO | each("busybox", "stub", *PACK) | HOST | {"buildx all"},
    ),
    # what is code and decides nothing
    "a comment": (lambda c: c.append("build/core/digest.py", "\n# more\n"), set()),
    "a docstring": (
        lambda c: c.replace("build/core/digest.py", '"""Return the SHA', '"""Give the SHA'),
        set(),
    ),
    "what a step is called": (
        lambda c: c.replace("build/core/cache.py", "waiting for another", "awaiting another"),
        set(),
    ),
    "code of telling": (lambda c: c.code("core/log"), set()),
    "code of explaining": (lambda c: c.code("core/why"), set()),
    "code of pruning": (lambda c: c.code("core/upkeep"), set()),
    "code of fetching": (lambda c: c.code("sources/obtain"), set()),
    "code of a gate": (lambda c: c.code("gates/size"), set()),
    "code of a command": (lambda c: c.code("commands/building"), set()),
    "the README": (lambda c: c.append("README.md", "\nmore\n"), set()),
    # patches
    "a patch of busybox": (
        lambda c: c.append("patches/busybox/a.patch", "x"),
        {"source busybox"} | each("busybox", "sbom"),
    ),
    "a patch of UPX": (
        lambda c: c.append("patches/upx/a.patch", "x"),
        {"source upx", "upx tools"} | each("sbom"),
    ),
    "a patch of zig": (
        lambda c: c.append("patches/zig/a.patch", "x"),
        {"source zig"} | HOST | each("busybox", "stub", "sbom"),
    ),
    "a patch of Tailscale": (
        lambda c: c.append("patches/tailscale/resolv-dir.patch", "\n"),
        {"source tailscale"} | GO,
    ),
    "a patch of a Go module": (
        lambda c: c.append("patches/modules/golang.org/x/crypto/constraints.toml", "\n"),
        {"modules all"} | each("golang", "sbom"),
    ),
    "a patch of the linker": (
        lambda c: c.append("patches/linker/0001-cmd-link-leave-out-line-tables.patch", "\n"),
        {"linker tools"} | each("golang", "sbom"),
    ),
    "a patch of the standard library": (
        lambda c: c.append("patches/stdlib/0001-p256-table-at-first-use.patch", "\n"),
        {"stdlib all"} | each("golang", "sbom"),
    ),
    "what puts the linker in place": (
        lambda c: c.append("patches/linker/toolexec/main.go", "\n"),
        {"linker tools"} | each("golang", "sbom"),
    ),
    # pins
    "the pin of busybox": (
        lambda c: c.sha256("busybox"),
        {"source busybox"} | each("busybox", "sbom"),
    ),
    "the pin of UPX": (lambda c: c.sha256("upx"), {"source upx", "upx tools"}),
    "the pin of xz": (lambda c: c.sha256("xz"), {"source xz", "xz tools"}),
    "the pin of cmake": (lambda c: c.sha256("cmake"), {"source cmake"} | HOST),
    "the pin of zig": (
        lambda c: c.sha256("zig"),
        {"source zig"} | HOST | each("busybox", "stub", "sbom"),
    ),
    "the pin of Go": (lambda c: c.sha256("go"), {"source go"} | GO),
    "the pin of Tailscale": (lambda c: c.sha256("tailscale"), {"source tailscale"} | GO),
    "the go command that fetches": (lambda c: c.sha256("go-bootstrap"), {"source go-bootstrap"}),
    "the time of the image": (
        lambda c: c.pin("tailscale", r"^epoch = .*$", "epoch = 1790285918"),
        IMAGE | each("sbom"),
    ),
    "why something is pinned": (lambda c: c.pin("zig", '^why = "', 'why = "mark: '), set()),
    # features, applets, targets, root file system, licences
    "a verdict": (
        lambda c: c.replace("build/data/features.toml", 'verdict = "in"', 'verdict = "out"'),
        {"tags all"} | each("golang"),
    ),
    "the reason of a verdict": (
        lambda c: c.replace("build/data/features.toml", 'reason = "', 'reason = "mark: '),
        set(),
    ),
    "an applet": (
        lambda c: c.append("busybox-applets.config", "\nXXD=y\n"),
        each("busybox"),
    ),
    "a comment beside the applets": (
        lambda c: c.append("busybox-applets.config", "\n# more\n"),
        set(),
    ),
    "a platform's C compiler": (
        lambda c: c.replace("build/data/targets.toml", "cortex_a7", "cortex_a9"),
        {"busybox armv7", "stub armv7"},
    ),
    "a platform's Go compiler": (
        lambda c: c.replace("build/data/targets.toml", 'GOARM64 = "v8.0"', 'GOARM64 = "v8.1"'),
        {"golang arm64", "lab arm64"},
    ),
    "a platform's variant": (
        lambda c: c.replace("build/data/targets.toml", 'oci_variant = "v7"', 'oci_variant = "v8"'),
        {"image armv7"},
    ),
    "a platform's name": (
        lambda c: c.replace("build/data/targets.toml", '"linux/arm/v7"', '"linux/arm/v8"'),
        {"sbom armv7", "buildx all"},
    ),
    "a cap": (
        lambda c: c.replace("build/data/targets.toml", "cap_rootfs = ", "cap_rootfs = 1"),
        set(),
    ),
    "a mode in the root file system": (
        lambda c: c.replace("build/data/rootfs.toml", "0o1777", "0o1775"),
        IMAGE,
    ),
    "the image's configuration": (
        lambda c: c.replace("build/data/rootfs.toml", "env = [", 'env = ["A=b", '),
        IMAGE,
    ),
    "the entrypoint": (lambda c: c.append("build/data/rootfs/entrypoint.sh", "\n:\n"), IMAGE),
    "a licence": (
        lambda c: c.replace("build/data/licences.toml", 'licence = "', 'licence = "Zlib AND '),
        each("sbom"),
    ),
    "our own licence": (lambda c: c.append("LICENSE", "\nmore\n"), each("sbom")),
    "the laboratory's servers": (
        lambda c: c.append("build/lab/server/control.go", "\n"),
        {"lab servers"},
    ),
    "the laboratory's probes": (
        lambda c: c.append("build/lab/server/guest.go", "\n"),
        {"lab servers"} | GUESTS,
    ),
    "what a machine does at boot": (
        lambda c: c.append("build/lab/machine/init.sh", "\n"),
        MACHINES,
    ),
    "the pin of a machine's kernel": (
        lambda c: c.replace("build/data/machine.toml", 'sha256 = "4a2866', 'sha256 = "4a2867'),
        {"machine armv7", "machine armv5"},
    ),
    # the machine
    "a program that builds see": (lambda c: c.host("make"), each("busybox") | HOST),
    "a program that they don't see": (lambda c: c.host("gcc"), set()),
}


@pytest.mark.parametrize("name", EDITS)
def test_exactly_the_right_stages_run(copy: Copy, before: Plan, name: str) -> None:
    edit, expected = EDITS[name]
    edit(copy)
    found = run(before, copy.plan())
    assert found["same"] == expected
    assert found["worst"] == closure(expected), "and what comes after them"


def test_the_plan_has_every_stage_and_is_the_same_twice(copy: Copy, before: Plan) -> None:
    assert before["same"].keys() == ALL
    assert copy.plan() == before, "another place, the same keys"


@pytest.mark.parametrize(
    ("blind", "name"),
    [("code", "code of the C stages"), ("code", "code of the SBOM"), ("trees", "a patch of UPX")],
)
def test_the_table_sees_what_a_key_does_not(copy: Copy, blind: str, name: str) -> None:
    """Negative control: keys without the code, or with a pin for its patched tree, fail above."""
    before = copy.plan(blind)
    edit, expected = EDITS[name]
    edit(copy)
    assert run(before, copy.plan(blind))["same"] != expected


# --- what counts as code --------------------------------------------------------------------------


def meaning(source: str) -> str:
    return code.read(source).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1\n", "# why\nx   =   1\n"),
        ("def f():\n    return 1\n", 'def f():\n    """Text."""\n    return 1\n'),
        ("x = 1\n", 'x = 1\n"""What x is."""\n'),
        (
            "from build.core import digest, log, why\nlog.note('a')\n",
            "from build.core import digest, log, why\nlog.note('b')\n",
        ),
        (
            "from build.core import log\nlog.note('a', 'b')\n",
            "from build.core import log\nlog.note('a', f'c {1}')\n",
        ),
        (
            "from build.core import log\nwith log.step('a', 'b'):\n    f()\n",
            "from build.core import log\nwith log.step('a', 'c'):\n    f()\n",
        ),
    ],
)
def test_what_does_not_count(one: str, other: str) -> None:
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1\n", "x = 2\n"),
        ("x = 'a'\n", "x = 'b'\n"),
        ("f('text')\n", "f('other')\n"),
        ("log.note('a')\n", "log.note('b')\n"),  # some other log
        ("def f(a=1): ...\n", "def f(a=2): ...\n"),
        (
            "from build.core import log\nwith log.step('a', 'b'):\n    f()\n",
            "from build.core import log\nwith log.step('a', 'b'):\n    g()\n",
        ),
        ("from build.core import log\nlog.note('a')\n", "from build.core import log\n"),
    ],
)
def test_what_counts(one: str, other: str) -> None:
    assert meaning(one) != meaning(other)


def test_imports_are_found_wherever_they_stand() -> None:
    found = code.read(
        "import build.a\nfrom build.b import c\ndef f():\n    from build.d.e import g\n"
        "    import deflate, os\n"
    )
    assert {"build.a", "build.b.c", "build.d.e"} <= set(found.imports)
    assert found.packages == ("deflate",)


def test_the_versions_of_python_and_packages_count() -> None:
    found = code.identity("build.image.oci")
    assert found["python"] == "{}.{}.{}".format(*sys.version_info)
    assert re.fullmatch(r"[\d.]+", found["deflate"])
    assert re.fullmatch(r"[\d.]+", code.identity("build.sbom.document")["cyclonedx"])
    assert all(code.identity("build.pipeline.order").values()), "each package has a version"


def test_code_that_is_not_ours_has_no_identity() -> None:
    assert code.identity(__name__) == {}


def test_a_damaged_memo_is_made_again(places: Path) -> None:
    memo = places / "cache" / "code.json"
    memo.parent.mkdir()
    code._modules.cache_clear()
    wanted = code._modules()
    whole = memo.read_text()
    for text in ("", "{", "[]", '{"salt": 1}', whole.replace('"rows"', '"row"'), "\udcff"):
        memo.write_bytes(text.encode(errors="surrogateescape"))
        code._modules.cache_clear()
        assert code._modules() == wanted
        assert memo.read_text() == whole


def builders(source: str) -> list[str]:
    """What is wrong with the calls of `cache.obtain` in a module: the builder must be its own."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cache.obtain"
    ]
    return [
        ast.unparse(call)
        for call in calls
        if not (isinstance(call.args[3], ast.Name) and call.args[3].id in own)
    ]


def test_each_builder_is_a_function_of_its_stages_module() -> None:
    """The module of the builder is the code that counts."""
    users = {
        path.relative_to(ROOT / "build").as_posix()
        for path in (ROOT / "build").rglob("*.py")
        if "cache.obtain(" in path.read_text()
    }
    assert len(users) == 13, "and the plan above asks for each of them"
    for user in users:
        assert builders((ROOT / "build" / user).read_text()) == []
    assert builders("cache.obtain('a', 'b', {}, elsewhere.make)")
    assert builders("import functools\ncache.obtain('a', 'b', {}, functools.partial(make, 1))")


def test_few_modules_are_left_out_of_keys_each_with_its_reason() -> None:
    left_out = {}
    for path in sorted((paths.ROOT / "build").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == code.MARK:
                left_out[path.relative_to(ROOT / "build").as_posix()] = ast.literal_eval(node.value)
    assert left_out.keys() == {
        "core/log.py",
        "core/redact.py",
        "core/why.py",
        "core/workers.py",
        "sources/clients.py",
        "sources/download.py",
        "sources/obtain.py",
    }
    assert all(len(reason) > 20 for reason in left_out.values())


# --- the real thing -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.nightly
def test_a_patch_of_busybox_reaches_the_image(copy: Copy, places: Path, shared_cache: Path) -> None:
    """The whole pipeline: the stages that run, the program that comes out, and the SBOM agree."""
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy.root / name)
    env = {**os.environ, "PYTHONPATH": str(copy.root), "MT_CACHE": str(shared_cache)}

    def build() -> list[str]:
        argv = [sys.executable, "-m", "invoke", "build", "--arch", "amd64", "--json"]
        done = subprocess.run(argv, cwd=copy.root, env=env, capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr
        return sorted(json.loads(done.stdout)["ran"])

    build()
    assert build() == [], "negative control: unchanged, nothing runs"
    source = (obtain.tree(pins()["busybox"]).data / "libbb" / "appletlib.c").read_text()
    changed = source.replace(" multi-call binary.", " patched by a test.")
    assert changed != source
    lines = difflib.unified_diff(
        source.splitlines(keepends=True),
        changed.splitlines(keepends=True),
        "a/libbb/appletlib.c",
        "b/libbb/appletlib.c",
    )
    copy.append("patches/busybox/banner.patch", "".join(lines))
    made = []
    try:
        ran = build()
        assert ran == [f"{s} amd64" for s in ("busybox", "compress-busybox", "image", "sbom")]
        for stage in ("busybox", "compress-busybox", "image", "sbom"):
            inputs = json.loads((places / "work" / "amd64" / f"{stage}.inputs.json").read_text())
            entry = cache.find(stage, cache.key_of(stage, inputs))
            assert entry
            made.append(entry)
        assert b"patched by a test" in (made[0].data / "busybox").read_bytes()
        assert "patches/busybox/banner.patch" in (made[3].data / "sbom.cdx.json").read_text()
    finally:
        for entry in made:
            cache.discard(entry)
