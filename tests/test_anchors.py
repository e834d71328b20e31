"""What we rely on in upstream: what only moved is found, what changed stops and is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.bump import bump, impact, relied
from build.config import anchors
from build.config.pins import Pin, pin
from build.core import paths
from build.core.errors import BuildFailed, UserError
from build.golang import named
from build.pipeline import order
from build.sources import anchoring, constraints, diffs, obtain, patching
from build.sources.declarations import declarations, identity

SOURCE = """// A licence.
package p

import "fmt"

const bufSize = 64 // bytes

const (
	zero = iota
	one
)

type (
	pair struct{ a, b int }
)

var x, y = `{`, '}'

// f says hello.
func f(a int) string {
	return fmt.Sprint("}", a) // {
}

func (p *pair) f() {}
func (l list[T]) get(i int) T { return l[i] }
"""


def test_declarations_are_found_by_name() -> None:
    found = declarations(SOURCE)
    assert set(found) == {*"f x y zero one pair bufSize".split(), "pair.f", "list.get"}
    assert found["zero"] == found["one"]
    assert found["f"] == 'func f ( a int ) string { return fmt . Sprint ( "}" , a ) }'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("// f says hello.", "/* f\nsays\nmore. */"),
        ("func f(a int)", "func f(\n\ta int,\n)"),
        ("package p", "package p\n\nfunc other() {}\n"),
        ("\treturn", "        return"),
    ],
)
def test_layout_and_comments_do_not_count(old: str, new: str) -> None:
    assert old in SOURCE
    assert declarations(SOURCE.replace(old, new))["f"] == declarations(SOURCE)["f"]


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ('"}"', '"} "', "f"),
        ("a int", "b int", "f"),
        ("64", "65", "bufSize"),
        ("\tone", "\thalf\n\tone", "one"),
        ("a, b int", "a, b, c int", "pair"),
    ],
)
def test_what_a_declaration_says_counts(old: str, new: str, name: str) -> None:
    assert old in SOURCE
    assert declarations(SOURCE.replace(old, new))[name] != declarations(SOURCE)[name]


@pytest.mark.parametrize("text", ["func f() {", "func f() }", "func (", "func ( {}"])
def test_what_is_no_go(text: str) -> None:
    with pytest.raises(BuildFailed, match="no Go source"):
        declarations(text)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a table with one anchor, on f in p.go of the source `s`."""
    path = tmp_path / "anchors.toml"
    path.write_text(
        '[[anchor]]\nsource = "s"\nfile = "p.go"\ndeclaration = "f"\nby = "patches/s"\n'
        f'why = "it says hello"\nsha256 = ["{identity(declarations(SOURCE)["f"])}"]\n'
    )
    monkeypatch.setattr(anchors, "of", lambda source: anchors.load(path))
    return path


def test_a_file_may_change_around_a_declaration(tmp_path: Path, table: Path) -> None:
    (tmp_path / "p.go").write_text(SOURCE.replace("bufSize = 64", "bufSize = 65"))
    anchoring.require("s", tmp_path)


@pytest.mark.parametrize("kind", ["changed", "gone", "no file"])
def test_a_changed_declaration_stops_and_is_shown(tmp_path: Path, table: Path, kind: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    (old / "p.go").write_text(SOURCE)
    text = SOURCE.replace('Sprint("}"', 'Sprint("hi"')
    if kind != "no file":
        (new / "p.go").write_text(SOURCE.replace("func f(", "func g(") if kind == "gone" else text)
    with pytest.raises(BuildFailed, match=r"p.go: f: wanted .*it says hello"):
        anchoring.require("s", new)
    (said,) = anchoring.faults("s", new, old)
    assert '-return fmt . Sprint ( "}" , a )' in said or "-func f" in said
    assert ('Sprint ( "hi" , a )' in said) == (kind == "changed")


def test_a_table_that_says_nonsense(tmp_path: Path, table: Path) -> None:
    table.write_text(table.read_text().replace('file = "p.go"', 'file = "../p.go"'))
    with pytest.raises(UserError, match="file"):
        anchors.load(table)


def test_every_anchor_names_what_there_is() -> None:
    root = Path(__file__).resolve().parent.parent
    for anchor in anchors.load():
        assert (root / anchor.by).exists(), anchor.by


LINES = [f"line {n}" for n in range(40)]


def patched(before: list[str], tmp_path: Path) -> list[patching.Placed]:
    """Apply a patch made for LINES, with two hunks, to other lines."""
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "a.patch").write_text(
        "--- a/f\n+++ b/f\n@@ -10,3 +10,4 @@\n line 9\n-line 10\n+LINE 10\n+more\n line 11\n"
        "@@ -31,2 +32,2 @@\n line 30\n-line 31\n+LINE 31\n"
    )
    (tmp_path / "f").write_text("\n".join(before) + "\n")
    return patching.apply_patches(tmp_path, folder)


def test_a_hunk_that_moved_is_found(tmp_path: Path) -> None:
    placed = patched(["new"] * 7 + LINES, tmp_path)
    assert [(row.stated, row.found) for row in placed] == [(10, 17), (31, 38)]
    text = (tmp_path / "f").read_text()
    assert "line 9\nLINE 10\nmore\nline 11\n" in text
    assert "line 30\nLINE 31\nline 32\n" in text


@pytest.mark.parametrize(
    "before",
    [
        [*LINES[:10], "line ten", *LINES[11:]],
        [*LINES[:9], "x", *LINES[9:20], *LINES[9:12], *LINES[20:]],
        LINES[30:] + LINES[:30],
    ],
    ids=["changed", "twice, and not where it was", "in another order"],
)
def test_a_hunk_that_has_no_place_of_its_own(tmp_path: Path, before: list[str]) -> None:
    with pytest.raises(BuildFailed, match="does not apply to f") as caught:
        patched(before, tmp_path)
    assert (tmp_path / "f").read_text() == "\n".join(before) + "\n"
    if "line ten" in before:
        assert "    +line ten" in caught.value.why


def test_a_patch_is_renumbered(tmp_path: Path) -> None:
    patched(LINES, tmp_path)
    (tmp_path / "f").write_text("\n".join(["new"] * 7 + LINES) + "\n")
    patching.renumber(tmp_path, tmp_path / "patches")
    text = (tmp_path / "patches" / "a.patch").read_text()
    assert "@@ -17,3 +17,4 @@\n line 9\n" in text
    assert "@@ -38,2 +39,2 @@\n line 30\n" in text
    placed = patching.apply_patches(tmp_path, tmp_path / "patches", commit=False)
    assert all(row.stated == row.found for row in placed)
    assert diffs.parse(text.encode(), "a.patch")


def test_a_constraint_is_added_to_whatever_there_is() -> None:
    text = "//go:build (!arm64 && !s390x) || purego\n\npackage p\n"
    wanted = "//go:build ((!arm64 && !s390x) || purego) && (!arm || mt_x)\n\npackage p\n"
    assert constraints.add(text, "!arm || mt_x") == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("package p\n", "0 build constraints"),
        ("//go:build !arm\n\npackage p\n", "speaks of arm"),
        ("package p\n\n//go:build linux\n", "0 build constraints"),
    ],
)
def test_a_constraint_that_cannot_be_added(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        constraints.add(text, "!arm || mt_x")


def test_a_bump_tells_every_patch_that_misses_and_what_changed(
    tmp_path: Path, places: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folders = (tmp_path / "patches" / "one", tmp_path / "patches" / "two")
    for folder in folders:
        folder.mkdir(parents=True)
        diff = "--- a/p.go\n+++ b/p.go\n@@ -1,2 +1,2 @@\n // A licence.\n-package p\n+package q\n"
        (folder / f"{folder.name}.patch").write_text(diff)
    trees = {
        "1": SOURCE,
        "3": f"// One.\n\n{SOURCE}",
        "2": SOURCE.replace("a int", "b int").replace("package p", "package r"),
    }

    def sources(pin: Pin, go: object, scratch: Path) -> Iterator[relied.Source]:
        (scratch / "p.go").write_text(trees[pin.version])
        yield relied.Source("s", scratch, folders)

    monkeypatch.setattr(relied, "sources", sources)
    before, after, below = (dataclasses.replace(pin("busybox"), version=one) for one in "123")
    assert impact.of_patches(before, before) == ([], [])
    assert impact.of_patches(before, below) == (
        [],
        [f"patches/{name}/{name}.patch: p.go: 1 -> 3" for name in ("one", "two")],
    )
    assert impact.of(before, below).moved[0] in "".join(
        bump.summary(bump.Bump(before, below, impact=impact.of(before, below)))
    )
    (changed, *missing), moved = impact.of_patches(before, after)
    assert moved == []
    assert "+func f ( b int ) string {" in changed
    assert [line.partition(" does not apply")[0] for line in missing] == [
        "patch one.patch",
        "patch two.patch",
    ]


def test_a_pin_that_we_rely_on_in_nothing_is_not_fetched(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obtain, "fetch", None)
    monkeypatch.setattr(obtain, "tree", None)
    assert list(relied.sources(pin("busybox"), order.go_command(), tmp_path)) == []


@pytest.mark.slow
def test_all_holds_in_the_pinned_sources(shared_cache: Path) -> None:
    rows = relied.places()
    assert {row.kind for row in rows} == {"declaration", "lines", "constraint", "feature"}
    # What merely moved is placed by its context; after a bump some of it has.
    # A feature may be gone too: then there is nothing that we have to refuse.
    firm = [row for row in rows if row.kind != "feature"]
    assert not [row for row in firm if row.state != "holds" and not row.state.startswith("moved")]


@pytest.mark.slow
def test_a_place_that_changed_is_named(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = anchors.of("go")[0]
    wrong = dataclasses.replace(known, sha256=("0" * 64,))
    gone = dataclasses.replace(known, declaration="isNoFunction")
    monkeypatch.setattr(anchors, "of", lambda source: [wrong, gone] if source == "go" else [])
    states = [row.state for row in relied.places() if row.kind == "declaration"]
    assert states == ["changed", "gone"]


# --- features that our files name -----------------------------------------------------------------


def test_a_feature_that_a_version_lacks_is_none_to_be_refused(tmp_path: Path) -> None:
    package = tmp_path / named.PACKAGE
    package.mkdir(parents=True)
    wanted = list(named.constants(tmp_path))
    assert "HasSSH" in wanted and not any(named.constants(tmp_path).values())
    for name in wanted[1:]:
        (package / f"feature_{name.lower()}_enabled.go").write_text(
            f"//go:build !ts_omit\n\npackage buildfeatures\n\nconst {name} = true\n"
        )
    assert named.declare(tmp_path) == wanted[:1]
    (made,) = set(package.iterdir()) - set(package.glob("*_enabled.go"))
    assert f"\nconst {wanted[0]} = true\n" in made.read_text()
    assert named.declare(tmp_path) == wanted[:1], "again: what we declared is not upstream's"


def test_nothing_is_declared_where_all_are_there(tmp_path: Path) -> None:
    package = tmp_path / named.PACKAGE
    package.mkdir(parents=True)
    text = "".join(f"const {name} = false\n" for name in named.constants(tmp_path))
    (package / "all.go").write_text(text)
    assert named.declare(tmp_path) == []
    assert [path.name for path in package.iterdir()] == ["all.go"]
