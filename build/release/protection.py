"""What a forge's settings have to be so that nothing unproved is merged or released.

In: the forge's API (Gitea and Forgejo: /api/swagger; GitHub: REST API). Out: findings, each with
its cure. Nothing is changed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from build.config.pins import pin
from build.config.tools import Finding
from build.core.errors import BuildFailed, UserError
from build.core.version import first_of
from build.release.forge import Forge
from build.release.planning import MAIN

JOBS = ("tests", "images", "passed")
"""Jobs of .github/workflows/pull.yaml that a merge has to wait for."""

WOODPECKER = "ci/woodpecker/pr/pr-build"
SECRETS = (
    *("RENOVATE_TOKEN", "TAG_TOKEN", "REGISTRY_USER", "REGISTRY_PASSWORD"),
    *("SIGNING_KEY", "SIGNING_PASSWORD"),
)
VARIABLE = "MT_REPOSITORY"


def contexts(github: bool) -> list[str]:
    """Return the names of the checks as the forge reports them."""
    return [name if github else f"pull request / {name} (pull_request)" for name in JOBS]


def open_forge(address: str, token: str) -> tuple[Forge, bool]:
    """Return the forge of a repository's address, and whether it is GitHub. Raises UserError."""
    parts = urlsplit(address)
    words = parts.path.strip("/").removesuffix(".git").split("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or len(words) < 2:
        raise UserError(
            f"'{address}' is no repository on a forge", cure="such as https://forge.example/me/it"
        )
    if parts.username:
        raise UserError("the address holds a password", cure="put the token into MT_FORGE_TOKEN")
    github = parts.hostname == "github.com"
    before = "".join(f"/{word}" for word in words[:-2])
    api = f"{parts.scheme}://{parts.netloc}{before}/api/v1"
    return Forge("https://api.github.com" if github else api, "/".join(words[-2:]), token), github


def examine(forge: Forge, github: bool) -> list[Finding]:
    """Look at all settings and return the findings. Raises BuildFailed if the forge is away."""
    found = [_repository(forge)]
    found += _branch(forge, github)
    found.append(_tags(forge, github))
    found += _store(forge, github)
    found.append(_forks(forge, github))
    return found


def _row(ok: bool, name: str, seen: str, purpose: str, cure: str) -> Finding:
    return Finding(ok, name, seen, purpose, "" if ok else cure)


def _look(forge: Forge, path: str) -> Any:
    """Return the answer, None where there is nothing or this token may not look."""
    return forge.look(path)


def _repository(forge: Forge) -> Finding:
    repository = _look(forge, "")
    if not isinstance(repository, dict):
        raise BuildFailed(
            "this repository cannot be seen", cure="put a token that may read it in MT_FORGE_TOKEN"
        )
    branch = str(repository.get("default_branch"))
    return _row(
        branch == MAIN,
        "default branch",
        branch,
        "releases come from it",
        f"call it {MAIN}: the CI files and `invoke release` look there",
    )


def _covered(wanted: Collection[str], required: Collection[str]) -> list[str]:
    """Return what of the wanted checks is not required; forges take patterns too."""
    return [
        name for name in wanted if not any(fnmatch.fnmatchcase(name, rule) for rule in required)
    ]


def _required(forge: Forge, github: bool) -> tuple[bool, list[str]]:
    """Return whether main is protected, and the checks that are required there."""
    if not github:
        rules = _look(forge, "branch_protections")
        rules = rules if isinstance(rules, list) else []
        names = [str(row.get("rule_name") or row.get("branch_name")) for row in rules]
        mine = [row for row, name in zip(rules, names, strict=True) if name == MAIN]
        mine += [
            row
            for row, name in zip(rules, names, strict=True)
            if name != MAIN and fnmatch.fnmatchcase(MAIN, name)
        ]
        if not mine:
            return False, []
        # The rule of the very name goes before patterns; of those the first one counts.
        enabled = bool(mine[0].get("enable_status_check"))
        return True, [str(one) for one in mine[0].get("status_check_contexts") or []] * enabled
    classic = _look(forge, f"branches/{MAIN}/protection/required_status_checks")
    found = [str(one) for one in (classic or {}).get("contexts") or []]
    rules = _look(forge, f"rules/branches/{MAIN}") or []
    for rule in rules:
        if rule.get("type") == "required_status_checks":
            checks = rule.get("parameters", {}).get("required_status_checks") or []
            found += [str(row.get("context")) for row in checks]
    return bool(classic or rules), found


def _branch(forge: Forge, github: bool) -> list[Finding]:
    protected, required = _required(forge, github)
    wanted = contexts(github)
    lacking = _covered(wanted, required)
    woodpecker = not _covered([WOODPECKER], required)
    ok = protected and (not lacking or woodpecker)
    seen = ", ".join(required) or ("none required" if protected else "not protected")
    cure = f"require these checks: {'; '.join(lacking)} (Woodpecker: {WOODPECKER})"
    rows = [
        _row(protected, f"branch {MAIN}", "protected" if protected else "not protected",
             "nobody pushes past the checks", f"protect the branch {MAIN}"),
        _row(ok, "required checks", seen, "nothing unproved is merged", cure),
    ]  # fmt: skip
    repository = _look(forge, "") or {}
    if not github:
        on = bool(repository.get("has_actions")) or woodpecker
        rows.append(
            _row(on, "CI", "Actions on" if repository.get("has_actions") else "Actions off",
                 "somebody runs the checks", "switch Actions on, or require Woodpecker's check")
        )  # fmt: skip
        return rows
    actions = _look(forge, "actions/permissions") or {}
    on = bool(actions.get("enabled")) or woodpecker
    seen = "Actions on" if actions.get("enabled") else "Actions off, or not readable"
    rows.append(_row(on, "CI", seen, "somebody runs the checks", "switch Actions on"))
    return rows


def _tags(forge: Forge, github: bool) -> Finding:
    if github:
        patterns = []
        for row in _look(forge, "rulesets?targets=tag&per_page=100") or []:
            rule = _look(forge, f"rulesets/{row.get('id')}") or {}
            kinds = {one.get("type") for one in rule.get("rules") or []}
            if rule.get("enforcement") == "active" and {"creation", "update", "deletion"} <= kinds:
                names = rule.get("conditions", {}).get("ref_name", {}).get("include") or []
                patterns += [str(name).removeprefix("refs/tags/") for name in names]
        patterns = ["*" if name == "~ALL" else name for name in patterns]
        cure = "a ruleset for tags v*-mt.* that restricts creation, update and deletion"
    else:
        rows = _look(forge, "tag_protections")
        patterns = [str(row.get("name_pattern")) for row in rows or []]
        cure = "protect the tags v*-mt.*: only the bot that tags may push them"
    tag = first_of(pin("tailscale").version).tag
    ok = any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)
    seen = ", ".join(patterns) or "none protected"
    return _row(ok, "tags", seen, "a tag is a release", cure)


def _names(answer: Any, key: str) -> set[str] | None:
    rows = answer.get(key) if isinstance(answer, dict) else answer
    return {str(row.get("name")) for row in rows} if isinstance(rows, list) else None


def _store(forge: Forge, github: bool) -> list[Finding]:
    """Names of secrets and variables, never their values: no forge tells those."""
    secrets = _names(_look(forge, "actions/secrets?per_page=100&limit=50"), "secrets")
    if github and secrets is not None:
        for place in ("release", "tag", "renovate"):
            more = _look(forge, f"environments/{place}/secrets?per_page=100")
            secrets |= _names(more, "secrets") or set()
    variables = _names(_look(forge, "actions/variables?per_page=30&limit=50"), "variables")
    rows = []
    for title, known, wanted in (
        ("secrets", secrets, SECRETS),
        ("variable", variables, (VARIABLE,)),
    ):
        lacking = sorted(set(wanted) - (known or set()))
        seen = "not readable" if known is None else f"missing: {', '.join(lacking)}"
        cure = "docs/CI.md says what each is for"
        if known is None:
            cure = "give MT_FORGE_TOKEN a token of an owner, or look by hand; " + cure
        ok = known is not None and not lacking
        rows.append(_row(ok, title, "there" if ok else seen, "Actions publishes", cure))
    return rows


def _forks(forge: Forge, github: bool) -> Finding:
    purpose = "a stranger's code waits for a person"
    if not github:
        seen = "Gitea and Forgejo always ask for the first run"
        return Finding(True, "forks", seen, purpose, "")
    path = "actions/permissions/fork-pr-contributor-approval"
    policy = str((_look(forge, path) or {}).get("approval_policy") or "not readable")
    good = {"first_time_contributors", "all_external_contributors"}
    cure = "Settings, Actions: require approval for first-time contributors or for all"
    return _row(policy in good, "forks", policy, purpose, cure)
