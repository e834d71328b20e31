"""Which secret is where in the CI files, and what runs beside it. docs/CI.md has the table."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_ci_files import ACTIONS, SESSION, WOODPECKER, lines, load

from build.pipeline import order

ROOT = Path(__file__).resolve().parent.parent
BOOTING = {"runtime", "machine", "prove", "root", "rehearsal", "figures", "chain"}
"""Sessions that run an image, as root."""

PURPOSES = {
    "renovate": {"renovate_token"},
    "release-tag": {"tag_token", "tag_header"},
    "release": {
        *("registry_user", "registry_password", "signing_key", "signing_password"),
        *("repository", "attach_token"),
    },
}
"""{pipeline: secrets that it may use}; `repository` is an address, which Woodpecker keeps there."""


def started(table: Any) -> set[str]:
    """The sessions of a step or job."""
    found = [SESSION.fullmatch(line) for line in lines(table)]
    return {name for match in found if match for name in match[1].split()}


def secrets(table: Any) -> set[str]:
    """The secrets that a part of a CI file names, in lower case; `token` is a run's own."""
    text = json.dumps(table)
    found = re.findall(r"secrets\.(\w+)|\"from_secret\": \"(\w+)\"", text)
    own = {"token"} if "github.token" in text or "GITHUB_TOKEN" in text else set()
    return {(one or other).lower() for one, other in found} | own


def actions_faults(name: str, table: dict[str, Any]) -> list[str]:
    """What is wrong with the secrets of an Actions file. `name` is its pipeline."""
    wrong = []
    pull = "pull_request" in (table.get("on") or table.get(True) or {})
    if "secrets" in json.dumps(table) and pull:
        wrong.append("a pull request can read a secret")
    if any(value == "write" for value in (table.get("permissions") or {"all": "write"}).values()):
        wrong.append("every job may write")
    for key, job in table["jobs"].items():
        near = secrets(job)
        if odd := near - PURPOSES.get(name, set()) - {"token"}:
            wrong.append(f"{key}: {', '.join(sorted(odd))} is not for {name}")
        checkouts = [step for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
        if near and started(job) & BOOTING:
            wrong.append(f"{key}: an image runs beside a secret")
        for step in checkouts:
            given = step.get("with", {})
            if pull and near and "base.sha" not in str(given.get("ref")):
                wrong.append(f"{key}: the request's code beside a token")
            if (pull or started(job) & BOOTING) and given.get("persist-credentials") is not False:
                wrong.append(f"{key}: the checkout keeps its token")
        if re.search(r"actions/cache|cache:", json.dumps(job)):
            wrong.append(f"{key}: a cache that others fill")
        if job.get("container"):
            wrong.append(f"{key}: an image by tag")
        writes = {k for k, value in (job.get("permissions") or {}).items() if value == "write"}
        if writes and started(job) & BOOTING:
            wrong.append(f"{key}: an image runs beside a token that may write")
    return wrong


def woodpecker_faults(name: str, table: dict[str, Any]) -> list[str]:
    """What is wrong with the secrets of a Woodpecker file."""
    wrong = []
    events = {row["event"] for row in table["when"]}
    near = secrets(table)
    if "pull_request" in events and near:
        wrong.append("a pull request can read a secret")
    if odd := near - PURPOSES.get(name, set()):
        wrong.append(f"{', '.join(sorted(odd))} is not for {name}")
    for step in table["steps"]:
        if secrets(step) and (step.get("privileged") or started(step) & BOOTING):
            wrong.append(f"{step['name']}: an image runs beside a secret")
        if step.get("volumes"):
            wrong.append(f"{step['name']}: a folder that others fill")
    return wrong


def every() -> list[tuple[str, dict[str, Any], Any]]:
    rows: list[tuple[str, dict[str, Any], Any]] = [
        (p.stem, load(p), actions_faults) for p in ACTIONS
    ]
    return rows + [
        (p.stem.replace("pr-build", "pull"), load(p), woodpecker_faults) for p in WOODPECKER
    ]


def test_no_secret_is_beside_what_is_not_trusted() -> None:
    assert {row[0]: faults(*row[:2]) for *row, faults in every() if faults(*row[:2])} == {}


def test_each_secret_has_one_purpose() -> None:
    """One name for one use: what one pipeline leaks does not open another's door."""
    for paths in (ACTIONS, WOODPECKER):
        used = [(path.stem, name) for path in paths for name in secrets(load(path)) - {"token"}]
        assert len(used) > 4
        names = [name for _, name in used]
        assert sorted(names) == sorted(set(names)), used


def actions(stem: str) -> dict[str, Any]:
    return copy.deepcopy(load(next(path for path in ACTIONS if path.stem == stem)))


WRITE = {"packages": "write"}
KEY, TAG, OWN = (
    {"A": f"${{{{ {name} }}}}"}
    for name in ("secrets.SIGNING_KEY", "secrets.TAG_TOKEN", "github.token")
)


@pytest.mark.parametrize(
    ("stem", "change", "said"),
    [
        ("pull", lambda t: step(t, "images").update(env=KEY), "read"),
        ("pull", lambda t: step(t, "tests").update(env=OWN), "code beside"),
        ("pull", lambda t: t["jobs"]["comment"]["steps"][0].pop("with"), "code beside"),
        ("pull", lambda t: t["jobs"]["images"]["steps"][0].pop("with"), "keeps its token"),
        ("pull", lambda t: t.update(permissions={"contents": "write"}), "every job may write"),
        ("pull", lambda t: t.pop("permissions"), "every job may write"),
        ("release", lambda t: step(t, "prove").update(env=KEY), "beside"),
        ("release", lambda t: step(t, "publish").update(run="./dev nox -s prove"), "runs beside"),
        ("release", lambda t: step(t, "publish").update(env=TAG), "not for"),
        ("release", lambda t: t["jobs"]["prove"].update(permissions=WRITE), "may write"),
        ("release", lambda t: step(t, "prove").update(uses="actions/cache@1"), "others fill"),
        ("renovate", lambda t: t["jobs"]["renovate"].update(container={"image": "a:1"}), "by tag"),
    ],
)  # fmt: skip
def test_a_secret_in_the_wrong_place_is_seen(stem: str, change: Any, said: str) -> None:
    table = actions(stem)
    change(table)
    assert any(said in fault for fault in actions_faults(stem, table))


def step(table: dict[str, Any], job: str) -> dict[str, Any]:
    """The last step of a job, which the negative controls change."""
    return table["jobs"][job]["steps"][-1]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("stem", "at", "change", "said"),
    [
        ("pr-build", 1, {"environment": {"A": {"from_secret": "attach_token"}}}, "read a secret"),
        ("release", 1, {"environment": {"A": {"from_secret": "signing_key"}}}, "beside"),
        ("release", 2, {"privileged": True}, "beside"),
        ("release", 2, {"volumes": ["/var/cache:/cache"]}, "others fill"),
        ("renovate", 0, {"environment": {"A": {"from_secret": "tag_header"}}}, "not for"),
    ],
)
def test_a_secret_in_the_wrong_step_is_seen(stem: str, at: int, change: Any, said: str) -> None:
    table = copy.deepcopy(load(next(path for path in WOODPECKER if path.stem == stem)))
    table["steps"][at].update(change)
    name = stem.replace("pr-build", "pull")
    assert any(said in fault for fault in woodpecker_faults(name, table))


def test_every_pull_request_is_judged() -> None:
    """A required check that is never reported holds a request back: no path is left out."""
    table = actions("pull")
    assert table.get("on", table.get(True)) == {"pull_request": None}
    (woodpecker,) = (load(path) for path in WOODPECKER if path.stem == "pr-build")
    assert woodpecker["when"] == [{"event": "pull_request"}]


def test_the_last_job_asks_every_other_for_what_it_has_proved() -> None:
    jobs = actions("pull")["jobs"]
    proving = {name for name in jobs if started(jobs[name]) - {"evidence", "comment"}}
    asked = set(re.findall(r"--require (\w+)", " ".join(lines(jobs["passed"]))))
    assert proving == asked == set(jobs["passed"]["needs"])
    assert jobs["passed"]["if"] == "always()"
    for name in proving:
        assert lines(jobs[name])[-1] == f"./dev nox -s evidence -- --write {name}"
        assert jobs[name]["outputs"][name] == f"${{{{ steps.proved.outputs.{name} }}}}"


def test_what_is_published_is_what_was_proved() -> None:
    jobs = actions("release")["jobs"]
    assert jobs["prove"]["outputs"]["handover"] == "${{ steps.gate.outputs.handover }}"
    (publish,) = (s for s in jobs["publish"]["steps"] if s.get("run") == "./dev nox -s publish")
    assert publish["env"]["MT_HANDOVER"] == "${{ needs.prove.outputs.handover }}"
    assert {"build-all", "verify"}.isdisjoint(started(jobs["publish"]))


@pytest.mark.parametrize("stem", ["release-tag", "release"])
def test_what_was_lost_is_looked_for_every_night(stem: str) -> None:
    table = actions(stem)
    assert table.get("on", table.get(True))["schedule"]
    (woodpecker,) = (load(path) for path in WOODPECKER if path.stem == stem)
    assert {"event": "cron", "cron": stem} in woodpecker["when"]


# --- Woodpecker's substitution ------------------------------------------------------------------

LIBRARY = ("github.com/drone/envsubst", "v1.0.3")
"""What Woodpecker's own library is a fork of (its documentation, "String Substitution")."""

SAMPLES = (
    r'["^\\./dev [0-9.]+$", "^git requirements\\.txt$"]',
    "a $$ b $${C} ${CI_REPO}/x",
    r"path\/to \\ \n $x $",
    "${CI_REPO}${CI_FORGE_URL}",
)


def substituted(text: str, values: dict[str, str]) -> str:
    """What Woodpecker makes of a file: `${NAME}`, `$$` for a dollar, `\\\\` and `\\/` for one."""

    def put(match: re.Match[str]) -> str:
        return match[2] if match[2] else values.get(match[1], "")

    return re.sub(r"\$\{(\w+)\}|[\\$](?<=\\)([\\/])|\$(\$)", lambda m: m[3] or put(m), text)


@pytest.mark.parametrize("path", WOODPECKER, ids=lambda path: path.stem)
def test_the_words_arrive_as_they_are_written(path: Path) -> None:
    """Nothing but its own variables is changed, so what the bot may run is what is written."""
    values = {"CI_FORGE_URL": "https://forge.example", "CI_REPO": "me/it"}
    text = path.read_text()
    plain = text
    for name, value in values.items():
        plain = plain.replace(f"${{{name}}}", value)
    assert "$" not in plain and "\\" not in plain
    assert substituted(text, values) == plain


def test_words_that_would_be_changed_are_seen() -> None:
    pattern = SAMPLES[0]
    assert json.loads(pattern)
    with pytest.raises(ValueError):
        json.loads(substituted(pattern, {}))


@pytest.mark.network
def test_the_substitution_is_the_library_s(shared_cache: Path, tmp_path: Path) -> None:
    module, version = LIBRARY
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "go.mod").write_text(f"module x\n\ngo 1.21\n\nrequire {module} {version}\n")
    (folder / "main.go").write_text(
        'package main\nimport ("fmt"; "io"; "os"; "' + module + '")\nfunc main() {\n'
        "text, _ := io.ReadAll(os.Stdin)\n"
        "out, err := envsubst.EvalEnv(string(text))\n"
        "if err != nil { panic(err) }\nfmt.Print(out)\n}\n"
    )
    go = order.go_command()
    env = go.environment(tmp_path) | {"GOFLAGS": "-mod=mod", "GONOSUMDB": "none"}
    program = str(folder / "x")
    argv = [str(go.root / "bin" / "go"), "build", "-o", program, "."]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = {"CI_FORGE_URL": "https://forge.example", "CI_REPO": "me/it"}
    for text in (*SAMPLES, *(path.read_text() for path in WOODPECKER)):
        done = subprocess.run([program], input=text, env=values, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == substituted(text, values)
