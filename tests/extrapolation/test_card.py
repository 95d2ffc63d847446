"""The card of a prediction says what its weights are, and changes nothing that is compared."""

import pytest
import torch

from rlvr_dynamics.checkpoints import read_manifest
from rlvr_dynamics.checkpoints.companions import companions_digest
from rlvr_dynamics.checkpoints.identity import identity_of
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.extrapolation.card import NOT_SCORED, Scored, write_card
from rlvr_dynamics.run_directory.published_files import changes, take_stock
from tests.support.extrapolation_fixture import build, wandering


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    return build(tmp_path_factory.mktemp("run"), wandering(range(1, 6)), torch.float32)


def predict(trajectory, out, **settings):
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 4, [9], out, **settings)
    return made


def test_a_prediction_says_what_it_is(trajectory, tmp_path):
    made = predict(trajectory, tmp_path)
    text = (made.folder / "README.md").read_text()
    assert "# Step 9, predicted from steps up to 4\n" in text
    assert "relex (relex: " in text and made.identity in text
    assert NOT_SCORED in text and "not for deployment" in text
    assert str(tmp_path) not in text
    (rebuilt,) = RECONSTRUCTIONS["trajectory_oracle"].run(trajectory, [3], tmp_path)
    assert "# Step 3, rebuilt from that step" in (rebuilt.folder / "README.md").read_text()


def test_a_card_is_in_no_hash_and_is_kept(trajectory, tmp_path):
    made = predict(trajectory, tmp_path)
    before = companions_digest(made.folder), identity_of(made.folder)
    stock = take_stock("extrapolate", tmp_path)
    scored = [Scored("sums | <b>", "greedy", 0.5, 0.4, 0.6, 64, 1)]
    write_card(made.folder, observe=4, base="owner/base", scores=scored)
    text = (made.folder / "README.md").read_text()
    assert 'base_model: "owner/base"' in text and NOT_SCORED not in text
    assert "| sums \\| &lt;b&gt; | greedy | 0.500 [0.400, 0.600] | 64 x 1 |" in text
    assert (companions_digest(made.folder), identity_of(made.folder)) == before
    assert not changes(tmp_path, stock).damaged
    assert "README.md" not in read_manifest(made.folder)["companions"]
    weights = made.folder / "model.safetensors"
    mark = weights.stat().st_mtime_ns
    assert predict(trajectory, tmp_path) == made
    assert weights.stat().st_mtime_ns == mark and (made.folder / "README.md").read_text() == text


def test_a_card_that_a_kill_left_out_is_written(trajectory, tmp_path):
    made = predict(trajectory, tmp_path)
    (made.folder / "README.md").unlink()
    predict(trajectory, tmp_path)
    assert (made.folder / "README.md").is_file()


def test_names_from_elsewhere_are_text(trajectory, tmp_path):
    made = predict(trajectory, tmp_path, label="<script>`x`[a](b)")
    text = (made.folder / "README.md").read_text()
    assert "<script>" not in text and "\\`x\\`\\[a\\](b)" in text
