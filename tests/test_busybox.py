"""busybox: what is asked for, what was configured, which applets there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build.core.errors import BuildFailed, UserError
from build.native import busybox

ROOT = Path(__file__).resolve().parent.parent


def listed(places: Path, text: str) -> dict[str, str]:
    (places / "applets.config").write_text(text)
    return busybox.wanted_symbols(places / "applets.config")


def test_each_kind_of_line(places: Path) -> None:
    text = "# comment\n\nLS=y\n  CAT=y  # why\nFEATURE_EDITING_HISTORY=255\n"
    assert listed(places, text + 'PREFIX="./x"\nCONFIG_RM=y\n') == {
        "LS": "y",
        "CAT": "y",
        "FEATURE_EDITING_HISTORY": "255",
        "PREFIX": '"./x"',
        "RM": "y",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("LS", "neither SYMBOL=y"),
        ("ls=y", "neither SYMBOL=y"),
        ("LS=n", "neither SYMBOL=y"),
        ("LS=m", "neither SYMBOL=y"),
        ("LS = y", "neither SYMBOL=y"),
        ("LS=y CAT=y", "neither SYMBOL=y"),
        ("CAT=y\nCAT=y", "there twice"),
        ("CAT=y\nCONFIG_CAT=y", "there twice"),
        ("FEATURE_SH_STANDALONE=y", "upx#248"),
        ("FEATURE_SH_NOFORK=y", "upx#248"),
        ("FEATURE_PREFER_APPLETS=y", "upx#248"),
    ],
)
def test_a_line_that_cannot_be_taken(places: Path, line: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        listed(places, f"# first\n{line}\n")
    number = 1 + len(line.splitlines())
    assert f"applets.config:{number}: cannot take" in caught.value.what
    assert why in caught.value.why


CONFIG = """#
# Automatically generated make config
CONFIG_LS=y
# CONFIG_CAT is not set
CONFIG_FEATURE_EDITING_HISTORY=255
CONFIG_PREFIX="./x"
CONFIG_LSOF=y
"""


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        ({}, []),
        ({"LS": "y", "FEATURE_EDITING_HISTORY": "255", "PREFIX": '"./x"'}, []),
        ({"CAT": "y"}, ["CONFIG_CAT=y"]),
        ({"NOSUCH": "y", "CAT": "y"}, ["CONFIG_NOSUCH=y", "CONFIG_CAT=y"]),
        ({"FEATURE_EDITING_HISTORY": "254"}, ["CONFIG_FEATURE_EDITING_HISTORY=254"]),
        ({"LSO": "y"}, ["CONFIG_LSO=y"]),
    ],
)
def test_asked_for_equals_got(wanted: dict[str, str], missing: list[str]) -> None:
    assert busybox.configured(wanted, CONFIG) == missing


def test_what_must_stay_off() -> None:
    found = busybox.configured({}, CONFIG + "CONFIG_FEATURE_SH_STANDALONE=y\n")
    assert found == ["CONFIG_FEATURE_SH_STANDALONE (must be off)"]


TABLE = """#define NUM_APPLETS 3
#define KNOWN_APPNAME_OFFSETS 0

const char applet_names[] ALIGN1 = ""
"[" "\\0"
"ash" "\\0"
"cat" "\\0"
;

#define APPLET_NO_ash 1
"""


def test_the_names_of_the_applets() -> None:
    assert busybox.applet_names(TABLE) == ["[", "ash", "cat"]


@pytest.mark.parametrize(
    "table",
    [
        "",
        TABLE.replace("APPLETS 3", "APPLETS 4"),
        TABLE.replace("#define NUM_APPLETS 3", ""),
        TABLE.replace('"cat" "\\0"\n', ""),
        TABLE.replace("applet_names", "names_of_applets"),
    ],
)
def test_a_table_that_is_not_understood(table: str) -> None:
    with pytest.raises(BuildFailed, match="table of applets was not understood"):
        busybox.applet_names(table)


def test_the_repositorys_own_list() -> None:
    wanted = busybox.wanted_symbols()
    assert {"STATIC", "ASH", "SH_IS_ASH", "IP", "PING"} <= wanted.keys()
    assert not wanted.keys() & set(busybox._FORBIDDEN)
    assert not wanted.keys() & busybox.OWN_SYMBOLS.keys()
    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in wanted)
