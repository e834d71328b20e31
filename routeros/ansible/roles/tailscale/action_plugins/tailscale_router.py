"""One router by the code of `invoke deploy`, as an action of Ansible.

It runs in Ansible's own process on the controller: nothing is copied to the router, no Python is
started per task. The plan, the trial and the way back are those of build/router/, not a second
telling of them in YAML; so the controller needs this checkout, and requests and packaging.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Before anything else of that name, such as PyPA's build.
sys.path.insert(0, str(Path(__file__).resolve().parents[5]))

from build.core import errors
from build.router import deploy, fleet, planning, render, restapi

TEXTS = (
    "host", "user", "password", "ca", "scripts", "settings",
    "tar", "arch", "digest", "serve_on", "disk",
)  # fmt: skip


def member(name: str, given: Mapping[str, str]) -> fleet.Member:
    """Return the router that a task's options describe. Raises UserError or OSError."""
    folder = Path(given["scripts"])
    scripts = {one: (folder / f"{one}.rsc").read_text() for one in render.SCRIPTS}
    if given["settings"]:
        scripts["settings-tailscale"] = Path(given["settings"]).read_text()
    tar = Path(given["tar"]) if given["tar"] else None
    if tar and not (given["serve_on"] and given["arch"]):
        raise errors.UserError("a tar needs tailscale_serve_on and tailscale_arch")
    found = given["digest"] or (deploy.digest_of(tar) if tar else "")
    return fleet.Member(
        name,
        given["host"],
        planning.Wanted(scripts, tar, given["arch"], found, given["disk"]),
        "",
        functools.partial(
            restapi.Client, given["host"], given["user"], given["password"], given["ca"]
        ),
        functools.partial(restapi.offer, address=given["serve_on"]),
    )


class ActionModule(ActionBase):
    """tailscale_router: options as in the role's defaults/main.yml, without their prefix.

    `shown` is the `plan` that an earlier look returned; another one now is a failure. Returns
    `plan` (a list of lines), `changed`, and `seconds`.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Look, and unless in check mode do it. Raises AnsibleActionFail with the reason."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = {name: str(self._task.args.get(name) or "") for name in TEXTS}
        begun, told = time.monotonic(), list[str]()
        try:
            one = member(str((task_vars or {}).get("inventory_hostname", "")), given)
            shown = fleet.look(one)
            if shown.refused:
                raise errors.UserError(shown.refused)
            before = self._task.args.get("shown")
            if before is not None and [*before] != shown.lines:
                raise errors.UserError("it has changed since its plan was shown: run it again")
            if shown.plan.actions and not self._task.check_mode:
                patience = float(self._task.args.get("patience") or 1200)
                fleet.change(one, shown.plan, told.append, patience, time.sleep)
        except (errors.Error, OSError, ValueError) as problem:
            raise AnsibleActionFail(f"{problem} {'; '.join(told[-2:])}".strip()) from None
        seconds = round(time.monotonic() - begun, 1)
        return result | {
            "changed": bool(shown.plan.actions),
            "plan": shown.lines,
            "seconds": seconds,
        }
