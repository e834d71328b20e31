"""The pages beside the one that gives a block: sizes, their trend, gate, figures, licences.

Each is made of a record that a build, a gate or a release has left. Where there is none the page
says so, and which command makes it. Nothing is built or measured here.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence

from build.core.errors import GateFailed, UserError
from build.core.paths import dist_dir
from build.core.version import parse_release
from build.gates import counted, figures, ratio, records, size
from build.image import products
from build.sbom import document
from build.views import counting, look, plots, report

MISSING = '<p class="missing">{}</p>'
PARTS = (size.ROOTFS, ratio.BINARY)
"""Components whose way over the releases is drawn."""


def _text(words: str) -> str:
    return f"<p>{html.escape(words)}</p>"


def _missing(what: str, cure: str) -> str:
    return MISSING.format(f"{html.escape(what)} <code>{html.escape(cure)}</code> makes it.")


def _head(words: str, anchor: str = "") -> str:
    named = f' id="{html.escape(anchor)}"' if anchor else ""
    return f"<h2{named}>{html.escape(words)}</h2>"


def sizes(measures: Sequence[size.Measure], weights: Sequence[ratio.Share]) -> list[str]:
    """Return the parts of the page of sizes: each component, and ours against upstream's recipe."""
    totals = {row.target: row.size for row in measures if row.component == size.ROOTFS}
    return [
        _text("Bytes of each file in the image, and of the whole root file system."),
        plots.table(report.component_columns(), report.component_rows(measures)),
        plots.bars("Whole root file system, bytes", totals),
        _head("Binary, compressed, against upstream's recipe"),
        plots.table(report.SHARE_COLUMNS, report.share_rows(weights)),
    ]


def trend(history: size.Recorded) -> list[str]:
    """Return the parts of the page about sizes over the recorded releases."""
    if not history:
        return [_missing("No release's sizes are recorded.", "invoke size --record TAG")]
    found = [_text(f"{len(history)} releases are recorded, in build/data/{size.SIZES.name}.")]
    for part in PARTS:
        tags = sorted(history, key=parse_release)
        names = sorted({name for tag in tags for name in history[tag]})
        rows = [
            (
                tag,
                *(
                    f"{history[tag][name][part]:,}" if part in history[tag].get(name, {}) else ""
                    for name in names
                ),
            )
            for tag in tags
        ]
        found += [_head(f"{part}, bytes"), plots.table(("release", *names), rows)]
        found.append(plots.trend(history, part))
    return found


def gate(images: Sequence[products.Image]) -> list[str]:
    """Return the parts of the page about the runtime gate: a line and what was seen, of each."""
    found: list[str] = []
    lines: list[str] = []
    for image in images:
        name, digest = image.target.name, image.descriptor["digest"]
        found += [_head(image.target.platform, name), _text(f"Image {digest}")]
        runs = {record.kind: record for record in records.read_all(name, digest)}
        try:
            records.require(name, digest)
            found.append(_text("Passed: this image may be published."))
            verdict = "passed"
        except GateFailed as error:
            # The page is for others, to whom the folders of this machine say nothing.
            why = str(error.why).replace(f"{dist_dir()}/", "")
            found.append(MISSING.format(html.escape(f"Not passed: {why}.")))
            verdict = "not passed"
        for kind in records.kinds_for(name):
            if kind in runs:
                found += _run(runs[kind])
                verdict += f", {_place(runs[kind]).lower()} {_count(runs[kind])}"
                continue
            how = " --machine" if kind == records.MACHINE else ""
            what = f"There is no {kind} record of this image."
            found.append(_missing(what, f"invoke verify{how} --arch {name}"))
        place, shown = html.escape(name), html.escape(image.target.platform)
        link = f'<a id="to-{place}" href="#{place}">{shown}</a>'
        lines.append(f"<li>{link}: {html.escape(verdict)}</li>")
    return [f"<ul>{''.join(lines)}</ul>", *found]


def _place(record: records.Record) -> str:
    return {records.MACHINE: "In a router-like machine"}.get(record.kind, "In namespaces")


def _count(record: records.Record) -> str:
    return f"{sum(one.ok for one in record.canaries)} of {len(record.canaries)}"


def _run(record: records.Record) -> list[str]:
    said = f"{_count(record)} canaries passed, {record.seconds:.0f} s"
    rows = [
        ("yes" if v.ok else "NO", v.name, f"{v.seconds:.1f}", v.detail) for v in record.canaries
    ]
    values = [(name, f"{value:,g}") for name, value in record.figures.items()]
    return [
        f"<h3>{html.escape(_place(record))}, {html.escape(record.tunnel)} tunnel</h3>",
        _text(said),
        plots.table(("passed", "canary", "seconds", "seen"), rows, numbers=False),
        plots.table(("figure", "value"), values) if values else "",
    ]


def measured(
    result: figures.Result | None, history: figures.Recorded, images: set[str]
) -> list[str]:
    """Return the parts of the page of figures; `images` are the digests that the site is about."""
    if result is None:
        return [_missing("Speed and memory were not measured here.", "invoke figures")]
    other = "" if result.image in images else " That is another image than this site's."
    return [
        _text(
            f"{result.release}, image {result.image}, against upstream's recipe: {result.rounds} "
            f"rounds of {result.bytes >> 20} MiB each way, {result.seconds:.0f} s.{other}"
        ),
        plots.table(report.FIGURE_COLUMNS, report.figure_rows(result, history)),
        plots.ratios(result),
        plots.figure_trend(history, result),
    ]


def machines(
    result: counted.Result | None, history: figures.Recorded, images: set[str]
) -> list[str]:
    """Return the parts of the page of figures that were counted in router-like machines."""
    head = _head("In router-like machines")
    if result is None:
        cure = "invoke figures --machine"
        return [head, _missing("Instructions and memory were not counted on ARM here.", cure)]
    ours = {one.image for one in result.sides}
    other = "" if ours <= images else " Those are other images than this site's."
    return [
        head,
        _text(f"{counting.title(result)}.{other}"),
        plots.table(counting.COLUMNS, counting.rows(result, history)),
        counting.ratios(result),
        counting.trend(history, result),
    ]


def licences(images: Sequence[products.Image]) -> list[str]:
    """Return the parts of the page about what is in the images, and under which licences."""
    found: list[str] = []
    where: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for image in images:
        try:
            place = products.beside(image.target, "sbom", image.release)
            rows, whole = document.components(place.read_text(encoding="utf-8"))
        except (UserError, OSError, ValueError):
            what = f"The SBOM that was built for {image.target.name} is not here."
            found.append(_missing(what, "invoke build-all"))
            continue
        found.append(
            _text(f"{image.target.platform}: {place.name}, {len(rows)} components. {whole}")
        )
        for name, version, licence in rows:
            where[name, version, licence].append(image.target.name)
    if not where:
        return found
    count: dict[str, int] = defaultdict(int)
    for _, _, licence in where:
        count[licence] += 1
    most = sorted(count.items(), key=lambda row: (-row[1], row[0]))
    every = len(images)
    table = [
        (*row, "all" if len(names) == every else ", ".join(names))
        for row, names in sorted(where.items())
    ]
    columns = ("component", "version", "licence", "platforms")
    return [
        *found,
        _text("The SBOMs (CycloneDX 1.6) have the texts of the licences and where sources are."),
        _head("Licences"),
        plots.table(("licence", "components"), [(name, f"{n:,}") for name, n in most]),
        _head("Components"),
        plots.table(columns, table, numbers=False),
    ]


def pages(images: Sequence[products.Image]) -> dict[str, str]:
    """Return {name: text} of all pages but the first, for what dist/ has.

    Raises UserError for a record that is there and cannot be read.
    """
    if not images:
        raise UserError("there is no image to tell of", cure="invoke build-all")
    measures = size.of_images(images)
    digests = {image.descriptor["digest"] for image in images}
    history, result = figures.recorded(), figures.read()
    parts = {
        "sizes": sizes(measures, ratio.of(measures)),
        "trend": trend(size.recorded()),
        "gate": gate(images),
        "figures": [
            *measured(result, history, digests),
            *machines(counted.read(), history, digests),
        ],
        "licences": licences(images),
    }
    tag = images[0].release.tag
    return {
        name: look.page(f"{look.PAGES[name]}: {tag}", found, look.links(name))
        for name, found in parts.items()
    }
