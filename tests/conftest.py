"""Tests never reach for a model hub, and none depends on how busy the machine is."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from xdist.scheduler import LoadFileScheduling

from tests.support.type_checking import ROOMS

# Before any of these rooms is imported.
install_import_hook(ROOMS, "tests.support.type_checking.checked")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# What trains with verl: long, and too large in memory for two at a time.
TRAINING = {"test_algorithms_training", "test_architectures_training", "test_end_to_end"}


class Scheduling(LoadFileScheduling):
    """A file stays on one worker, and all that trains is on the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "training" if Path(file).stem in TRAINING else file


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest part begins first."""
    items.sort(key=lambda item: item.path.stem not in TRAINING)
