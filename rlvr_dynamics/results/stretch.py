"""Which steps of a training with jumps its measurement is about."""

import json

from rlvr_dynamics.results.run import Results
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.run_directory.stretches import STRETCHES_FILE, Stretch, stretches_in_words
from rlvr_dynamics.system.sealed import damaged


def stretch_in_words(results: Results) -> str:
    """Say which stretch was measured; empty where no jump divides the training.

    Raises:
        UserError: The record of it is damaged.
    """
    path = results.run_dir / FOLDERS["measure"] / STRETCHES_FILE
    if not path.is_file():
        return ""
    try:
        found = json.loads(path.read_text())
        measured = Stretch(*map(int, found["measured"]))
        jumps = {int(step): jump for step, jump in found["jumps"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path) from error
    said = stretches_in_words(measured, jumps)
    return (
        f"{said[0].upper()}{said[1:]}. What is said of weights here, of the final update too, is "
        "of that stretch; accuracies are of the whole training."
    )
