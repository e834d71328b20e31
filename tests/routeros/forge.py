"""A forge that has the files of a release, beside the registry; and what a router asks there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from build.router import bootstrap
from tests.routeros.bed import TEMPLATES
from tests.routeros.lang.errors import RuntimeFault
from tests.routeros.model.registry import Answer

FILES = "https://forge.example/me/it/releases/download/v1.102.5-mt.1"


def offered(scripts: dict[str, str], tag: str) -> dict[str, str]:
    """What `attach` puts into the forge's release: the scripts, and what brings them."""
    return scripts | {bootstrap.NAME: bootstrap.text(scripts, TEMPLATES, tag)}


class Forge:
    """Files by address; `trusted` is false for a server with a certificate that nobody knows."""

    def __init__(self, registry: Any, texts: Mapping[str, str]) -> None:
        self.registry = registry
        self.trusted = True
        self.asked: list[str] = []
        self.files: dict[str, str] = {}
        self.offer(texts)

    def offer(self, texts: Mapping[str, str]) -> None:
        """Have these scripts in place of what was there, by name."""
        self.files = {f"{FILES}/{name}.rsc": text for name, text in texts.items()}

    def request(self, method: str, url: str, headers: Mapping[str, str], check: bool) -> Answer:
        if url.startswith(f"https://{self.registry.host}/"):
            found: Answer = self.registry.answer(method, url, headers)
            return found
        self.asked.append(url.removeprefix(f"{FILES}/"))
        assert check, "certificates are checked"
        if not self.trusted:
            raise RuntimeFault("failure: ssl: certificate verification failed")
        if not url.startswith(FILES):
            raise RuntimeFault("failure: resolving error")
        if url not in self.files:
            return Answer(404, {}, "")
        return Answer(200, {}, self.files[url])
