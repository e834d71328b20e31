"""The keys of every stage of a checkout, without running one: `python plan.py [word…]` prints them.

Each stage is asked for by the pipeline itself, with `cache.obtain` replaced by a fake that notes
the key and gives dummy files. JSON: {"same": …} has the keys if no stage's output changes,
{"worst": …} if each output changes with its key. The words `code` and `trees` leave these out of
the keys.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from build.config import features
from build.config.pins import pins
from build.config.targets import targets
from build.core import cache, digest
from build.golang import linker, modules, stdlib
from build.image import buildx, dist
from build.lab import boot, servers
from build.native import packers
from build.pipeline import order
from build.sources import obtain as sources

FILES = {
    "golang": ("tailscale.combined", "symbols.xz"),
    "busybox": ("busybox",),
    "compress-busybox": ("busybox",),
    "compress-tailscale.combined": ("tailscale.combined",),
    "upx": ("upx",),
    "xz": ("xz",),
    "stub": ("stub", "stub-go", "unpack"),
    "sbom": ("sbom.cdx.json",),
    "lab": ("mt-guest",),
}


def facts(stage: str, content: str) -> dict[str, Any]:
    if stage == "tags":
        verdicts = features.load_verdicts().features
        tags = sorted(name for name, row in verdicts.items() if row.verdict == "out")
        return {"tags": tags, "remarks": []}
    manifest = {"digest": f"sha256:{digest.of_bytes(content.encode())}", "size": len(content)}
    return {"long": "1.2.3-x", "applets": ["ls", "sh"], "manifest": manifest, "licence": "MIT"}


def keys(folder: Path, worst: bool) -> dict[str, str]:
    """Ask for everything and return {stage and label: key}."""
    found: dict[str, str] = {}

    def obtain(stage, label, inputs, build, *, title="", made_by=""):
        inputs = cache.with_code(inputs, made_by or build.__module__)
        key = found[f"{stage} {label}"] = cache.key_of(stage, inputs)
        content = f"{stage} {label} {key if worst else ''}"
        data = folder / digest.of_bytes(content.encode()) / "data"
        data.mkdir(parents=True, exist_ok=True)
        for name in FILES.get(stage, ()):
            (data / name).write_text(content)
            (data / name).chmod(0o755)
        files = digest.tree_manifest(data)
        return cache.Entry(stage, key, data, files, dict(inputs), facts(stage, content), True)

    cache.obtain, cache.intact = obtain, lambda entry, again: entry
    dist.write = lambda *args, **more: ({}, [])
    every = targets()
    result = order.build(
        order.Request(list(every.values()), order.release_of(), whole=True, check_size=False)
    )
    go = order.go_command()
    linker.build(go)
    stdlib.build(go)
    modules.source(go)
    servers.build(go)
    for target in every.values():
        packers.tools("upx", target, go.trees)
    for name in boot.MODELS:
        boot.build(servers.build_guest(go, every[name]), every[name])
    for wanted in pins().values():
        sources._checked.clear()
        sources.tree(wanted)
    job = buildx.Job(every, result.rootfs, order.release_of(), pins()["tailscale"].epoch)
    return found | {"buildx all": digest.of_json(job.made_from())}


def main(blind: set[str]) -> None:
    if "code" in blind:
        cache.with_code = lambda inputs, module: inputs
    if "trees" in blind:
        sources.tree_key = lambda wanted: wanted.sha256
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({name: keys(Path(folder), name == "worst") for name in ("same", "worst")}))


if __name__ == "__main__":
    main(set(sys.argv[1:]))
