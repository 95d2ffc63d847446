"""Stand-in for verl's trainer: writes its folders and metrics from a base, step by step.

``python verl_stand_in.py BASE CHECKPOINTS STEPS THEN`` continues from the newest step, and after
the last one ends (THEN=end) or waits in the middle of the next save, ignoring SIGTERM (THEN=wait).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def stand_in_command(steps, then):
    """Replace `verl_command`, with one argument of code: the others are checked as verl's."""

    def command(_config, *, prepare, output, temporary):
        words = [
            __file__,
            str(prepare / "base"),
            str(output / "checkpoints"),
            str(steps),
            then,
        ]
        code = f"import runpy, sys; sys.argv = {words!r}; "
        code += "runpy.run_path(sys.argv[0], run_name='__main__')"
        return [sys.executable, "-c", code]

    return command


def save_state(folder):
    folder.mkdir(parents=True)
    for kind in ("model", "optim", "extra_state"):
        torch.save({"values": torch.ones(64)}, folder / f"{kind}_world_size_1_rank_0.pt")


def save_step(base, checkpoints, step):
    state = checkpoints / f"global_step_{step}"
    save_state(state / "actor")
    model = state / "actor" / "huggingface"
    shutil.copytree(base, model, ignore=shutil.ignore_patterns("*.safetensors", "manifest.json"))
    weights = load_file(base / "model.safetensors")
    moved = {name: value.float() + step / 1000 for name, value in weights.items()}
    save_file(moved, model / "model.safetensors")
    torch.save({"position": step}, state / "data.pt")
    row = {"step": step, "data": {"critic/score/mean": 0.5, "timing_s/step": 0.1}}
    with open(os.environ["VERL_FILE_LOGGER_PATH"], "a") as metrics:
        metrics.write(json.dumps(row) + "\n")
    (checkpoints / "latest_checkpointed_iteration.txt").write_text(str(step))


def main():
    base, checkpoints, steps, then = sys.argv[1:]
    base, checkpoints = Path(base), Path(checkpoints)
    latest = checkpoints / "latest_checkpointed_iteration.txt"
    start = int(latest.read_text()) if latest.exists() else 0
    # In its own session, like Ray's daemons.
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    for step in range(start + 1, int(steps) + 1):
        save_step(base, checkpoints, step)
        time.sleep(0.2)
    if then == "wait":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        save_state(checkpoints / f"global_step_{int(steps) + 1}" / "actor")
        time.sleep(600)


if __name__ == "__main__":
    main()
