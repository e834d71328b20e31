"""Where the bytes of a compressed binary are: by section, by Go package, by feature.

A compressor shares what repeats, so no part has a size of its own once compressed. A part counts
here as what it takes when compressed alone with the same method (LZMA), scaled so that all parts
together make the real compressed file. What a feature costs is measured, not estimated: by
building without it.
"""

from __future__ import annotations

import lzma
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from build.config import features
from build.core.errors import BuildFailed


@dataclass(frozen=True)
class Weight:
    """One part: `raw` bytes in the binary, `compressed` its share of the compressed file."""

    name: str
    raw: int
    compressed: int


def _packed(content: bytes) -> int:
    if not content:
        return 0
    # A dictionary no larger than the content: allocating the preset's 64 MB for each of hundreds
    # of packages takes longer than compressing them.
    size = max(4096, len(content))
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 9, "dict_size": size}]
    return len(lzma.compress(content, lzma.FORMAT_RAW, filters=filters))


def _scaled(parts: Iterable[tuple[str, bytes]], total: int) -> list[Weight]:
    alone = [(name, len(content), _packed(content)) for name, content in parts]
    factor = total / (sum(packed for _, _, packed in alone) or 1)
    weights = [Weight(name, raw, round(packed * factor)) for name, raw, packed in alone]
    return sorted(weights, key=lambda weight: -weight.compressed)


def sections(binary: Path, total: int) -> list[Weight]:
    """Return the weight of each section of an uncompressed ELF file; `total` is the compressed
    file's size in bytes, to which the weights add up.
    """
    from elftools.elf.elffile import ELFFile

    with binary.open("rb") as stream:
        parts = [
            (section.name, section.data())
            for section in ELFFile(stream).iter_sections()
            if section["sh_type"] != "SHT_NOBITS" and section["sh_flags"] & 2  # SHF_ALLOC
        ]
    return _scaled(parts, total)


_GENERIC = re.compile(r"\[.*")


def package_of(symbol: str) -> str:
    """Return the Go package that a linker symbol belongs to, or a name in brackets for none.

    Source: Go's symbol names are `path/to/package.Name`, where dots in the last path element are
    written %2e; generated symbols start with `type:` or `go:`.
    """
    if symbol.startswith("type:"):
        return "(types)"
    if ":" in symbol.split(".", 1)[0]:
        return "(generated)"
    plain = _GENERIC.sub("", symbol)
    head, slash, last = plain.rpartition("/")
    if "." not in last:
        return "(runtime data)"
    return (head + slash + last.split(".", 1)[0]).replace("%2e", ".")


def packages(binary: Path, total: int) -> list[Weight]:
    """Return the weight of each Go package in an ELF file that has its symbol table.

    What no symbol names, such as function tables, is listed by section. Raises BuildFailed if the
    file has no symbols.
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    found: dict[str, bytearray] = defaultdict(bytearray)
    with binary.open("rb") as stream:
        elf = ELFFile(stream)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise BuildFailed(f"{binary} has no symbol table", cure="link it without -s")
        loaded = {
            number: (section["sh_addr"], section.data(), section.name)
            for number, section in enumerate(elf.iter_sections())
            if section["sh_type"] != "SHT_NOBITS" and section["sh_flags"] & 2
        }
        taken: dict[int, int] = defaultdict(int)
        for symbol in table.iter_symbols():
            number, size = symbol["st_shndx"], symbol["st_size"]
            # These cover whole tables that other symbols lie in.
            if number not in loaded or not size or symbol.name.startswith("runtime.e"):
                continue
            address, content, _ = loaded[number]
            start = symbol["st_value"] - address
            found[package_of(symbol.name)] += content[start : start + size]
            taken[number] += size
        for number, (_, content, name) in loaded.items():
            if taken[number] < len(content) // 2:
                found[f"({name})"] += content
    return _scaled(((name, bytes(content)) for name, content in found.items()), total)


def without(graph: features.Graph, verdicts: features.Verdicts, name: str) -> set[str]:
    """Return the features that are in if `name` and all that need it are not wanted.

    What only they pulled in goes too, so the difference in size is what the choice costs.
    """
    wanted = {n for n, v in verdicts.features.items() if v.verdict == "in" and n in graph}

    def needs(feature: str, seen: frozenset[str] = frozenset()) -> bool:
        if feature == name:
            return True
        own = [edge.to for edge in verdicts.edges if edge.source == feature]
        after = (*graph[feature].deps, *own)
        return any(needs(dep, seen | {feature}) for dep in after if dep not in seen)

    kept: set[str] = set()
    queue = [feature for feature in wanted if not needs(feature)]
    while queue:
        feature = queue.pop()
        if feature not in kept:
            kept.add(feature)
            queue += graph[feature].deps
            queue += [edge.to for edge in verdicts.edges if edge.source == feature]
    return kept
