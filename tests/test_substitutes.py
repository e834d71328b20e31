"""Substitutes for Go modules that cannot be had: where they are in force, and when they go."""

from __future__ import annotations

import dataclasses
import subprocess
import zipfile
from pathlib import Path

import pytest
from test_bump import git, laid_out

from build.bump import along, bump, candidate, changes, impact
from build.bump.candidate import Candidate
from build.commands import inputs
from build.config import pins, substitutes
from build.config.pins import Pin, pin
from build.config.substitutes import Substitute
from build.core import digest
from build.core.errors import BuildFailed, GateFailed, SourceError, UserError
from build.golang import buildinfo
from build.sbom import notices
from build.sources import obtain, substitution
from build.views import markdown

WANTED, TAKEN = "v0.0.0-20260915-aaa", "v0.0.0-20260905-bbb"
MODULE = "example.test/vis"
NAME = f"{MODULE}@{WANTED}"
SUM = "h1:" + "A" * 43 + "="
ROW = Substitute(MODULE, WANTED, SUM, TAKEN, SUM.replace("A", "B"), SUM.replace("A", "C"), "x", "y")
GO_MOD = f"module tailscale.com\n\ngo 1.90.1\n\nrequire (\n\t{MODULE} {WANTED} // indirect\n)\n"
GO_SUM = f"{MODULE} {WANTED} {SUM}\n{MODULE} {WANTED}/go.mod {SUM}\n"
PATCH = """--- a/net/x.go
+++ b/net/x.go
@@ -1,2 +1,1 @@
 package x
-var y = vis.Clock
"""


@pytest.fixture
def stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Substitute:
    """Let there be one substitute, whose patch takes a line away."""
    monkeypatch.setattr(substitutes, "load", lambda *_: [ROW])
    monkeypatch.setattr(substitutes, "FOLDER", tmp_path / "patches")
    ROW.folder.mkdir(parents=True)
    (ROW.folder / "1.patch").write_text(PATCH)
    return ROW


def tree(folder: Path, go_mod: str = GO_MOD, go_sum: str = GO_SUM) -> Path:
    (folder / "net").mkdir(parents=True)
    (folder / "net" / "x.go").write_text("package x\nvar y = vis.Clock\n")
    (folder / "go.mod").write_text(go_mod)
    (folder / "go.sum").write_text(go_sum)
    return folder


def user(*names: str) -> Pin:
    return dataclasses.replace(pin("tailscale"), substitutes=names)


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_tree_takes_it(tmp_path: Path, stated: Substitute) -> None:
    there = tree(tmp_path / "t")
    substitution.apply(there, user(NAME))
    assert contents(there) == {
        "net/x.go": "package x\n",
        "go.mod": f"{GO_MOD}\nreplace {MODULE} {WANTED} => {MODULE} {TAKEN}\n",
        "go.sum": GO_SUM
        + f"{MODULE} {TAKEN} {ROW.taken_h1}\n{MODULE} {TAKEN}/go.mod {ROW.taken_go_mod}\n",
    }


def test_a_pin_that_names_none_is_left_alone(tmp_path: Path, stated: Substitute) -> None:
    there = tree(tmp_path / "t")
    before = contents(there)
    substitution.apply(there, user())
    assert contents(there) == before


@pytest.mark.parametrize(
    ("go_mod", "go_sum", "says"),
    [
        (GO_MOD.replace(WANTED, "v0.0.0-2026-ccc"), GO_SUM, "got v0.0.0-2026-ccc in go.mod"),
        ("module x\n", GO_SUM, "in go.mod"),
        (GO_MOD, GO_SUM.replace("A", "D"), "no such line in go.sum"),
        (GO_MOD, "", "no such line in go.sum"),
    ],
)
def test_a_tree_that_asks_for_something_else_is_refused(
    tmp_path: Path, stated: Substitute, go_mod: str, go_sum: str, says: str
) -> None:
    there = tree(tmp_path / "t", go_mod, go_sum)
    before = contents(there)
    with pytest.raises(BuildFailed, match="does not ask for what") as caught:
        substitution.apply(there, user(NAME))
    assert says in caught.value.why
    assert contents(there) == before


def test_a_patch_that_does_not_fit_changes_nothing(tmp_path: Path, stated: Substitute) -> None:
    there = tree(tmp_path / "t")
    (there / "net" / "x.go").write_text("package x\n")
    before = contents(there)
    with pytest.raises(BuildFailed, match="does not apply"):
        substitution.apply(there, user(NAME))
    assert contents(there) == before


def test_it_is_in_the_key_with_its_patches(stated: Substitute) -> None:
    without, keys = obtain.tree_key(user()), [obtain.tree_key(user(NAME))]
    (ROW.folder / "1.patch").write_text(PATCH + "\n")
    keys.append(obtain.tree_key(user(NAME)))
    assert len({without, *keys}) == 3
    assert obtain.tree_key(user()) == without


def test_it_is_told_where_sources_are_named(
    stated: Substitute, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (MODULE, WANTED, TAKEN, ROW.wanted_h1, ROW.taken_h1, ROW.reason, ROW.gave_way):
        assert name in ROW.told
    assert ROW.told in notices.sources(pins.pins() | {"tailscale": user(NAME)})
    assert ROW.told not in notices.sources(pins.pins() | {"tailscale": user()})
    with pins.instead(user(NAME)):
        assert ROW.told in markdown.summary("v1.2.3-mt.1", [], [])
    with pins.instead(user()):
        assert ROW.told not in markdown.summary("v1.2.3-mt.1", [], [])


def test_one_that_nobody_states(stated: Substitute) -> None:
    with pytest.raises(UserError, match="names substitutes that") as caught:
        substitutes.of(user(NAME, "example.test/other@v1"))
    assert caught.value.why == "example.test/other@v1"


def test_a_table_with_a_row_twice(tmp_path: Path) -> None:
    text = substitutes.TABLE.read_text()
    row = text[text.index("[[substitute]]") :]
    (tmp_path / "t.toml").write_text(text + row)
    with pytest.raises(UserError, match="not in order") as caught:
        substitutes.load(tmp_path / "t.toml")
    assert "wanted one row for" in caught.value.why
    (tmp_path / "t.toml").write_text("substitute = []\n")
    assert substitutes.load(tmp_path / "t.toml") == []


def test_every_row_has_the_patches_it_speaks_of() -> None:
    for one in substitutes.load():
        assert bool(list(one.folder.glob("*.patch"))) == (one.gave_way != "nothing"), one.module
    folders = {path.parent for path in substitutes.FOLDER.rglob("*.patch")}
    assert folders <= {one.folder for one in substitutes.load()}, "patches of no row"


@pytest.mark.parametrize(
    ("replaced", "version"),
    [
        ({}, WANTED),
        ({"Replace": {"Path": MODULE, "Version": TAKEN, "Sum": SUM}}, TAKEN),
        ({"Replace": {"Path": "./mt/example.test/vis", "Version": "(devel)"}}, WANTED),
        ({"Replace": {"Path": "./mt/example.test/vis"}}, WANTED),
    ],
)
def test_the_version_that_was_linked(replaced: dict[str, object], version: str) -> None:
    assert buildinfo.version_of({"Path": MODULE, "Version": WANTED, **replaced}) == version


# --- bumping ------------------------------------------------------------------------------------


def zipped(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, text in files.items():
            bundle.writestr(f"m@v1/{name.replace('__', '.')}", text)
    return path


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Let the module proxy have the zips of this dict, by module; none to begin with."""
    there: dict[str, Path] = {}

    def draft(wanted: Pin, folder: Path, *, database: bool = True) -> obtain.Draft:
        assert not wanted.substitutes
        assert not database, "its sum is in the pin's go.sum"
        assert folder.is_dir()
        if wanted.module not in there:
            raise SourceError("x", why="403 Forbidden")
        return obtain.Draft(there[wanted.module], wanted.file)

    monkeypatch.setattr(obtain, "draft", draft)
    source = zipped(tmp_path / "tailscale.zip", go__mod=GO_MOD, go__sum=GO_SUM)
    monkeypatch.setattr(obtain, "fetch", lambda *_: source)
    return there


def test_one_is_in_force_as_long_as_the_wanted_zip_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: dict[str, Path]
) -> None:
    wanted = zipped(tmp_path / "vis.zip", go__mod="module vis\n")
    row = dataclasses.replace(ROW, wanted_h1=digest.of_go_module(wanted))
    monkeypatch.setattr(substitutes, "load", lambda *_: [row])
    for room in ("a", "b", "c"):
        (tmp_path / room).mkdir()
    assert along.substitutes_of(user(), tmp_path / "a") == (NAME,)
    proxy[MODULE] = wanted
    assert along.substitutes_of(user(), tmp_path / "b") == ()
    proxy[MODULE] = zipped(tmp_path / "other.zip", go__mod="module other\n")
    with pytest.raises(SourceError, match="is not what"):
        along.substitutes_of(user(), tmp_path / "c")


def test_a_proxy_that_does_not_answer_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: dict[str, Path], stated: Substitute
) -> None:
    def draft(*_: object, **__: object) -> None:
        raise SourceError("x", why="dial tcp 192.0.2.4:404: i/o timeout")

    monkeypatch.setattr(obtain, "draft", draft)
    with pytest.raises(SourceError):
        along.substitutes_of(user(), tmp_path)


def test_one_for_another_version_is_not_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: dict[str, Path]
) -> None:
    row = dataclasses.replace(ROW, wanted="v0.0.0-20261001-ccc")
    monkeypatch.setattr(substitutes, "load", lambda *_: [row])
    monkeypatch.setattr(obtain, "draft", None)
    assert along.substitutes_of(user(), tmp_path) == ()


GO = dataclasses.replace(pin("go"), version="0.0.1-go1.90.0.linux-amd64")


@pytest.mark.parametrize(
    ("pinned", "fit", "had", "taken"),
    [
        ("1.90.1", {"1.90.1"}, {"1.90.1"}, None),
        ("1.91.0", {"1.91.0"}, {"1.91.0"}, None),
        ("1.90.0", {"1.90.1", "1.90.2"}, {"1.90.1", "1.90.2"}, "1.90.1"),
        ("1.89.7", {"1.90.3"}, {"1.90.1", "1.90.2", "1.90.3", "1.90.4"}, "1.90.3"),
        ("1.89.7", set(), {"1.90.1", "1.90.2"}, "1.90.1"),
    ],
)
def test_the_lowest_go_that_fits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    proxy: dict[str, Path],
    pinned: str,
    fit: set[str],
    had: set[str],
    taken: str | None,
) -> None:
    go = dataclasses.replace(GO, version=along.toolchain_named(GO, pinned))
    monkeypatch.setattr(candidate, "make", made(go, had))
    monkeypatch.setattr(
        impact,
        "of_patches",
        lambda before, after: (
            [] if bump.plain_version(after) in fit else ["a patch misses"],
            [],
        ),
    )
    found = along.toolchain(go, {}, pin("tailscale"), tmp_path)
    assert (bump.plain_version(found.pin) if found else None) == taken


def made(go: Pin, had: set[str]) -> object:
    def make(name: str, row: object, version: str, scratch: Path) -> Candidate:
        assert not list(scratch.iterdir()), "each has a folder of its own"
        found = dataclasses.replace(go, version=version)
        if bump.plain_version(found) not in had:
            raise SourceError(f"no {found.title}")
        return Candidate(found, {"version": version}, True)

    return make


def test_a_go_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: dict[str, Path]
) -> None:
    monkeypatch.setattr(candidate, "make", made(GO, set()))
    with pytest.raises(SourceError, match=r"1\.90\.1"):
        along.toolchain(GO, {}, pin("tailscale"), tmp_path)


@pytest.mark.parametrize("asked", ["1.90rc1", "x", "1"])
def test_a_go_that_is_no_release(asked: str) -> None:
    with pytest.raises(BuildFailed, match="asks for Go"):
        list(along._patch_releases(asked))
    assert next(along._patch_releases("1.90")) == "1.90.0"


@pytest.fixture
def repository(places: Path, monkeypatch: pytest.MonkeyPatch, stated: Substitute) -> Path:
    """Give a git repository whose Tailscale 2.2.0 asks for the substitute and a newer Go."""
    file = laid_out(places)
    text = file.read_text().replace("substitutes = [", "# [")
    file.write_text(text.replace(f'"{pin("tailscale").version}"', '"2.0.0"'))
    monkeypatch.setattr(pins, "FILE", file)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        git(places / "repository", *words)
    known = pins.load(file)

    def make(name: str, row: dict[str, object], version: str, scratch: Path) -> Candidate:
        fields = {"version": version, "size": 7}
        fields = {key: value for key, value in fields.items() if row.get(key) != value}
        return Candidate(pins.from_row(name, {**row, **fields}, "pins.toml"), fields, True)

    go = make("go", tomlkit_row(file, "go"), along.toolchain_named(known["go"], "1.90.1"), places)
    monkeypatch.setattr(candidate, "make", make)
    monkeypatch.setattr(along, "substitutes_of", lambda *_: (NAME,))
    monkeypatch.setattr(along, "toolchain", lambda *_: go)
    monkeypatch.setattr(impact, "of", lambda *_: impact.Impact())
    return file


def tomlkit_row(file: Path, name: str) -> dict[str, object]:
    row = bump.tomlkit.parse(file.read_text()).unwrap()[name]
    assert isinstance(row, dict)
    return row


def test_both_pins_and_the_substitute_are_written_at_once(repository: Path) -> None:
    done = bump.bump("tailscale", "2.2.0")
    found = pins.load(repository)
    assert found["tailscale"].version == "2.2.0"
    assert found["tailscale"].substitutes == (NAME,)
    assert bump.plain_version(found["go"]) == "1.90.1"
    assert [after.name for _, after in done.along] == ["go"]
    lines = "\n".join(bump.summary(done))
    assert "go goes along" in lines
    assert ROW.told in lines
    assert ROW.told in (repository.parents[2] / "docs" / "SOURCES.md").read_text()


def test_a_failure_leaves_both_as_they_were(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = repository.read_text()

    def stop(*_: object) -> None:
        raise BuildFailed("x")

    monkeypatch.setattr(impact, "of", stop)
    with pytest.raises(BuildFailed):
        bump.bump("tailscale", "2.2.0")
    assert repository.read_text() == text
    assert pin("go") == pins._of_repository()["go"], "nothing stands in any more"


def test_it_is_dropped_by_the_same_version_once_it_can_be_had(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bump.bump("tailscale", "2.2.0")
    subprocess.run(["git", "add", "-A"], cwd=repository.parents[2], check=True)
    git(repository.parents[2], "commit", "-qm", "bumped")
    monkeypatch.setattr(along, "toolchain", lambda *_: None)
    kept = bump.bump("tailscale", "2.2.0")
    assert (kept.written, kept.before) == (False, kept.after)
    monkeypatch.setattr(along, "substitutes_of", lambda *_: ())
    done = bump.bump("tailscale", "2.2.0")
    assert done.written
    assert pins.load(repository)["tailscale"] == dataclasses.replace(kept.after, substitutes=())
    assert "substitutes" not in tomlkit_row(repository, "tailscale")
    page = (repository.parents[2] / "docs" / "SOURCES.md").read_text()
    assert ROW.told not in page


# --- what stops ---------------------------------------------------------------------------------


def test_what_changed_stops_and_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impact, "of_patches", lambda *_: (["a patch misses"], []))
    busybox = pin("busybox")
    done = bump.Bump(busybox, busybox, impact=impact.of(busybox, busybox))
    assert done.impact.stops == ["a patch misses"]
    assert any(line.endswith("a patch misses") for line in bump.summary(done))
    with pytest.raises(GateFailed, match="needs a person"):
        inputs._require_no_stops(done)
    monkeypatch.setattr(impact, "of_patches", lambda *_: ([], []))
    inputs._require_no_stops(bump.Bump(busybox, busybox, impact=impact.of(busybox, busybox)))


def test_only_linked_modules_are_listed() -> None:
    before, after = (
        changes.GoMod("1.90", {"a": version, "b": version}, frozenset()) for version in "12"
    )
    assert [row.module for row in changes.of_modules(before, after, [], {"b"})] == ["b"]
    assert [row.module for row in changes.of_modules(before, after, [])] == ["a", "b"]
