"""docs/fidelity.md: written from the cells, and its computed numbers are recomputed."""

import re

import pytest
import torch

from experiments import fidelity, fidelity_page
from experiments.cells import CELLS
from rlvr_dynamics.dynamics import power_squares, rounding_share, used_bits
from rlvr_dynamics.fidelity import DIFFERS


@pytest.fixture(scope="module")
def found():
    return fidelity.rows_by_cell(CELLS)


def test_the_page_is_what_is_generated(found):
    """A failure here means: run `python -m experiments.grid --write`."""
    assert fidelity_page.PAGE.read_text(encoding="utf-8") == fidelity_page.page(found)


def test_every_cell_follows_a_paper_and_says_why_it_differs(found):
    for cell, rows in found.items():
        assert rows, cell.name
        for row in rows:
            assert row.state == "same" or row.reason, (cell.name, row)
            # The declared reasons explain the grid's own values.
            assert "chosen for this run" not in row.reason, (cell.name, row)
            assert row.source and row.paper and row.ours


def test_a_row_names_its_cells(found):
    own = [cell for cell in found if cell.protocol.paper == "alpharl"]
    dapo = [cell for cell in own if cell.algorithm == "dapo"]
    glm = [cell for cell in own if cell.model == "glm4_9b"]
    assert fidelity_page.who(own, own) == "all"
    assert fidelity_page.who(dapo, own) == "`dapo`"
    assert fidelity_page.who(glm, own) == "`glm4_9b`"
    assert fidelity_page.who(dapo[:2], own) == ", ".join(f"`{cell.name}`" for cell in dapo[:2])


def test_the_command_shows_a_cells_own_differences(found, capsys):
    assert fidelity.main(["gspo_qwen2_5_7b"]) == 0
    (cell,) = [cell for cell in found if cell.name == "gspo_qwen2_5_7b"]
    shown = capsys.readouterr().out
    assert shown.count(f"| {DIFFERS} |") == sum(row.state == DIFFERS for row in found[cell])
    assert "| clip, above (gspo) | 0.0004 | 0.0004 | same |" in shown


def test_the_numbers_about_stored_dtypes():
    """The page's table: an update of one direction and noise, read from files of three dtypes."""
    text = fidelity_page.PAGE.read_text(encoding="utf-8")
    lines = re.findall(r"^\| (\d\S*e-\d) \| (.*) \|$", text, re.MULTILINE)
    assert len(lines) == 4
    generator = torch.Generator().manual_seed(0)

    def normal(m, n):
        return torch.randn(m, n, dtype=torch.float64, generator=generator)

    size = 1024
    base = (0.02 * normal(size, size)).bfloat16().double()
    direction, noise = normal(size, 1) @ normal(1, size), normal(size, size)
    update = 0.44 * direction / direction.norm() + 0.898 * noise / noise.norm()
    for rms, fields in lines:
        change = update * float(rms) * size / update.norm()
        shares, rounding = [], []
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            stored = (base + change).to(dtype)
            read = stored.double() - base
            shares.append(float(torch.linalg.matrix_norm(read, 2) / read.norm()))
            square = (read.norm() ** 2).reshape(1).numpy()
            bits = torch.tensor([used_bits(stored.flatten())]).numpy()
            powers = power_squares(base.to(dtype).flatten())
            rounding.append(float(rounding_share(powers, bits, square)[0]))
        printed = [float(field.replace(",", "")) for field in fields.split(" | ")]
        assert printed[:3] == pytest.approx(shares, abs=0.006)
        assert printed[3:] == pytest.approx(rounding[1:], rel=0.15, abs=0.001)
