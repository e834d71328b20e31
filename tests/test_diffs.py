"""Patches as `diff -u` and git write them, laid over a tree; what is none of them is refused."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from test_archives import tree

from build.core.errors import BuildFailed
from build.sources import patching

OLD = {
    "same.txt": "one\ntwo\n",
    "sub/file.c": "".join(f"line {n}\n" for n in range(1, 60)),
    "sub/gone.c": "int gone;\n",
    "endless.txt": "a\nb",
    "crlf.txt": "a\r\nb\r\nc\r\n",
    "empty.txt": "",
    "filled.txt": "x\n",
}
NEW = OLD | {
    "sub/file.c": OLD["sub/file.c"].replace("line 3\n", "line three\n").replace("line 50\n", ""),
    "sub/deep/fresh.c": "int fresh;\n",
    "endless.txt": "a\nb\nc",
    "crlf.txt": "a\r\nB\r\nc\r\n",
    "empty.txt": "no more\n",
    "filled.txt": "",
}
del NEW["sub/gone.c"]


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def diff(places: Path, old: dict[str, str], new: dict[str, str], *options: str) -> bytes:
    """What the real diff says; `a` and `b` are its folders."""
    for name, files in (("a", old), ("b", new)):
        shutil.rmtree(places / name, ignore_errors=True)
        (places / name).mkdir()
        lay(places / name, files)
    done = subprocess.run(["diff", *options, "a", "b"], cwd=places, capture_output=True)
    assert done.returncode < 2, done.stderr
    return done.stdout


def by_git(places: Path, old: dict[str, str], new: dict[str, str]) -> bytes:
    diff(places, old, new, "-r")
    words = ["git", "diff", "--no-index", "--no-color", "--no-renames", "--no-prefix", "a", "b"]
    done = subprocess.run(words, cwd=places, capture_output=True)
    assert done.returncode < 2, done.stderr
    return done.stdout


def applied(places: Path, old: dict[str, str], patch: bytes) -> dict[str, bytes]:
    root, folder = places / "tree", places / "patches"
    for path in (root, folder):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    lay(root, old)
    (folder / "0001-x.patch").write_bytes(patch)
    patching.apply_patches(root, folder)
    return tree(root)


def encoded(files: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


@pytest.mark.parametrize("options", [["-ruN"], ["-ru0N"], ["-ruNp"]])
def test_what_diff_writes(places: Path, options: list[str]) -> None:
    patch = diff(places, OLD, NEW, *options)
    assert patch.startswith(b"diff -") and b"@@ -0,0" in patch and b"\\ No newline" in patch
    # `diff -N` cannot tell a file that is empty from one that is gone.
    found = applied(places, OLD, patch)
    assert {n: t for n, t in found.items() if t} == {n: t for n, t in encoded(NEW).items() if t}
    assert "sub/gone.c" not in found


def test_a_diff_of_two_files_alone(places: Path) -> None:
    for name, files in (("a", OLD), ("b", NEW)):
        lay(places / name, files)
    words = ["diff", "-u", "a/sub/file.c", "b/sub/file.c"]
    patch = subprocess.run(words, cwd=places, capture_output=True).stdout
    assert patch.startswith(b"--- a/sub/file.c\t"), "no head of git, and a time behind the name"
    assert applied(places, OLD, patch)["sub/file.c"] == NEW["sub/file.c"].encode()


def test_what_git_writes(places: Path) -> None:
    old = {name: text for name, text in OLD.items() if text and NEW.get(name) != ""}
    new = {name: text for name, text in NEW.items() if name in old or name not in OLD}
    assert applied(places, old, by_git(places, old, new)) == encoded(new)


def test_many_changes_come_out_as_with_diff(places: Path) -> None:
    """Two hundred pairs of texts of few different lines, where hunks are easily mistaken."""
    dice = random.Random(9)
    for _ in range(200):
        old, new = (
            "\n".join(dice.choice(("", "a", "b", "-- a", "++ b", "@@", "\\ c")) for _ in range(n))
            for n in (dice.randrange(1, 30), dice.randrange(1, 30))
        )
        width = dice.choice((0, 1, 3))
        if old == new or not old or not new:
            continue
        patch = diff(
            places, {"f": old}, {"f": new}, f"-ruN{width}" if not width else f"-rNU{width}"
        )
        assert applied(places, {"f": old}, patch) == {"f": new.encode()}, patch


HUNK = "@@ -1,2 +1,2 @@\n one\n-two\n+three\n"


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        pytest.param("--- a/../x\n+++ b/../x\n" + HUNK, "leads outside", id="up"),
        pytest.param("--- /etc/x\n+++ /etc/x\n" + HUNK, "leads outside", id="absolute"),
        pytest.param('--- "a/x"\n+++ "b/x"\n' + HUNK, "quotes", id="in quotes"),
        pytest.param("--- a/same.txt\n+++ b/same.txt\n", "should begin", id="no hunk"),
        pytest.param(
            "--- a/same.txt\n+++ b/same.txt\n" + HUNK + "+four\n", "one more", id="a line more"
        ),
        pytest.param(
            "--- a/same.txt\n+++ b/same.txt\n@@ -1,2 +1,2 @@\n one\n-two\n",
            "ends within",
            id="a line less",
        ),
        pytest.param(
            "--- a/same.txt\n+++ b/same.txt\n@@ -1 +1 @@ x\n-won\n+x\n",
            "does not apply to same.txt",
            id="another line",
        ),
        pytest.param(
            "--- a/link\n+++ b/link\n" + HUNK, "does not apply to link", id="through a link"
        ),
        pytest.param(
            "diff --git a/same.txt b/x.txt\nsimilarity index 100%\nrename from same.txt\n"
            "rename to x.txt\n",
            "only git can",
            id="renamed",
        ),
        pytest.param(
            "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n"
            "@@ -0,0 +1 @@\n+/etc/passwd\n",
            "only git can",
            id="a new link",
        ),
        pytest.param("Binary files a/x and b/x differ\n", "only git can", id="binary"),
    ],
)
def test_a_patch_that_is_refused_changes_nothing(places: Path, patch: str, says: str) -> None:
    root, folder = lay(places / "tree", OLD), places / "patches"
    outside = places / "outside"
    outside.write_text("one\ntwo\n")
    (root / "link").symlink_to(outside)
    before = tree(root)
    # A good one before it, of which nothing must be left either.
    good = "--- a/same.txt\n+++ b/same.txt\n@@ -1,2 +1,3 @@\n+zero\n one\n two\n"
    lay(folder, {"0001-good.patch": good, "0002-bad.patch": patch})
    with pytest.raises(BuildFailed) as caught:
        patching.apply_patches(root, folder)
    assert says in str(caught.value)
    assert "0002-bad.patch" in str(caught.value)
    assert tree(root) == before
    assert outside.read_text() == "one\ntwo\n"
