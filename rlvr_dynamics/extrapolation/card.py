"""The model card of a predicted checkpoint: README.md in its folder.

It says what its manifest says, in words, and what the weights scored. No engine reads it, so it is
in no hash: it may be written anew when the checkpoint has been scored.
"""

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlvr_dynamics.checkpoints.companions import CARD
from rlvr_dynamics.checkpoints.identity import read_manifest
from rlvr_dynamics.errors import one_line
from rlvr_dynamics.system.atomic import write_text

NOT_SCORED = "Not scored."
_MARKDOWN = re.compile(r"([\\`*_\[\]{}|~#])")


class Scored(NamedTuple):
    """What one benchmark found.

    Attributes:
        benchmark: Its title.
        protocol: How the answers were drawn.
        accuracy: Share of right answers, with the ends of its 95 % interval.
        low: Lower end.
        high: Upper end.
        questions: n.
        samples: Answers to each question.
    """

    benchmark: str
    protocol: str
    accuracy: float
    low: float
    high: float
    questions: int
    samples: int


def write_card(
    folder: Path,
    *,
    observe: int,
    base: str = "",
    scores: Sequence[Scored] = (),
    uses_future: bool = False,
) -> None:
    """Write the card of a finished prediction, unless it is there and says the same.

    Args:
        folder: The prediction.
        observe: Last observed step; 0 where the step itself was rebuilt.
        base: The repository or name of the base; empty if it is not known.
        scores: What it scored.
        uses_future: Whether anything from the predicted step or later was used.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return
    source, *remarks = str(manifest["source"]).split("; ")
    kind = f"predicted from steps up to {observe}" if observe else "rebuilt from that step"
    based = f"Base: {_plain(base)}." if base else "Base: the model in `config.json`, before RL."
    future = "It used weights or accuracies from that step or later." if uses_future else ""
    lines = [
        "---",
        "tags: [rlvr, predicted-weights]",
        *([f"base_model: {json.dumps(one_line(base))}"] if "/" in base else []),
        "---",
        "",
        f"# Step {manifest['step']}, {kind}",
        "",
        "These weights were not trained. They were computed from checkpoints of a reinforcement "
        "learning run with verifiable rewards, to ask how predictable such a run is. They are not "
        "for deployment.",
        "",
        f"- {based}",
        f"- Method, parameters and steps: {_plain(source)}",
        *[f"- Remark: {_plain(remark)}" for remark in remarks],
        *([f"- {future}"] if future else []),
        f"- Identity of the weights: `{manifest['identity']}` ({_plain(str(manifest['dtype']))})",
        "",
        "## Accuracy",
        "",
        *_table(scores),
        "",
        "Written by rlvr_dynamics; its docs/methods.md describes the methods.",
        "",
    ]
    text, path = "\n".join(lines), folder / CARD
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _table(scores: Sequence[Scored]) -> list[str]:
    if not scores:
        return [NOT_SCORED]
    rows = [
        f"| {_plain(each.benchmark)} | {_plain(each.protocol)} | {each.accuracy:.3f} "
        f"[{each.low:.3f}, {each.high:.3f}] | {each.questions} x {each.samples} |"
        for each in scores
    ]
    head = "| benchmark | protocol | accuracy, 95 % interval | questions x answers |"
    return [head, "|---|---|---|---|", *rows]


def _plain(text: str) -> str:
    """Return text that Markdown and HTML show as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", html.escape(one_line(text), quote=False))
