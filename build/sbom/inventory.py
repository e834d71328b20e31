"""What is in a platform's image: each component with version, origin, licence and our changes.

Versions come from what is really there: the binary's build information, the pins, zig's tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.config import licences, substitutes
from build.config.pins import Pin, pin
from build.config.targets import Target
from build.core.artifacts import Rootfs
from build.core.errors import BuildFailed
from build.core.paths import PATCHES, ROOT
from build.golang import buildinfo, modules
from build.golang.gotool import Go
from build.sources import patching

OWN = "mikrotik-tailscale"
STD = "std"
ROOTS = "mozilla-ca-roots"
UPX_NOTE = (
    "the decompressor that UPX puts into each binary; its LICENSE lets compressed programs be "
    "distributed under any terms, as the UPX that made them is unmodified"
)
STUB = "unpacker"
STUB_NOTE = (
    "the head of each binary, which unpacks the rest into memory; build/native/stub, without a C "
    "library"
)

DECOMPRESSORS = {"upx": "upx", "lzma": STUB, "none": ""}
"""By way to compress: the component that it puts into each binary."""


@dataclass(frozen=True)
class Component:
    """One component; `ref` names it in `needs` of others.

    `kind` is a CycloneDX component type, `purl` a package URL without qualifiers, `licence` an
    SPDX expression, `texts` the licence files. `sha256` is that of the file in the image, `origin`
    the pin it was made from, `h1` the go command's sum of its module, `changes` are files of this
    repository.
    """

    ref: str
    kind: str
    name: str
    version: str
    purl: str
    licence: str
    texts: Mapping[str, Path] = field(default_factory=dict)
    sha256: str = ""
    origin: Pin | None = None
    h1: str = ""
    changes: tuple[Path, ...] = ()
    needs: tuple[str, ...] = ()
    cpe: str = ""
    path: str = ""
    note: str = ""


def changed(folder: Path) -> tuple[Path, ...]:
    """Return the patch files of a folder, relative to the repository; tests are none."""
    return tuple(
        path.relative_to(ROOT)
        for path in patching.patch_files(folder)
        if not path.name.endswith("_test.go")
    )


def _generic(wanted: Pin, kind: str, cpe: str, licence: str, **more: Any) -> Component:
    return Component(
        ref=wanted.name,
        kind=kind,
        name=wanted.name,
        version=wanted.version,
        purl=f"pkg:generic/{wanted.name}@{wanted.version}",
        licence=licence,
        origin=wanted,
        cpe=f"cpe:2.3:a:{cpe}:{wanted.version}:*:*:*:*:*:*:*",
        **more,
    )


def musl_version(zig: Path) -> str:
    """Return the version of the musl that lies in a tree of zig. Raises BuildFailed."""
    header = zig / "lib" / "libc" / "musl" / "src" / "internal" / "version.h"
    match = re.search(r'VERSION "([0-9.]+)"', header.read_text() if header.is_file() else "")
    if not match:
        raise BuildFailed("zig's musl does not say its version", why=f"looked in {header}")
    return match[1]


def _by_code(module: str) -> tuple[Path, ...]:
    """Return the code of ours that changes a module beside its patches."""
    return (Path("build/golang/unsign.py"),) if module == modules.ROOTS else ()


def _go(go: Go, found: buildinfo.Linked, table: Mapping[str, licences.Licence]) -> list[Component]:
    texts = {name: licences.files(home, dirs) for name, (home, dirs) in found.folders.items()}
    texts[STD] = licences.files(go.root)
    licences.check(texts, table)
    sums = buildinfo.go_sums((go.source / "go.sum").read_text())
    ours = modules.folders()
    others = {one.module: one for one in substitutes.of(go.tailscale)}
    rows = [
        Component(
            ref=f"pkg:golang/{name}@{version}",
            kind="library",
            name=name,
            version=version,
            purl=f"pkg:golang/{name}@{version}",
            licence=table[name].expression,
            texts=texts[name],
            h1=sums[name, version],
            changes=(*(changed(ours[name]) if name in ours else ()), *_by_code(name)),
            needs=(ROOTS,) if name == modules.ROOTS else (),
            note=others[name].told if name in others else "",
        )
        for name, version in sorted(found.versions.items())
    ]
    std = Component(
        ref=f"pkg:golang/{STD}@{found.go_version}",
        kind="library",
        name=STD,
        version=found.go_version,
        purl=f"pkg:golang/{STD}@{found.go_version}",
        licence=table[STD].expression,
        texts=texts[STD],
        origin=go.go,
        h1=go.go.h1,
        changes=(*changed(PATCHES / "stdlib"), *changed(PATCHES / "linker")),
        cpe=f"cpe:2.3:a:golang:go:{found.go_version}:*:*:*:*:*:*:*",
        note="Go's standard library and runtime; patches/linker is of the linker alone",
    )
    version = found.versions.get(modules.ROOTS, "")
    roots = Component(
        ref=ROOTS,
        kind="data",
        name="Mozilla CA certificates",
        version=version,
        purl=f"pkg:generic/{ROOTS}@{version}",
        licence=table[ROOTS].expression,
        note=f"the root certificates in {modules.ROOTS}, which names the version",
    )
    needs = tuple(row.ref for row in (*rows, std))
    tailscale = Component(
        ref="tailscale",
        kind="application",
        name=found.main,
        version=f"v{go.tailscale.version}",
        purl=f"pkg:golang/{found.main}@v{go.tailscale.version}",
        licence=table[found.main].expression,
        texts=texts[found.main],
        origin=go.tailscale,
        h1=go.tailscale.h1,
        changes=(
            *changed(PATCHES / "tailscale"),
            *(path for one in others.values() for path in changed(one.folder)),
        ),
        needs=needs,
        path="tailscale.combined",
    )
    return [tailscale, *rows, std, *([roots] if version else [])]


def _c(go: Go, packed: str, table: Mapping[str, licences.Licence]) -> list[Component]:
    """Components beside Go's; their sources are unpacked to read the licences."""
    zig_pin, shell_pin, upx_pin = pin("zig"), pin("busybox"), pin("upx")
    zig = go.trees(zig_pin).data / "ziglang"
    texts = {
        "busybox": licences.files(go.trees(shell_pin).data),
        "musl": licences.files(zig / "lib" / "libc" / "musl"),
        "compiler-rt": licences.files(zig),
        OWN: licences.files(ROOT),
    }
    if packed == "upx":
        texts["upx"] = licences.files(go.trees(upx_pin).data)
    licences.check(texts, table)
    spdx = {name: table[name].expression for name in texts}
    musl = musl_version(zig)
    rows = [
        _generic(
            shell_pin,
            "application",
            "busybox:busybox",
            spdx["busybox"],
            texts=texts["busybox"],
            changes=changed(PATCHES / "busybox"),
            needs=("musl", "compiler-rt"),
            path="busybox",
            note="configured by busybox-applets.config",
        ),
        Component(
            "musl",
            "library",
            "musl",
            musl,
            f"pkg:generic/musl@{musl}",
            spdx["musl"],
            texts["musl"],
            origin=zig_pin,
            cpe=f"cpe:2.3:a:musl-libc:musl:{musl}:*:*:*:*:*:*:*",
            note="the C library in busybox, as zig brings it",
        ),
        Component(
            "compiler-rt",
            "library",
            "zig compiler-rt",
            zig_pin.version,
            f"pkg:generic/zig-compiler-rt@{zig_pin.version}",
            spdx["compiler-rt"],
            texts["compiler-rt"],
            origin=zig_pin,
            note="zig's support routines for compiled C, in busybox",
        ),
    ]
    if packed == "upx":
        more = {"texts": texts["upx"], "note": UPX_NOTE}
        rows.append(_generic(upx_pin, "library", "upx:upx", spdx["upx"], **more))
    if packed == "lzma":
        own = spdx[OWN], texts[OWN]
        rows.append(Component(STUB, "library", STUB, "", "", *own, note=STUB_NOTE))
    return rows


def collect(
    go: Go, target: Target, binary: Path, files: Rootfs, *, packed: str, scratch: Path
) -> list[Component]:
    """Return all components of a platform's image, those that stand for files of it first.

    `binary` is the Go binary before compression, `packed` is the way in which what is in the
    image was compressed. Raises BuildFailed for an unknown or changed licence, or a file that
    nothing stands for.
    """
    table = licences.load()
    found = buildinfo.linked(go, target, binary, scratch)
    known = [*_go(go, found, table), *_c(go, packed, table)]
    by_path = {row.path: row for row in known if row.path}
    rest = [row for row in known if not row.path]
    top: list[Component] = []
    for entry in files.entries:
        if entry.kind != "file":
            continue
        name = Path(entry.path).name
        row = by_path.pop(name, None)
        if row:
            head = DECOMPRESSORS[packed]
            needs = (*row.needs, head) if head else row.needs
            values = vars(row) | {"sha256": entry.sha256, "path": entry.path, "needs": needs}
        else:
            values = {
                "ref": name,
                "kind": "file",
                "name": name,
                "version": "",
                "purl": "",
                "licence": table[OWN].expression,
                "texts": licences.files(ROOT),
                "sha256": entry.sha256,
                "path": entry.path,
            }
        top.append(Component(**values))
    if by_path:
        raise BuildFailed(f"the image lacks {', '.join(by_path)}, whose components were found")
    return [*top, *rest]
