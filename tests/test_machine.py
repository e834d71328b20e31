"""The router-like machine without booting one: its initrd, its pins, its orders."""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from build.config import pins
from build.config.targets import target, targets
from build.core import cache, command, digest
from build.core.errors import BuildFailed, GateFailed, UserError
from build.core.service import Service
from build.gates import records, runtime
from build.gates.records import Record, Verdict
from build.lab import boot
from build.lab.controls import NEGATIVE_CONTROLS
from build.lab.guest import Guest
from build.sources import obtain
from build.trials import runs


def module(*needs: str) -> bytes:
    return b"\x7fELF license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0"


def test_each_module_comes_after_what_it_needs() -> None:
    known = {"ext4": module("jbd2", "crc16"), "jbd2": module(), "crc16": module("lib-x")}
    known["lib_x"] = module()
    assert boot.ordered(["ext4", "jbd2"], known, set()) == ["jbd2", "lib_x", "crc16", "ext4"]
    assert boot.ordered(["ext4"], known, {"lib_x", "jbd2"}) == ["crc16", "ext4"]
    with pytest.raises(BuildFailed, match="no module lib_x"):
        boot.ordered(["ext4"], {k: v for k, v in known.items() if k != "lib_x"}, set())


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "data.tar.xz": lzma.compress(buffer.getvalue())}
    packed = b"!<arch>\n"
    for name, content in parts.items():
        packed += f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        packed += content + b"\n" * (len(content) % 2)
    path.write_bytes(packed)
    return path


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """What a kernel makes of a cpio archive of the kind newc: {path: (mode, content)}."""
    found, place = {}, 0
    while True:
        fields = [int(archive[i : i + 8], 16) for i in range(place + 6, place + 110, 8)]
        assert archive[place : place + 6] == b"070701"
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[place + 110 : place + 109 + length].decode()
        place = -(-(place + 110 + length) // 4) * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[place : place + size])
        place = -(-(place + size) // 4) * 4


def test_a_machine_is_made_of_a_kernel_its_modules_and_our_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = "lib/modules/5/kernel"
    names = [name for step in boot.MODULES.values() for name in step]
    files = {f"{base}/{name}.ko": module() for name in names if name != "ext4"}
    files |= {f"{base}/nf_tables.ko": module("nfnetlink"), f"{base}/unwanted.ko": module()}
    files |= {"boot/vmlinuz-5": b"kernel", "lib/modules/5/modules.builtin": b"kernel/ext4.ko\n"}
    debs = {
        "linux-arm64": deb(tmp_path / "linux.deb", files),
        "busybox-arm64": deb(tmp_path / "busybox.deb", {"bin/busybox": b"shell"}),
    }
    monkeypatch.setattr(obtain, "fetch", lambda pin, offline=False: debs[pin.name])
    data = tmp_path / "guest"
    data.mkdir()
    (data / "mt-guest").write_bytes(b"guest")
    guest = cache.Entry("lab", "0", data, digest.tree_manifest(data), {}, {}, False)
    made = boot.build(guest, target("arm64"))
    assert (made.data / "vmlinuz").read_bytes() == b"kernel"
    found = unpacked((made.data / "initrd").read_bytes())
    assert found["init"] == (0o100755, boot.INIT.read_bytes())
    assert found["bin/mt-guest"] == (0o100755, b"guest")
    assert found["bin/busybox"] == (0o100755, b"shell")
    assert found["proc"] == (0o040755, b"")
    assert "modules/ext4.ko" not in found, "it is built in"
    assert "modules/unwanted.ko" not in found
    listed = {step: found[f"modules/{step}"][1].decode().split() for step in boot.MODULES}
    assert listed["nfnetlink"] == ["nfnetlink"]
    # What is in an earlier step is not loaded twice, and nothing of nf_tables is in one.
    assert listed["nf_tables"][0] == "nf_tables" and "nfnetlink" not in listed["nf_tables"]
    assert not [name for name in listed["base"] if name.startswith("nf")]


def test_what_is_no_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"<html>not found</html>")
    with pytest.raises(BuildFailed, match=r"a\.deb is not a Debian package"):
        boot.deb_content(tmp_path / "a.deb")


def test_each_machine_is_a_platform_and_boots_what_is_pinned() -> None:
    known = pins.load(boot.PINS)
    assert boot.MODELS.keys() == targets().keys() - {"amd64"}
    used = {pin for model in boot.MODELS.values() for pin in (model.kernel, model.busybox)}
    assert used == known.keys()
    with pytest.raises(UserError, match="no router-like machine for amd64"):
        boot.model(target("amd64"))
    assert "vfp=off" in boot.MODELS["armv5"].cpu


def test_answers_are_read_as_they_come(tmp_path: Path) -> None:
    """Half a line is none yet; what QEMU itself prints is no answer."""
    log = tmp_path / "machine.log"
    guest = Guest.__new__(Guest)
    guest._service = Service(None, "machine", log)  # type: ignore[arg-type]
    guest._read, guest._answers, guest._told, guest._ready = 0, {}, {}, False
    line = json.dumps({"id": 7, "code": 3, "output": "\x00{\n"})
    log.write_text('+ qemu\n{"event": "ready"}\nqemu: warning\n' + line[:9])
    guest._listen()
    assert guest._ready and not guest._answers
    with log.open("a") as stream:
        stream.write(line[9:] + '\n{"event": "out", "name": "node-1", "text": "a\\n"}\n')
        stream.write('{"id": 8, "output": "late"}\n')
    assert [event["text"] for event in guest.told("node-1")] == ["a\n"]
    assert (guest._answers[7].code, guest._answers[7].output) == (3, "\x00{\n")
    assert guest._answers[8].code is None, "killed, for it took too long"


def test_a_machines_record_is_one_of_its_own() -> None:
    names = [canary.name for canary in records.wanted_for("machine")]
    assert "no-netfilter" not in names and "subnet-ipv6" in names and "flash-idle" in names
    verdicts = tuple(Verdict(name, True, 0.1, "") for name in names)
    record = Record("arm64", "sha256:1", records.gate_identity(), "machine", 0, 1, {}, verdicts)
    assert record.ok and not replace(record, canaries=verdicts[1:]).ok
    assert records.write(record).name == "machine-arm64.json"
    with pytest.raises(GateFailed, match="has not passed") as caught:
        records.require("arm64", "sha256:1")
    assert "runtime-arm64.json" in caught.value.why and "machine-" not in caught.value.why
    plain = tuple(Verdict(c.name, True, 0.1, "") for c in records.wanted_for("user"))
    other = replace(record, tunnel="user", canaries=plain)
    records.write(other)
    assert records.require("arm64", "sha256:1") == [other, record]
    # A machine's record that lies in the other's place says nothing of it, nor the other way.
    records.path_of("arm64").write_text(records.path_of("arm64", "machine").read_text())
    with pytest.raises(GateFailed) as caught:
        records.require("arm64", "sha256:1")
    assert "is of a machine tunnel" in caught.value.why
    assert caught.value.cure == "invoke verify --arch arm64"


def test_the_machines_are_asked_of_those_that_have_one() -> None:
    kinds = {name: records.kinds_for(name) for name in targets()}
    assert {name for name, found in kinds.items() if "machine" in found} == set(boot.MODELS)
    assert all("runtime" in found for found in kinds.values())


def test_machines_run_at_once_and_the_first_failure_ends_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = [target(name) for name in boot.MODELS]
    barrier = threading.Barrier(len(chosen), timeout=10)
    ended = []

    def verify(one: Any, *_: object) -> Record:
        barrier.wait()
        if one.name == "armv7":
            raise BuildFailed("armv7 does not boot")
        with pytest.raises(KeyboardInterrupt):
            command.call(
                ["sleep", "60"], env={"PATH": os.environ["PATH"]}, cwd=Path("/"), timeout=70
            )
        ended.append(one.name)
        raise KeyboardInterrupt

    everything = {name: object() for name in targets()}
    monkeypatch.setattr(runs.tools, "require", lambda: None)
    monkeypatch.setattr(runs.runtime, "require_machine", lambda *_, **__: None)
    monkeypatch.setattr(runs, "images", lambda *_: everything)
    monkeypatch.setattr(runs, "program", lambda *_: Path("mt-lab"))
    monkeypatch.setattr(runs, "boot_of", lambda *_: None)
    monkeypatch.setattr(runs.runtime, "verify", verify)
    with pytest.raises(BuildFailed, match="armv7 does not boot"):
        runs.run(chosen, machine=True)
    assert sorted(ended) == ["arm64", "armv5"]


@pytest.mark.parametrize("alone", [False, True], ids=["whole", "one platform"])
def test_images_of_a_layout_are_not_built(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """The peers' neither, if it is there: a build would put another release into dist/."""
    seen: dict[str, Any] = {}

    def verify(one: Any, image: Any, peers: Any, *_: object) -> Record:
        seen[one.name] = image, peers
        return Record(one.name, "", "", "machine", 0, 1, {}, ())

    monkeypatch.setattr(runs.tools, "require", lambda: None)
    monkeypatch.setattr(runs.runtime, "require_machine", lambda *_, **__: None)
    monkeypatch.setattr(runs.bundle, "holds", lambda *_: not alone)
    monkeypatch.setattr(runs.bundle, "read", lambda _, one: f"read {one.name}")
    monkeypatch.setattr(runs, "images", lambda some, _: {o.name: f"built {o.name}" for o in some})
    monkeypatch.setattr(runs, "program", lambda *_: Path("mt-lab"))
    monkeypatch.setattr(runs, "boot_of", lambda *_: None)
    monkeypatch.setattr(runs.runtime, "verify", verify)
    chosen = [target("arm64"), target("armv5")]
    runs.run(chosen, ["join"], Path("layout"), machine=True)
    peers = "built amd64" if alone else "read amd64"
    assert seen == {one.name: (f"read {one.name}", peers) for one in chosen}


@pytest.mark.parametrize("how", ["status 132", "status 1", "out of memory"])
def test_the_wrong_image_has_to_die_of_a_missing_instruction(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Any other end of it would be trouble of the machine's, which proves nothing."""
    world = SimpleNamespace(node=SimpleNamespace(log_tail=lambda: f"ended with {how}"))

    @contextlib.contextmanager
    def laboratory(*words: object, **options: object) -> Iterator[SimpleNamespace]:
        yield world

    monkeypatch.setattr(runs, "laboratory", laboratory)
    monkeypatch.setattr(runs, "populate", lambda world: None)
    (one,) = [negative for negative in NEGATIVE_CONTROLS if negative.dies]
    image: Any = None

    def ran() -> runtime.NegativeRun:
        return runs._run_negative(one, image, image, Path("mt-lab"), "machine", {})

    if how == "status 132":
        assert [verdict.ok for verdict in ran().verdicts] == [False]
    else:
        with pytest.raises(BuildFailed, match=how):
            ran()
