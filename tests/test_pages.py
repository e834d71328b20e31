"""The pages beside the one with the block: what a record says, and plainly where there is none."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path

import pytest
from fakes import images
from test_counted import result as counted_result
from test_figures import result

from build.config import targets
from build.core.errors import UserError
from build.core.version import first_of
from build.gates import counted, figures, ratio, records, size
from build.image import dist, products
from build.image import record as dist_record
from build.views import look, pages

RELEASE = first_of("1.102.5")
HOSTILE = "</td><script>alert(1)</script>"
HISTORY = {
    f"v1.102.5-mt.{number}": {
        name: {"rootfs": 3_000_000 + number, "tailscale.combined": 2_900_000}
        for name in targets.targets()
    }
    for number in (2, 10)
}


def sbom(place: Path) -> None:
    row = {"name": "busybox", "version": HOSTILE, "licenses": [{"license": {"id": "GPL-2.0-only"}}]}
    whole = {"licenses": [{"expression": "GPL-2.0-only AND MIT"}]}
    place.write_text(json.dumps({"components": [row], "metadata": {"component": whole}}))


def site_pages(
    places: Path, known: bool, monkeypatch: pytest.MonkeyPatch, bad: str = HOSTILE
) -> dict[str, str]:
    """The pages for dummy images; with `known` each record is there, and one canary has failed."""
    made = images.images(places, RELEASE.tag)
    dist.write(made, targets.targets(), RELEASE, lambda path, chosen: None, whole=True)
    found = products.images(targets.select([]), RELEASE)
    if known:
        monkeypatch.setattr(size, "recorded", lambda: HISTORY)
        for image in found:
            for kind in records.kinds_for(image.target.name):
                tunnel = records.MACHINE if kind == records.MACHINE else "kernel"
                seen = tuple(
                    records.Verdict(one.name, one.name != "dns" and not number, 1.5, bad)
                    for number, one in enumerate(records.wanted_for(tunnel))
                )
                digest, gate = image.descriptor["digest"], records.gate_identity()
                run = (image.target.name, digest, gate, tunnel, 0.0, 60.0, {"VmHWM_kB": 40960.0})
                records.write(records.Record(*run, seen))
            place = places / f"sbom-{image.target.name}"
            sbom(place)
        real = products.beside
        monkeypatch.setattr(
            products,
            "beside",
            lambda target, kind, release: (
                places / f"sbom-{target.name}" if kind == "sbom" else real(target, kind, release)
            ),
        )
        ours = result([1.0, 2.0], [2.0, 4.0])
        figures.write(dataclasses.replace(ours, image=found[0].descriptor["digest"]))
        digests = {image.target.name: image.descriptor["digest"] for image in found}
        machines = counted_result()
        sides = (dataclasses.replace(one, image=digests[one.platform]) for one in machines.sides)
        counted.write(dataclasses.replace(machines, sides=tuple(sides)))
    return pages.pages(found)


def test_where_there_is_no_record_the_page_says_so(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = site_pages(places, False, monkeypatch)
    assert {"index", *made} == {*look.PAGES}
    cures = {
        "trend": ["invoke size --record TAG"],
        "gate": ["invoke verify --arch armv5", "invoke verify --machine --arch armv7"],
        "figures": ["invoke figures", "invoke figures --machine"],
        "licences": ["invoke build-all"],
    }
    for name, commands in cures.items():
        for command in commands:
            assert f"<code>{command}</code>" in made[name], name
    assert "Passed" not in made["gate"]
    assert "not measured" in made["sizes"] or "upstream" in made["sizes"]
    # The pages are for others: no folder of this machine is in them.
    assert [name for name, text in made.items() if str(places) in text] == []


def test_what_the_records_say_is_on_the_pages(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = site_pages(places, True, monkeypatch)
    assert [name for name, text in made.items() if 'class="missing"' in text] == ["gate"]
    for row in size.of_images(products.images(targets.select([]))):
        assert (
            f"<td>{row.target}</td><td>{row.component}</td><td>{row.size:,}</td>" in made["sizes"]
        )
    assert made["trend"].index("mt.2") < made["trend"].index("mt.10")
    assert made["gate"].count("Not passed: ") == len(targets.targets())
    assert "40,960" in made["gate"] and "In a router-like machine" in made["gate"]
    for one in targets.select([]):
        link = f'<a id="to-{one.name}" href="#{one.name}">{one.platform}</a>'
        assert f"{link}: not passed, in namespaces" in made["gate"]
        assert f'id="{one.name}"' in made["gate"]
    assert "<td>NO</td>" in made["gate"] and "<td>yes</td>" in made["gate"]
    assert "0.500" in made["figures"] and "another image" not in made["figures"]
    assert "node receives" in made["figures"] and "other images" not in made["figures"]
    assert "<td>GPL-2.0-only</td><td>1</td>" in made["licences"]
    assert [name for name, text in made.items() if str(places) in text] == []


def test_what_comes_from_records_is_no_html(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = site_pages(places, True, monkeypatch)
    for name in ("gate", "licences"):
        assert html.escape(HOSTILE) in made[name]
        assert HOSTILE not in made[name]
    assert not any(
        re.search(
            r"<script|<img|url\(|@import|https?://(?!www\.w3)",
            text.split("</style>")[1].split("<figure>")[0],
        )
        for text in made.values()
    )


def test_figures_of_another_image_are_told(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_pages(places, True, monkeypatch)
    figures.write(result([1.0], [2.0]))
    found = products.images(targets.select([]))
    assert "That is another image" in pages.pages(found)["figures"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"samples": 1}'])
def test_a_broken_record_is_refused(text: str, places: Path) -> None:
    dist_record.keep("figures.json", text)
    with pytest.raises(UserError, match=r"figures\.json"):
        figures.read()


def test_a_measurement_is_read_as_it_was_written(places: Path) -> None:
    assert figures.read() is None
    written = result([1.0, 2.0], [2.0, 4.0])
    figures.write(written)
    assert figures.read() == written


def test_shares_are_those_of_the_gate(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_pages(places, False, monkeypatch)
    measures = size.of_images(products.images(targets.select([])))
    text = "".join(pages.sizes(measures, ratio.of(measures)))
    for one in ratio.of(measures):
        assert f"<td>{one.target}</td><td>{one.ours:,}</td>" in text
