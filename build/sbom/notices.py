"""docs/SOURCES.md: the corresponding source of what is in the images, out of the pins.

busybox is under the GNU GPL, and so is UPX's decompressor. Its section 3 asks whoever distributes a
program to say where its complete source is, build scripts included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from build.config import substitutes
from build.config.pins import Pin, pins
from build.core.errors import GateFailed
from build.core.paths import ROOT

PAGE = ROOT / "docs" / "SOURCES.md"

_HEAD = """# Sources of what is in the images

Written by `invoke sources --write` from `build/data/pins.toml`; do not edit. The sizes are bytes.

Each release is built from exactly these files and this repository at the release's tag. The build
refuses any other bytes. `invoke fetch` downloads them all; `MT_SOURCES=DIR` takes them from a
folder. The SBOM (`sbom-*.cdx.json`, see [VERIFY.md](VERIFY.md)) lists every Go module
beside them, with the texts of all licences.
"""
_GPL = """
## Under the GNU General Public License

Source, configuration and scripts together are the complete corresponding source of what is in the
image. Whoever passes images on has to pass these on too, or offer them in writing for three years.
"""
_OTHERS = "\n## The rest of what is in the images\n"
_TOOLS = "\n## What they are built with\n"

_MADE_BY = {
    "tailscale": "some of its Go modules by `patches/modules/`, Go's linker by `patches/linker/`; "
    "compiled by `build/golang/tailscale.py`",
    "busybox": "configured by `busybox-applets.config`, compiled by "
    "`build/native/busybox.py` with zig (`build/native/crosscc.py`); it has musl in it, "
    "from zig's package",
    "upx": "only in images of `--compress upx` (releases before 1.104.5-mt.1), and there only its "
    "decompressor, in each binary; compiled by `build/native/upx.py` with cmake and zig, "
    "unmodified, as its LICENSE demands for what it compresses",
}


def _block(pin: Pin) -> str:
    folder = f"patches/{pin.name}/"
    patched = f"patched by `{folder}`" if (ROOT / folder).is_dir() else "unpatched"
    rows = {
        "version": pin.version,
        "licence": pin.licence,
        "file": f"`{pin.file}`",
        "size": f"{pin.size:,}",
        "sha256": f"`{pin.sha256}`",
    }
    if pin.h1:
        rows["Go module"] = f"`{pin.module}@v{pin.version}`, `{pin.h1}`"
    if pin.package:
        rows["Python package"] = f"`{pin.package}=={pin.version}`"
    if pin.urls:
        rows["address"] = ", ".join(f"<{url}>" for url in pin.urls)
    if pin.debian_pool:
        rows["on Debian mirrors"] = f"`pool/{pin.debian_pool}`"
    if not pin.runs_on:
        rows["made"] = "; ".join([patched, *([_MADE_BY[pin.name]] if pin.name in _MADE_BY else [])])
    if others := substitutes.of(pin):
        rows["substitutes"] = "; ".join(one.told for one in others)
    table = "".join(f"| {name} | {text} |\n" for name, text in rows.items())
    return f"\n### {pin.name}\n\n| | |\n|---|---|\n{table}"


def sources(known: Mapping[str, Pin] | None = None) -> str:
    """Return the text of docs/SOURCES.md, for the repository's pins unless others are given."""
    known = known or pins()
    rows = [pin for pin in known.values() if pin.name != "go"]
    # The toolchain's standard library is in the binary; the rest of what runs here is not.
    gpl = [pin for pin in rows if not pin.runs_on and "GPL" in pin.licence]
    others = [pin for pin in rows if not pin.runs_on and pin not in gpl] + [known["go"]]
    tools = [pin for pin in rows if pin.runs_on]
    text = _HEAD
    for head, part in ((_GPL, gpl), (_OTHERS, others), (_TOOLS, tools)):
        text += head + "".join(_block(pin) for pin in part)
    return text


def check(page: Path = PAGE) -> None:
    """Raise GateFailed if the page is not what the pins say."""
    if not page.is_file() or page.read_text() != sources():
        raise GateFailed(
            f"{page.name} does not name the sources that the pins do", cure="invoke sources --write"
        )


def write(page: Path = PAGE, known: Mapping[str, Pin] | None = None) -> None:
    """Write the page under a name of its own, then put it in place."""
    fresh = page.with_name(f".{page.name}")
    fresh.write_text(sources(known))
    fresh.replace(page)
