"""The code of this repository as an input: what stands for it in the keys of what it makes.

A stage's code is the module of its builder and everything that this imports from `build`, found in
the syntax tree, in functions too. Left out is what cannot change an object: comments, docstrings,
what is said to `core.log`, and modules that state in a constant UNKEYED why they do not count. The
versions of Python and of the packages that the modules import count as well.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from build.core import digest
from build.core.paths import ROOT, cache_dir

MARK = "UNKEYED"
_MEMO = "code.json"
_LOG = "build.core.log"


@dataclass(frozen=True)
class Module:
    """One source file: digest of what it does, modules of `build` and packages it imports."""

    digest: str
    imports: tuple[str, ...]
    packages: tuple[str, ...]
    counts: bool


class _Meaning(ast.NodeTransformer):
    """Takes out of a syntax tree what decides nothing."""

    def __init__(self, log: str) -> None:
        self.log = log

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # A text that stands alone is the documentation of the name above it.
        return None if _is_text(node) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id == self.log
        ):
            return ast.Call(function, [], [])
        return self.generic_visit(node)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def read(source: str) -> Module:
    """Return what a source file means for keys."""
    tree = ast.parse(source)
    imports: set[str] = set()
    packages: set[str] = set()
    log = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from build.core import log` names a module, `from build.core.log import x` is one.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for alias in node.names:
                if f"{node.module}.{alias.name}" == _LOG:
                    log = alias.asname or alias.name
        else:
            continue
        ours = {name for name in names if name.split(".")[0] == "build"}
        imports |= ours
        packages |= {name.split(".")[0] for name in set(names) - ours}
    counts = not any(
        isinstance(node, ast.Assign)
        and any(isinstance(name, ast.Name) and name.id == MARK for name in node.targets)
        for node in tree.body
    )
    meaning = ast.dump(_Meaning(log).visit(tree))
    foreign = packages - sys.stdlib_module_names - {"__future__"}
    return Module(
        digest.of_bytes(meaning.encode())[:16],
        tuple(sorted(imports)),
        tuple(sorted(foreign)),
        counts,
    )


class _Memo:
    """What `read` said of files before, by their content: parsing takes longer than a no-op may."""

    def __init__(self) -> None:
        self.path = cache_dir() / _MEMO
        # Another Python has other syntax trees; other rules of ours another meaning.
        self.salt = [platform.python_version(), digest.of_file(Path(__file__))]
        self.fresh = False
        self.rows: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.path.read_bytes())
            self.rows = dict(found["rows"]) if found["salt"] == self.salt else {}

    def read(self, path: Path) -> Module:
        source = path.read_bytes()
        name = digest.of_bytes(source)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            meaning, imports, packages, counts = self.rows[name]
            return Module(str(meaning), tuple(imports), tuple(packages), bool(counts))  # type: ignore[arg-type]
        self.fresh = True
        module = read(source.decode())
        self.rows[name] = [module.digest, module.imports, module.packages, module.counts]
        return module

    def write(self) -> None:
        """Keep what was read, if the cache can be written: it only saves time."""
        if not self.fresh or not self.path.parent.is_dir():
            return
        beside = self.path.with_name(f"{_MEMO}.{os.getpid()}")
        with contextlib.suppress(OSError):
            beside.write_text(json.dumps({"salt": self.salt, "rows": self.rows}))
            beside.rename(self.path)
            self.fresh = False


@functools.cache
def _modules() -> dict[str, Module]:
    """All modules of `build` by name; read once in a process, which runs what it read."""
    memo = _Memo()
    found = {}
    for path in sorted((ROOT / "build").rglob("*.py")):
        if path.name != "__init__.py":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name] = memo.read(path)
    memo.write()
    return found


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, [])
        return " ".join(importlib.metadata.version(name) for name in sorted(set(names)))


@functools.cache
def identity(module: str) -> dict[str, str]:
    """Return what stands for a module and everything below it: {module or package: digest}.

    Empty for code that is not of `build`, such as a test's.
    """
    known = _modules()
    if module not in known:
        return {}
    seen: set[str] = set()
    waiting = [module]
    packages: set[str] = set()
    while waiting:
        name = waiting.pop()
        # A name inside a module, such as a function, is no module.
        if name in seen or name not in known or not (known[name].counts or name == module):
            continue
        seen.add(name)
        waiting += known[name].imports
        packages |= set(known[name].packages)
    rows = {name.removeprefix("build."): known[name].digest for name in seen}
    rows |= {package: _version(package) for package in packages}
    return dict(sorted(rows.items())) | {"python": platform.python_version()}
