"""The documents: their links lead somewhere, and the Python in them runs."""

import json
import re
from pathlib import Path

import pytest

from rlvr_dynamics.checkpoints import read_manifest
from tests.support.reporting_fixture import build_run
from tests.support.small_models import random_tensors, save_model

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
MATRIX = "model.layers.0.mlp.down_proj.weight"
SHAPES = {MATRIX: (6, 4), "model.norm.weight": (4,)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page):
    targets = [found for found in LINK.findall(page.read_text()) if "://" not in found]
    assert [found for found in targets if not (page.parent / found).exists()] == []


def snippets() -> list[str]:
    text = (ROOT / "docs" / "python.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_python_page_reads_weights_as_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / "demo"
    save_model(run / "prepare" / "base", random_tensors(0, shapes=SHAPES))
    for step in range(1, 10):
        folder = run / "train" / "checkpoints" / f"step_{step}"
        save_model(folder, random_tensors(step, shapes=SHAPES))
    first, _ = snippets()
    exec(first, {})
    assert read_manifest(tmp_path / "predictions" / "relex" / "observe_9" / "step_60")
    assert (tmp_path / "measured" / "trajectory_svd.parquet").is_file()
    assert capsys.readouterr().out.splitlines()[-1] == "correct"


def test_the_python_page_reads_results_as_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build_run(tmp_path / "outputs" / "demo")
    _, second = snippets()
    exec(second, {"run": Path("outputs/demo")})
    assert "explained_variance" in capsys.readouterr().out
    assert Path("figure.png").stat().st_size > 1000


def test_the_cells_of_the_notebook_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_run(tmp_path / "outputs" / "demo")
    notebook = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())
    space: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are not kept"
            exec("".join(cell["source"]), space)
    assert len(space["measured"]) and len(space["scores"]) and space["run"].figures
