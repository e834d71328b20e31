"""The table of licences: what it refuses, and that the repository's own is in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from cyclonedx import spdx

from build.config import licences
from build.config.licences import Licence
from build.config.pins import pins
from build.core import paths
from build.core.errors import BuildFailed, GateFailed, UserError
from build.golang import modules
from build.image import rootfs
from build.sbom import inventory, notices


def module(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def row(root: Path, *folders: Path, expression: str = "MIT") -> Licence:
    found = licences.files(root, folders)
    return Licence(expression, {name: licences.identity_of(path) for name, path in found.items()})


def test_files_that_hold_for_the_packages_and_no_others(tmp_path: Path) -> None:
    root = module(
        tmp_path / "m",
        LICENSE="a",
        PATENTS="b",
        license_go="not one",
        a__b__LICENSE_txt="c",
        a__COPYING="d",
        other__LICENSE="e",
    )
    (root / "license.go").write_text("package licence")
    (root / "licenses").mkdir()
    assert set(licences.files(root)) == {"LICENSE", "PATENTS", "license_go"}
    deep = licences.files(root, [root / "a" / "b"])
    assert set(deep) == {"LICENSE", "PATENTS", "license_go", "a/COPYING", "a/b/LICENSE.txt"}


def test_what_is_known_passes(tmp_path: Path) -> None:
    root = module(tmp_path / "m", LICENSE="a", b__LICENSE="c")
    table = {"m": row(root, root / "b")}
    licences.check({"m": licences.files(root, [root / "b"])}, table)
    # Another platform may not need the package in b.
    licences.check({"m": licences.files(root)}, table)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("LICENSE", "changed", "m: LICENSE is changed"),
        ("NOTICE", "new", "m: NOTICE is new"),
        ("LICENSE", None, "m: LICENSE is gone"),
    ],
)
def test_what_is_not_known_stops(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    root = module(tmp_path / "m", LICENSE="a", COPYING="b")
    table = {"m": row(root)}
    if text is None:
        (root / name).unlink()
    else:
        (root / name).write_text(text)
    with pytest.raises(BuildFailed) as caught:
        licences.check({"m": licences.files(root), "n": {}}, table)
    assert says in caught.value.why
    assert "n: is not in the table" in caught.value.why, "all faults at once"
    assert '["m"]\nlicence = "MIT"' in caught.value.cure


MIT = """MIT License

Copyright (c) 2020 Some Body <some@body.test>

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software, to deal in it without restriction. The above copyright notice
shall be included in all copies.
"""


@pytest.mark.parametrize(
    "other",
    [
        MIT.replace("2020", "2019-2026"),
        MIT.replace("Some Body <some@body.test>", "The Ethtool Authors. All rights reserved."),
        MIT.replace("Copyright (c) 2020 Some Body", "Copyright (c) 2020 Some Body\n© 2026 another"),
        MIT.replace("2020", "{yyyy}").replace("Some Body", "{name of copyright owner}"),
        MIT.replace("copy\nof this", "copy of\n   this").replace("\n", "\r\n"),
        "\n".join(f"// {line}" for line in MIT.splitlines()),
    ],
)
def test_the_same_licence_of_somebody_else(other: str) -> None:
    assert other != MIT
    assert licences.identity(other) == licences.identity(MIT)


@pytest.mark.parametrize(
    "other",
    [
        MIT.replace("without restriction", "with restriction"),
        MIT.replace("free of charge", "for a charge"),
        MIT.replace("The above copyright notice\nshall", "The above notice\nshall"),
        MIT.replace("Body <some@body.test>", "Body. You may not sell it."),
        MIT.replace("Body <some@body.test>", "Body; commercial exploitation requires payment"),
        MIT.replace("Copyright (c) 2020 Some", "Copyright (c) 2020 under the GPL Some"),
        MIT + "The Software shall be used for Good.\n",
        MIT.replace("shall be included", "shall not be included"),
        "",
    ],
)
def test_other_words_are_another_licence(other: str) -> None:
    assert licences.identity(other) != licences.identity(MIT)


def test_the_cure_is_what_the_table_needs(tmp_path: Path) -> None:
    root = module(tmp_path / "m", LICENSE="a", b__LICENSE_txt="c")
    found = {"example.com/m/v2": licences.files(root, [root / "b"])}
    with pytest.raises(BuildFailed) as caught:
        licences.check(found, {})
    lines = caught.value.cure.partition("\n")[2].replace('"?"', '"MIT"')
    (tmp_path / "table.toml").write_text(lines)
    licences.check(found, licences.load(tmp_path / "table.toml"))


@pytest.mark.parametrize(
    "body",
    [
        'licence = "MIT"',
        "files = {}",
        'licence = ""\nwhy = "x"',
        'licence = "MIT"\nfiles = { LICENSE = "abc" }',
        'licence = "MIT"\nwhy = "x"\ncolour = "red"',
    ],
)
def test_an_incomplete_row(tmp_path: Path, body: str) -> None:
    (tmp_path / "table.toml").write_text(f"[m]\n{body}\n")
    with pytest.raises(UserError, match="not in order"):
        licences.load(tmp_path / "table.toml")


@pytest.mark.parametrize("text", [None, "x ="])
def test_no_table(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / "table.toml").write_text(text)
    with pytest.raises(UserError, match="cannot read"):
        licences.load(tmp_path / "table.toml")


def test_conjunction() -> None:
    parts = ["MIT", "GPL-2.0-only WITH Classpath-exception-2.0", "BSD-3-Clause AND MIT"]
    whole = "BSD-3-Clause AND GPL-2.0-only WITH Classpath-exception-2.0 AND MIT"
    assert licences.conjunction(parts) == whole
    for wrong in ("MIT OR BSD-3-Clause", "(MIT)", ""):
        with pytest.raises(UserError):
            licences.conjunction([wrong])


def test_every_licence_of_ours_is_spdx() -> None:
    table = licences.load()
    wrong = [name for name, r in table.items() if not spdx.is_expression(r.expression)]
    assert wrong == []
    assert not spdx.is_expression("GPL-9000"), "negative control"


def test_the_label_names_every_licence() -> None:
    whole = licences.conjunction(r.expression for r in licences.load().values())
    assert rootfs.plan()["image"]["labels"]["org.opencontainers.image.licenses"] == whole


def test_the_table_agrees_with_the_pins() -> None:
    table = licences.load()
    for name in ("busybox", "upx"):
        assert table[name].expression == pins()[name].licence
    assert table["std"].expression == pins()["go"].licence
    assert set(pins()["tailscale"].licence.split(" AND ")) <= set(
        table["tailscale.com"].expression.split(" AND ")
    )


def test_our_own_licence_is_the_one_in_the_table() -> None:
    licences.check({inventory.OWN: licences.files(paths.ROOT)}, licences.load())


def test_upx_is_not_patched() -> None:
    """Its LICENSE allows any terms for compressed programs only if UPX is unmodified."""
    assert not (paths.PATCHES / "upx").exists()


def test_patched_modules_are_marked() -> None:
    assert all(
        inventory.changed(folder) or name == modules.ROOTS
        for name, folder in modules.folders().items()
    )
    assert inventory.changed(paths.PATCHES / "tailscale")
    assert not [path for path in inventory.changed(paths.PATCHES) if "SHA256SUMS" in str(path)]


def test_the_page_of_sources_is_true(tmp_path: Path) -> None:
    notices.check()
    text = notices.PAGE.read_text()
    for name in ("busybox", "upx"):
        assert all(
            part in text for part in (pins()[name].file, pins()[name].sha256, pins()[name].urls[0])
        )
    gpl = text.partition("General Public License\n")[2].partition("\n## ")[0]
    assert gpl.count("\n### ") == 2
    page = tmp_path / "SOURCES.md"
    page.write_text(text.replace(pins()["busybox"].version, "0.0.1"))
    with pytest.raises(GateFailed):
        notices.check(page)
    notices.write(page)
    notices.check(page)


def test_every_pin_is_on_the_page() -> None:
    text = notices.sources()
    assert [p.name for p in pins().values() if f"\n### {p.name}\n" not in text] == []


@pytest.mark.parametrize("text", ["", '#define VERSION "x"'])
def test_a_musl_without_version(tmp_path: Path, text: str) -> None:
    header = tmp_path / "lib/libc/musl/src/internal/version.h"
    header.parent.mkdir(parents=True)
    header.write_text(text)
    with pytest.raises(BuildFailed, match="musl does not say"):
        inventory.musl_version(tmp_path)
    header.write_text('#define VERSION "1.2.5"\n')
    assert inventory.musl_version(tmp_path) == "1.2.5"
