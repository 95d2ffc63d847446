"""Tests never reach for a model hub, and no property test depends on how busy the machine is."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

settings.register_profile("any machine")
settings.load_profile("any machine")
