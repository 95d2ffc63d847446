"""How trainers name their step folders.

`step_5`, `step-5`, `step5`, `global_step_5`, `checkpoint-5`, `iter_0000005`, `DAPO-step-5`,
`epoch0epochstep4globalstep5` and the like: names that differ only in the step number.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rlvr_dynamics.checkpoints.model_folders import model_folder
from rlvr_dynamics.checkpoints.weight_files import holds_adapter, holds_weights
from rlvr_dynamics.errors import UserError

PLACE = "{step}"
_SHOWN = 4
_SHOWN_RUNS = 12
_TAILS = r"(?:[_.-](?:hf|hf_model|huggingface|merged|model|actor|policy|adapter|lora))?"
_STEP_NAME = re.compile(
    r"(?P<head>.*?(?:global[_-]?)?(?:step|checkpoint|ckpt|iteration|iter)s?[_=. -]?)"
    rf"(?P<number>[0-9]+)(?P<tail>{_TAILS})",
    re.IGNORECASE | re.DOTALL,
)
_EPOCH = re.compile(r"(?i)(epoch(?:step)?[_=. -]?)[0-9]+")
_NAMED_STATES = re.compile(r"(?i)(?:final|last|latest|best)(?:[_.-].*)?")
_NUMBER = re.compile(r"[0-9]{1,12}")


def is_step(name: str) -> bool:
    """Return whether a folder's name follows some convention for steps."""
    return _STEP_NAME.fullmatch(name) is not None


@dataclass
class Convention:
    """The folders whose names differ only in the step number.

    Attributes:
        pattern: Their common name, with `{step}` for the number.
        folders: Step number to folder.
        below: Path of the model within each folder; None to search for it.
    """

    pattern: str
    folders: dict[int, Path] = field(default_factory=dict)
    below: Path | None = None

    def add(self, text: str, path: Path) -> None:
        """Add a folder under the number in its name."""
        if not _NUMBER.fullmatch(text):
            raise UserError(
                f"{path.name!r} is not a step: the number must be a positive integer",
                where=str(path.parent),
                way_out=_numbered(path.name)
                + "rename the folder to step_<N>, or move it away; the base model is step 0 and is "
                "given apart",
            )
        step = int(text)
        if step in self.folders:
            raise UserError(
                f"step {step} occurs twice: {self.folders[step].name} and {path.name}",
                where=str(path.parent),
                way_out="remove or rename one of the two folders",
            )
        self.folders[step] = path


def _numbered(name: str) -> str:
    """Return how to mark the step number in a name, if the name has exactly one number."""
    numbers = re.findall(r"[0-9]+", name)
    signed = re.search(r"[-+.][0-9]+$|[0-9][.eE][0-9]", name)
    if len(numbers) != 1 or signed or not re.search(r"[0-9][_-][A-Za-z]", name):
        return ""
    return f"if {numbers[0]} is its step: source.pattern='{name.replace(numbers[0], PLACE)}'; or "


def named_by(checkpoints: Path, pattern: str) -> Convention:
    """Return the folders that match a pattern; possibly none."""
    first, _, below = pattern.partition("/")
    prefix = ""
    while PLACE not in first:  # leading folders without the number are fixed
        prefix = f"{prefix}{first}/"
        first, _, below = below.partition("/")
    root = checkpoints / prefix
    convention = Convention(pattern, below=Path(below) if below else None)
    head, tail = (re.escape(part).replace(r"\*", "[^/]*") for part in first.split(PLACE))
    name = re.compile(f"{head}([0-9]+){tail}")
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        matched = name.fullmatch(path.name)
        if matched is not None and path.is_dir():
            convention.add(matched.group(1), path)
    return convention


def convention_of(checkpoints: Path) -> Convention:
    """Return the only convention in a folder.

    If there are several, folders without a model, such as logs per step, do not count.

    Raises:
        UserError: There is none or several, or a folder of the convention has an invalid number.
    """
    folders = [path for path in sorted(checkpoints.iterdir()) if path.is_dir()]
    found: dict[str, Convention] = {}
    for path in folders:
        matched = _STEP_NAME.fullmatch(path.name)
        if matched is not None:
            pattern = _EPOCH.sub(r"\1*", matched["head"]) + PLACE + matched["tail"]
            found.setdefault(pattern, Convention(pattern)).add(matched["number"], path)
    if len(found) > 1:
        kept = {
            pattern: each
            for pattern, each in found.items()
            if any(model_folder(path) is not None for path in each.folders.values())
        }
        found = kept or found
    if len(found) > 1:
        named = [f"{pattern} ({len(each.folders)})" for pattern, each in sorted(found.items())]
        raise UserError(
            f"steps under several names: {', '.join(named[:_SHOWN])}; which of them are meant is "
            "not clear",
            where=str(checkpoints),
            way_out=f"choose one: source.pattern='{min(found)}'",
        )
    if not found:
        _refuse_odd_names(folders)
        raise no_steps(checkpoints, None)
    (convention,) = found.values()
    head, tail = convention.pattern.split(PLACE)
    if "*" not in head:
        for path in folders:
            rest = path.name.removeprefix(head).removesuffix(tail)
            same = path.name.startswith(head) and path.name.endswith(tail)
            if same and not _NAMED_STATES.fullmatch(rest) and path not in _paths(convention):
                convention.add(rest, path)
    return convention


def _refuse_odd_names(folders: list[Path]) -> None:
    for path in folders:
        if re.fullmatch(r"(?:global_)?step_.*", path.name, re.DOTALL):
            Convention("").add(path.name.split("step_", 1)[1], path)


def _paths(convention: Convention) -> set[Path]:
    return set(convention.folders.values())


def no_steps(checkpoints: Path, pattern: str | None) -> UserError:
    """Return the error for a folder without steps, with a guess at what was meant."""
    folders = [path for path in sorted(checkpoints.iterdir()) if path.is_dir()]
    names = [path.name for path in folders]
    if pattern is not None:
        return UserError(
            f"no folder with a model matches source.pattern={pattern}",
            where=str(checkpoints),
            way_out=f"there are: {', '.join(names[:_SHOWN])}" if names else "the folder is empty",
        )
    what = "no checkpoints here: no folder is called step_<N>, global_step_<N> or checkpoint-<N>"
    way_out = (
        "point at the folder that holds the steps, not at one of them; for other names set "
        "source.pattern, such as 'run-{step}/hf'"
    )
    above = checkpoints.resolve().parent
    inner = [path for path in folders if any(_STEP_NAME.fullmatch(x.name) for x in _inside(path))]
    itself = holds_weights(checkpoints) or holds_adapter(checkpoints)
    if itself or (is_step(checkpoints.name) and not inner):
        what = "this is one checkpoint, not a folder of steps"
        way_out = f"source.checkpoints={above}, if the steps lie there; source.base is the model "
        way_out += "before training"
    elif any(_EPOCH.fullmatch(name) for name in names):
        what = "no checkpoints here: the folders are numbered by epoch, and an epoch is not a step"
        way_out = "rename them to step_<N>, or count epochs as steps: source.pattern='"
        way_out += re.sub(r"[0-9]+$", PLACE, next(n for n in names if _EPOCH.fullmatch(n))) + "'"
    elif any(name.isdigit() for name in names):
        way_out = "if the bare numbers are the steps: source.pattern='{step}'"
    elif inner:
        way_out = f"source.checkpoints={inner[0]}"
    return UserError(what, where=str(checkpoints), way_out=way_out)


def _inside(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir()]


def shortened(steps: Iterable[int]) -> str:
    """Write steps as ranges: `1-75, 500`."""
    numbers = sorted(set(steps))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(words[:_SHOWN_RUNS]) + (", ..." if len(words) > _SHOWN_RUNS else "")
