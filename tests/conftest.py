"""Every test has its own cache, dist and work folders; slow ones may ask for the shared cache."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import web as fake_web
from hypothesis import settings

from build.core import command, log, paths, redact
from build.sources import download, obtain

# A shell starts background jobs deaf to Ctrl-C, and their children inherit it. The tests send that
# signal and expect it to be heard, however they were started.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Of the machine that runs the tests, before a test changes the variable.
SHARED_CACHE = paths.cache_dir()

# The same examples in every run: a failure in CI is a failure at home.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test its own folders and no settings of the machine; yields its own folder."""
    for name in list(os.environ):
        if name.startswith(("MT_", "PIP_", "GO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MT_DIST", str(tmp_path / "dist"))
    monkeypatch.setenv("MT_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("MT_APT_DIR", str(tmp_path / "no-apt"))
    monkeypatch.setattr(download, "PAUSE", 0.01)
    obtain._checked.clear()
    # A password of one test is an ordinary word of the next.
    redact._known.clear()
    log.configure("plain")
    yield tmp_path
    obtain._checked.clear()
    command.resume()


@pytest.fixture
def web() -> Iterator[fake_web.Web]:
    """Give a web server whose answers the test scripts."""
    with fake_web.serving() as server:
        yield server


@pytest.fixture
def shared_cache(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the machine's own cache, where toolchains lie."""
    monkeypatch.setenv("MT_CACHE", str(SHARED_CACHE))
    return SHARED_CACHE
