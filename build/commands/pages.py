"""Commands that make pages for people."""

from __future__ import annotations

import os
import re

from invoke import task

from build.commands.common import COMMON, command, named_release
from build.config import devices, targets
from build.core import errors, paths
from build.gates import records
from build.image import dist, products, record
from build.registry.repository import parse_repository
from build.release import handover
from build.router import paste, render
from build.views import drawings, report
from build.views import pages as others
from build.views import site as view


@task(
    help={
        "release": "tag of the images in dist/, or HEAD for the commit's (default: mt.0)",
        "files": "https address of the release's files (default: people fill it in)",
        **COMMON,
    }
)
@command
def site(c, release="", files="", json=False, debug=False):
    """Make dist/site/: one block to paste, and pages of what is known. Needs images in dist/.

    $MT_REPOSITORY is the registry/repository that routers follow, as `attach` takes it.
    """
    named = named_release(release)
    repository = os.environ.get("MT_REPOSITORY", "")
    image = parse_repository(repository).text if repository else ""
    files = files.rstrip("/")
    if files and not re.fullmatch(paste.FORMS["files"], files):
        raise errors.UserError(f"--files '{files}' cannot be", cure=paste.FAULTS["files"])
    images = products.images(targets.select([]), named)
    rows = dist.read_record()
    index = rows.get("oci", {}).get("index", "")
    tars = {
        one.target.name: (one.archive.name, index or f"sha256:{rows[one.archive.name]['sha256']}")
        for one in images
    }
    # the very bytes that `attach` puts into the forge's release
    scripts = {
        name.removesuffix(".rsc"): text
        for name, text in handover.texts(named.tag, repository).items()
        if name.removesuffix(".rsc") in render.SCRIPTS
    }
    templates = paths.ROOT / "routeros" / "templates"
    made = paste.Release(named.tag, scripts, tars, templates)
    costs = {one.target.name: _costs(one) for one in images}
    known = devices.devices()
    text = view.page(made, known, costs, view.default(image, files))
    beside = others.pages(images)
    place = record.keep("site/index.html", text)
    kept = [str(record.keep(f"site/{name}.html", page)) for name, page in beside.items()]
    if json:
        report.print_json(
            {
                "page": str(place),
                "others": kept,
                "bytes": len(text.encode()),
                "release": named.tag,
                "devices": len(known),
                "refused": sorted(key for key, one in known.items() if one.refusal),
                "costs": costs,
            }
        )
    else:
        print(f"{place}  {len(text.encode()):,} B, {len(known)} devices")
        print("\n".join(kept))


def _costs(image: products.Image) -> list[str]:
    """Return the lines about flash and RAM of an image, as measured."""
    lines = [
        f"Flash: {image.files.size:,} B for the image ({image.target.name}), as much again for "
        "minutes during an update.",
        f"The tar has {image.archive.stat().st_size:,} B.",
    ]
    found = records.read(image.target.name, image=image.descriptor["digest"])
    if found:
        peak = int(found.figures["VmHWM_kB"])
        how = "under emulation" if found.tunnel == "user" else "on this platform"
        lines.append(f"RAM: {peak:,} kB at most in the runtime gate, {how}.")
    else:
        how = f"`invoke verify --arch {image.target.name}` does it"
        lines.append(f"RAM: not measured for this very image; {how}.")
    return lines


@task(
    help={
        "write": "write those in docs/pictures/ whose records have changed",
        "check": "exit with 3 if one in docs/pictures/ is not what its record says",
        **COMMON,
    }
)
@command
def pictures(c, write=False, check=False, json=False, debug=False):
    """Tell which of README's pictures are stale against their records in build/data/."""
    found = drawings.write() if write else drawings.stale()
    if json:
        report.print_json({"written" if write else "stale": [str(place) for place in found]})
    else:
        said = "written" if write else "stale"
        print("\n".join(f"{said}  {place}" for place in found) or "all are what the records say")
    if check:
        drawings.check()
