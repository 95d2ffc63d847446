"""What RELEX's cast to float16 before the subtraction would do, as the pages say it."""

import json

import pandas as pd

from rlvr_dynamics.results.rounding import released_relex_in_words
from rlvr_dynamics.results.run import load_results


def write(folder, *shares: float, dtype: str = "float32"):
    (folder / "measure").mkdir(parents=True)
    label = [{"tensor": f"t{k}", "module": "up_proj", "layer": 0.0} for k in range(len(shares))]
    norms = pd.DataFrame(label).assign(step=4, update_norm=1.0, relative_update=0.1)
    norms["float16_rounding_share"] = shares
    norms.to_parquet(folder / "measure" / "norms.parquet")
    svd = pd.DataFrame(label).assign(index=1, sigma=1.0, explained_variance=1.0, dtype=dtype)
    svd = svd.assign(null_mean=0.5, null_high=0.6)
    svd.to_parquet(folder / "measure" / "trajectory_svd.parquet")
    (folder / "config.json").write_text(json.dumps({"name": folder.name}))
    return load_results(folder)


def test_the_pages_say_how_far_off_the_released_code_would_be(tmp_path):
    near = write(tmp_path / "near", 0.01, 0.04, 0.81)
    far = write(tmp_path / "far", 0.16, 2.0, 4.0)
    narrow = write(tmp_path / "narrow", 0.5, 0.5, dtype="bfloat16")
    assert "off by 20 % of its norm" in released_relex_in_words([near, narrow])
    assert "off by 20 % to 100 % or more of its norm" in released_relex_in_words([near, far])
    assert released_relex_in_words([narrow]) == ""
