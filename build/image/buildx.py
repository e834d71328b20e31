"""The other assembler: `docker buildx` makes the images of all platforms from the same trees.

Ours (`oci.py`, `dist.py`) needs no engine. This one shows that nothing in the images is
peculiar to it, and suits those whose other images come from buildx. Formats: the Dockerfile
reference of BuildKit's built-in frontend; OCI image layout 1.0.0.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.config.targets import Target
from build.core import cache, code, command, digest, log
from build.core.artifacts import Rootfs
from build.core.errors import BuildFailed, UserError
from build.core.paths import work_dir
from build.core.version import Release
from build.image import bundle, engine, oci, rootfs
from build.sources import archives

PRODUCT = "oci-buildx"

ARGUMENTS = ("--no-cache", "--provenance=false", "--sbom=false", "--progress=plain")
"""Without the cache: BuildKit finds layers there by content alone, with whatever times they had."""

ALLOWED = {"ArgsEscaped"}
"""Settings that buildx adds and that mean nothing on Linux."""


@dataclass(frozen=True)
class Job:
    """What to assemble: a root file system for each platform, by the platforms' names.

    `epoch`, in seconds since 1970, becomes the time of everything.
    """

    targets: Mapping[str, Target]
    trees: Mapping[str, Rootfs]
    release: Release
    epoch: int

    def made_from(self) -> dict[str, Any]:
        """Return what decides the content of the images, for the record in dist/."""
        trees = {
            self.targets[name].platform: rootfs.identity(tree) for name, tree in self.trees.items()
        }
        inputs = [dockerfile(self.release), trees, self.release.tag, self.epoch, ARGUMENTS]
        inputs.append(code.identity(__name__))
        return {"context": digest.of_json(inputs)}


def _quoted(text: str) -> str:
    """Return a word for ENV or LABEL, with nothing in it that a Dockerfile would expand."""
    if "\n" in text:
        raise UserError(f"{text!r} in rootfs.toml cannot be written into a Dockerfile")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def dockerfile(release: Release) -> str:
    """Return the Dockerfile, which says what `image.settings` says.

    One COPY brings the whole tree, since a file that two layers hold is stored twice. buildx sets
    TARGETPLATFORM to the platform's OCI name, which is also its folder in the context.
    """
    wanted = oci.settings(release)
    lines = ["FROM scratch", "ARG TARGETPLATFORM", "COPY ${TARGETPLATFORM}/ /"]
    for row in wanted["Env"]:
        name, _, value = row.partition("=")
        lines.append(f"ENV {name}={_quoted(value)}")
    lines += [f"LABEL {_quoted(k)}={_quoted(v)}" for k, v in wanted["Labels"].items()]
    if wanted["WorkingDir"] != "/":
        lines.append(f"WORKDIR {wanted['WorkingDir']}")
    lines.append(f"VOLUME {json.dumps(list(wanted['Volumes']))}")
    health = wanted["Healthcheck"]
    times = (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod"))
    words = [f"--{option}={health[key] // 10**9}s" for option, key in times]
    words += [f"--retries={health['Retries']}", "CMD", json.dumps(health["Test"][1:])]
    lines.append(f"HEALTHCHECK {' '.join(words)}")
    lines.append(f"ENTRYPOINT {json.dumps(wanted['Entrypoint'])}")
    lines.append(f"CMD {json.dumps(wanted['Cmd'])}")
    return "\n".join(lines) + "\n"


def context(job: Job) -> bytes:
    """Return a tar with the Dockerfile and a folder <os>/<architecture>[/<variant>] per platform.

    A tar, since of a folder BuildKit sends only what changed: after a crash of the engine it knew
    files that it no longer found, in every later build. Times are the epoch's already, because
    rewrite-timestamp makes later times earlier, but leaves earlier ones as they are.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        text = dockerfile(job.release).encode()
        info = tarfile.TarInfo("Dockerfile")
        info.size, info.mtime = len(text), job.epoch
        archive.addfile(info, io.BytesIO(text))
        for name, tree in job.trees.items():
            oci.add_tree(archive, tree, job.epoch, above=f"{job.targets[name].platform}/")
    return stream.getvalue()


def assemble(job: Job, folder: Path) -> dict[str, Any]:
    """Write the OCI layout that buildx makes into a new folder.

    Returns {"index": digest of the image index, "builder": what made it}. The digest is the same
    in every run of the same builder; another version of BuildKit may compress otherwise. Raises
    UserError without a Docker that can do it, and BuildFailed if it fails.
    """
    builder = engine.require()
    with cache.scratch() as room, log.step("all", "docker buildx build"):
        tar = room / "layout.tar"
        name = f"{oci.REPOSITORY}:{job.release.tag}"
        platforms = ",".join(target.platform for target in job.targets.values())
        argv = ["docker", "buildx", "build", *ARGUMENTS, f"--platform={platforms}"]
        argv += ["--output", f"type=oci,dest={tar},name={name},rewrite-timestamp=true", "-"]
        command.run(
            argv,
            what="assembling the images",
            log_file=work_dir() / "all" / "buildx.log",
            env=engine.environment() | {"SOURCE_DATE_EPOCH": str(job.epoch)},
            cwd=room,
            stdin=context(job),
            cure=f"see that the Docker engine runs and has space, {engine.OTHERWISE}",
        )
        archives.unpack(tar, folder, 0)
    try:
        (named,) = json.loads((folder / "index.json").read_bytes())["manifests"]
        return {"index": str(named["digest"]), "builder": builder}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildFailed(
            "buildx wrote no OCI layout with one image index", why=str(error)
        ) from error


def faults(job: Job, layout: Path) -> list[str]:
    """Return where the images of a sound layout differ from what our own assembler makes."""
    found = []
    for name, target in job.targets.items():
        theirs = bundle.read(layout, target)
        ours = oci.layer_tar(job.trees[name], job.epoch)
        rows = differences(members(ours), members(theirs.layer))
        settings = {key: value for key, value in theirs.config.items() if key not in ALLOWED}
        rows += differences(oci.settings(job.release), settings)
        found += [f"{name}: {row}" for row in rows]
    return found


def members(tar: bytes) -> dict[str, Any]:
    """Return {path: what a container sees of it} of a layer's tar; times in seconds."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            found[member.name] = {
                "type": member.type.decode(),
                "mode": f"{member.mode:04o}",
                "owner": [member.uid, member.gid, member.uname, member.gname],
                "link": member.linkname,
                "mtime": member.mtime,
                "sha256": digest.of_bytes(stream.read()) if stream else "",
                "more": sorted(key for key in member.pax_headers if key.startswith("SCHILY")),
            }
    return found


def differences(wanted: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """Return "name: wanted …, got …" for each entry that differs or that one side lacks."""
    return [
        f"{name}: wanted {wanted.get(name)}, got {got.get(name)}"
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]
