"""Settings that ledger and regime-map tests change in a synthetic run; for tests only."""

import json
from pathlib import Path


def configure(
    run: Path,
    *,
    seed: int = 0,
    rate: float = 1e-5,
    algorithm: str = "grpo",
    shuffled: bool = False,
    repo: str | None = None,
    lora: dict[str, int] | None = None,
) -> Path:
    """Set the keys of the run's configuration that distinguish it from other runs."""
    path = run / "config.json"
    config = json.loads(path.read_text())
    config["seed"] = seed
    config["algorithm"] = {"name": algorithm, "learning_rate": rate, "lora": lora}
    config["data"] = {"shuffle_answers": shuffled}
    if repo is not None:
        config["source"] = {"published": {"repo": repo, "steps": [1]}}
    path.write_text(json.dumps(config))
    return run
