"""The inventory of many routers: whatever is wrong in it, the error says where, never a secret."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_schema import WRONG, changed, places_of

from build.config import schema
from build.core.errors import UserError
from build.core.paths import ROOT
from build.router import inventory, passwords
from build.router.ledger import DONE, Ledger

USAGE = (ROOT / "docs" / "USAGE.md").read_text()
(EXAMPLE,) = re.findall(r"^```toml\n(.*?)^```$", USAGE, re.MULTILINE | re.DOTALL)
SECRET = "correct-horse-battery"


def load(folder: Path, text: str) -> inventory.Inventory:
    (folder / "routers.toml").write_text(text)
    return inventory.load(folder / "routers.toml")


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, text)
    assert caught.value.exit_code == 2
    assert "docs/USAGE.md" in caught.value.cure
    assert "git checkout" not in str(caught.value)
    return str(caught.value)


def test_the_documents_example(tmp_path: Path) -> None:
    found = load(tmp_path, EXAMPLE)
    berlin, lisbon = found.entries
    assert (berlin.host, berlin.user, berlin.arch) == ("https://192.0.2.21", "deploy", "arm64")
    assert berlin.ca == str(tmp_path / "office-ca.pem")
    assert berlin.set == {"TsMagicDns": "tail1234.ts.net", "TsHostname": "berlin"}
    assert lisbon.password_from == "keyring:routers/lisbon"
    assert (found.rings, found.at_once, found.tolerate) == ((1, "10%", "100%"), 8, 0)


def test_what_is_not_said_is_the_documents_default(tmp_path: Path) -> None:
    found = load(tmp_path, '[router.a]\nhost = "https://192.0.2.1/"\n')
    assert found.entries[0].password_from == "env:MT_ROUTER_PASSWORD"
    assert (found.entries[0].host, found.entries[0].user) == ("https://192.0.2.1", "admin")
    assert (found.rings, found.at_once, found.tolerate) == ((1, "10%", "100%"), 8, 0)


ONE = '[router.a]\nhost = "https://192.0.2.1"\n'
FAULTS = {
    "no router": ("", "router: wanted a value"),
    "an empty table": ("[router]\n", "router: wanted rows"),
    "no such group": (
        f'{ONE}group = "attic"\n[group.cellar]\n',
        "router.a.group: wanted one of the groups cellar, got attic",
    ),
    "no group at all": (f'{ONE}group = "attic"\n', "wanted a group of the file, got attic"),
    "one name twice": (ONE + ONE, "twice"),
    "a group's name": (f"{ONE}[group.a]\n", "got that of a group"),
    "one address twice": (
        f'{ONE}[router.b]\nhost = "https://192.0.2.1:443/"\n',
        "router.b.host: wanted another address than that of a",
    ),
    "an image from nowhere": (f'{ONE}arch = "arm64"\n', "router.a.serve_on: wanted this machine's"),
    "an unknown key": (f'{ONE}colour = "red"\n', "router.a.colour: wanted one of the keys"),
    "an unknown table": (f"{ONE}[rollouts]\n", "rollouts: wanted one of the keys"),
    "an unknown platform": (f'{ONE}arch = "mips"\n', "router.a.arch: wanted"),
    "rings of nothing": (f"{ONE}[rollout]\nrings = []\n", "rollout.rings: wanted a list of at"),
    "a ring of nobody": (f"{ONE}[rollout]\nrings = [0]\n", "rollout.rings[0]: wanted"),
    "half a router": (f'{ONE}[rollout]\nrings = ["0.5"]\n', "rollout.rings[0]: wanted"),
    "no server": ('[router.a]\nhost = "https://192.0.2.1:99999"\n', "router.a.host: wanted"),
    "a path": ('[router.a]\nhost = "/etc/passwd"\n', "router.a.host: wanted"),
    "a name to break lines": ('[router."a\\nb"]\nhost = "https://192.0.2.1"\n', "wanted a name"),
    "a setting of another kind": (f"{ONE}set = {{ TsHostname = [] }}\n", "TsHostname: wanted"),
    "a setting of another's": (f"{ONE}set = {{ Colour = 1 }}\n", "wanted a setting such as"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults(kind: str, tmp_path: Path) -> None:
    text, says = FAULTS[kind]
    assert says in refusal(tmp_path, text)


SECRETS = [
    *(f'{ONE}{key} = "{SECRET}"\n' for key in ("password", "Passwd", "pwd", "secret", "api_key")),
    f'{ONE}[defaults]\npassword = "{SECRET}"\n',
    f'{ONE}[group.g]\npassword = "{SECRET}"\n',
    f'password = "{SECRET}"\n{ONE}',
    f'{ONE}password_from = "{SECRET}"\n',
    f'[router.a]\nhost = "https://admin:{SECRET}@192.0.2.1"\n',
    f'[router.a]\nhost = "{SECRET}"\n',
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, text)
    assert SECRET not in said
    assert re.search(r"(got a secret|not shown|without a login)", said)


def test_wrong_values_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value at every place: refused with file and place, or right; nothing else."""
    table = tomllib.loads(EXAMPLE)
    path = tmp_path / "routers.toml"
    path.touch()
    tried = refused = 0
    for way in places_of(table):
        for wrong in WRONG:

            def put(at: Any, key: Any, wrong: Any = wrong) -> None:
                at[key] = wrong

            table_now = changed(table, way, put)
            monkeypatch.setattr(schema.tomllib, "loads", lambda text, now=table_now: now)
            tried += 1
            try:
                inventory.load(path)
            except UserError as error:
                refused += 1
                assert "routers.toml" in error.what
                key = next(str(part) for part in reversed(way) if not isinstance(part, int))
                assert key in error.why, (way, wrong, error.why)
                assert "wanted" in error.why
            else:
                assert not isinstance(wrong, float), way
    print(f"{tried} wrong values tried, {refused} refused, the others are legal")
    assert refused > tried / 2


@pytest.mark.parametrize("what", ["absent", "folder", "empty", "half", "latin", "deep", "zero"])
def test_files_that_are_no_inventory(tmp_path: Path, what: str) -> None:
    path = tmp_path / "routers.toml"
    content = {
        "empty": b"",
        "half": EXAMPLE.encode()[:-40] + b"\n[",
        "latin": "[router.a]\nuser = 'ä'".encode("latin-1"),
        "deep": b"a = " + b"[" * 5000,
        "zero": b"\0" * 100,
    }
    if what == "folder":
        path.mkdir()
    elif what != "absent":
        path.write_bytes(content[what])
    with pytest.raises(UserError) as caught:
        inventory.load(path)
    assert "routers.toml" in caught.value.what
    assert "git checkout" not in str(caught.value)


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/mem", "/"])
def test_what_has_no_end_is_not_read(path: str) -> None:
    with pytest.raises(UserError):
        inventory.load(Path(path))


def test_choosing(tmp_path: Path) -> None:
    entries = load(tmp_path, f"{EXAMPLE}\n{ONE}").entries
    assert [one.name for one in inventory.chosen(entries, ["a", "branches"])] == [
        "berlin",
        "lisbon",
        "a",
    ]
    assert [one.name for one in inventory.chosen(entries, ["lisbon"])] == ["lisbon"]
    with pytest.raises(UserError, match="'attic' is neither"):
        inventory.chosen(entries, ["attic"])


SETTINGS = (ROOT / "routeros" / "settings-tailscale.rsc").read_text()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"TsHostname": 'a"$x\\'}, r':global TsHostname "a\"\$x\\";'),
        ({"TsMask": 29}, ":global TsMask 29;"),
        ({"TsInPlace": True}, ":global TsInPlace true;"),
        ({"TsCheckEvery": "12h"}, ":global TsCheckEvery 12h;"),
    ],
)
def test_settings(values: dict[str, Any], line: str, tmp_path: Path) -> None:
    (entry,) = load(tmp_path, f"{ONE}set = {{ {written(values)} }}\n").entries
    found = inventory.settings_of(entry, SETTINGS)
    assert line in found.splitlines()
    assert len(set(found.splitlines()) ^ set(SETTINGS.splitlines())) == 2


def written(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"TsHostnme": "a"}, "wanted a setting that the script has"),
        ({"TsHostname": 1}, "wanted a text"),
        ({"TsMask": "29"}, "wanted a whole number"),
        ({"TsMask": True}, "wanted a whole number"),
        ({"TsInPlace": "yes"}, "wanted true or false"),
        ({"TsCheckEvery": '1d; /system/reboot; :put "'}, "wanted a time"),
    ],
)
def test_wrong_settings(values: dict[str, Any], says: str, tmp_path: Path) -> None:
    (entry,) = load(tmp_path, f"{ONE}set = {{ {written(values)} }}\n").entries
    with pytest.raises(UserError, match=says):
        inventory.settings_of(entry, SETTINGS)


def test_a_password_of_the_environment() -> None:
    assert passwords.password("env:OFFICE", "x", {"OFFICE": SECRET}) == SECRET
    with pytest.raises(UserError, match=r"\$OFFICE is not set"):
        passwords.password("env:OFFICE", "x", {})


def ring(answer: Callable[[str, str], str | None]) -> types.ModuleType:
    made = types.ModuleType("keyring")
    made.get_password = answer  # type: ignore[attr-defined]
    return made


def test_a_password_of_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {("routers/lisbon", "deploy"): SECRET}
    monkeypatch.setitem(sys.modules, "keyring", ring(lambda at, user: known.get((at, user))))
    assert passwords.password("keyring:routers/lisbon", "deploy") == SECRET
    with pytest.raises(UserError, match="has none of admin"):
        passwords.password("keyring:routers/lisbon", "admin")


def test_a_keyring_that_is_shut_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(at: str, user: str) -> str:
        raise RuntimeError("no backend")

    monkeypatch.setitem(sys.modules, "keyring", ring(shut))
    with pytest.raises(UserError, match="RuntimeError: no backend"):
        passwords.password("keyring:routers", "admin")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(UserError, match="pip install keyring"):
        passwords.password("keyring:routers", "admin")


# --- the state file -----------------------------------------------------------------------------


def test_the_state_is_whole_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that breaks off leaves the file as it was."""
    book = Ledger(tmp_path / "state.json")
    book.note("a", "0" * 64, DONE)
    before = (tmp_path / "state.json").read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        book.note("b", "0" * 64, DONE)
    assert (tmp_path / "state.json").read_bytes() == before
    again = Ledger(tmp_path / "state.json")
    assert again.done("a", "0" * 64)
    assert not again.done("a", "1" * 64), "another goal"
    assert not again.done("b", "0" * 64)


def test_two_runs_at_once(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path / "s"), Ledger(tmp_path / "s")
    with one.held():
        with pytest.raises(UserError, match="another run"), other.held():
            pass
        one.note("a", "0" * 64, DONE)
    with other.held():
        assert other.done("a", "0" * 64), "what the other run wrote meanwhile"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 2, "routers": {}}', '{"format": 1, "routers": {"a": 1}}']
)
def test_another_file_is_not_taken_for_a_state(text: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(UserError, match="is not the state of a deployment"):
        Ledger(tmp_path / "s")
    assert (tmp_path / "s").read_text() == text
