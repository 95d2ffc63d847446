"""What was done to a training beside plain steps: the arm of a comparison that a run belongs to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr_dynamics.results.formatting import general
from rlvr_dynamics.results.methods import method_name
from rlvr_dynamics.run_directory.configuration import RecordedConfig

PLAIN, PASSES = "plain", "passes"
RESTART, ROLLED_BACK, RANDOM = "restart", "rolled_back", "random"
REGROUNDING, LINE_SEARCH, GATED, ANCHOR = "regrounding", "line_search", "gated", "anchor"
_OPTIMIZER = {"keep": "", "zero": "Adam's moments zeroed", "restart": "Adam restarted"}
_TENSORS = {"all": "all tensors", "matrices": "matrices only", "not_norms": ""}


@dataclass(frozen=True)
class Arm:
    """An arm: runs with the same settings of jumps and passes; rates and seeds differ.

    Attributes:
        kind: `plain`, `passes`, `restart` (no jump, the optimizer started anew), `rolled_back`,
            `random`, `regrounding`, `line_search` (EffOPD), `gated`, `anchor`, or the name of the
            extrapolator that jumps.
        words: What readers see.
        key: All settings; equal in runs of one arm and different in others.
        settings: The section `acceleration` of the run's configuration; empty without jumps.
    """

    kind: str
    words: str
    key: str
    settings: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        """Whether all settings are the same."""
        return isinstance(other, Arm) and self.key == other.key

    def __hash__(self) -> int:
        """Hash of the settings."""
        return hash(self.key)

    @property
    def jumps(self) -> bool:
        """Whether weights are moved otherwise than by the optimizer's steps."""
        return bool(self.settings) and self.kind not in (RESTART, ROLLED_BACK)


def arm_of(config: RecordedConfig) -> Arm:
    """Return the arm of a run.

    Args:
        config: The run's.
    """
    settings, passes = config.acceleration, config.trainer.passes
    kind = _kind(settings) if settings else (PLAIN if passes == 1 else PASSES)
    again = "" if passes == 1 else f"{passes} passes a batch"
    parts = [*(_parts(kind, settings) if settings else ([] if again else [PLAIN])), again]
    key = json.dumps([settings, passes], sort_keys=True)
    return Arm(kind, ", ".join(part for part in parts if part), key, settings)


def _kind(settings: Mapping[str, Any]) -> str:
    method, gate = settings["method"], settings["gate"]
    if method == "none":
        return RESTART
    if settings["roll_back"] == "always":
        return ROLLED_BACK
    if method != ANCHOR:
        return str(method)
    if settings["how_far"]["search"] and gate["rule"] == "better":
        return LINE_SEARCH
    if gate["kind"] != "none":
        return GATED
    each, factor = settings["when"]["every"], settings["how_far"]["factor"]
    return REGROUNDING if each and factor else ANCHOR


def _parts(kind: str, settings: Mapping[str, Any]) -> list[str]:
    when, far = settings["when"], settings["how_far"]
    every, factor = when["every"], far["factor"]
    name = {
        RESTART: "no jump",
        ROLLED_BACK: "jump and roll back",
        RANDOM: "random direction",
        REGROUNDING: "re-grounding",
        LINE_SEARCH: "EffOPD",
        GATED: "gated",
        ANCHOR: "anchor",
    }.get(kind) or method_name(kind)
    if kind != RESTART and every and factor:
        name += f" {every}+{general(every * (factor - 1))}"
    elif every:
        name += f", every {every}"
    elif when["steps"]:
        name += f" at {', '.join(map(str, when['steps']))}"
    ahead = f"{far['horizon']} ahead" if far["horizon"] else ""
    changed = [f"{key} {value}" for key, value in sorted(settings["parameters"].items())]
    return [
        name,
        ahead if kind != RESTART else "",
        "path clock" if settings["clock"] == "path" and kind != GATED else "",
        *changed,
        _OPTIMIZER[settings["optimizer"]],
        _TENSORS[settings["tensors"]] if kind == REGROUNDING else "",
    ]
