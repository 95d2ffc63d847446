"""Tables of the weights with distinct numbers and irregular steps; for tests only.

Every column is drawn from its own range (`RANGES`), skewed so that mean and median differ. Rows
that a claim should not read (an earlier step, a further index, another window) have other numbers
than the rows it should read.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

STEPS = (10, 20, 30, 40, 60, 80, 110, 160, 200)
FINAL = STEPS[-1]
EARLIER = 110
WINDOWS = (10, 20, 30, 40, 60, 80)
LAYERS = (0, 2, 5)
SHAPES = {
    "q_proj": (16, 20),
    "k_proj": (8, 20),
    "v_proj": (9, 20),
    "o_proj": (20, 16),
    "gate_proj": (28, 20),
    "up_proj": (27, 18),
    "down_proj": (19, 28),
}
MLP = ("gate_proj", "up_proj", "down_proj")
RANKS = ("1", "1%", "5%", "40%")
COMPONENTS = 7
FORECASTS = ("relex", "relex_raw", "weight_extrapolation", "momentum", "first_update", "neural")
FORECASTS += ("relex_path",)
RANGES = {
    **{"update_norm": (0.02, 0.09), "base_norm": (3, 9), "relative_update": (0.004, 0.02)},
    **{"changed_share": (0.1, 0.5), "step_changed_share": (0.02, 0.2), "step_norm": (0.004, 0.02)},
    **{"sigma": (0.01, 0.05), "frobenius": (0.03, 0.2), "residual": (1e-9, 1e-8)},
    **{"norm_share": (0.12, 0.3), "norm_share_null": (0.05, 0.15)},
    **{"sigma1": (0.5, 0.9), "sigma_rest": (0.05, 0.5), "explained_variance": (0.7, 0.97)},
    **{"null_mean": (0.5, 0.75), "null_low": (0.4, 0.5), "null_high": (0.7, 0.95)},
    **{"r2": (0.975, 0.984), "r2_null_mean": (0.9, 1.0), "r2_null_low": (0.6, 0.8)},
    **{"r2_null_high": (0.97, 0.99), "heldout_r2": (0.96, 0.995), "loo_r2": (0.8, 0.97)},
    **{"heldout_r2_null_mean": (0.955, 1.0), "heldout_r2_null_low": (-5, -1)},
    **{"heldout_r2_null_high": (0.95, 0.99), "loo_r2_null_mean": (0.5, 0.7)},
    **{"loo_r2_null_low": (0.3, 0.5), "loo_r2_null_high": (0.7, 0.9)},
    **{f"{name}_permuted_mean": (0.02 * k, 0.1 * k) for k, name in enumerate(("r2", "loo_r2"), 1)},
    "heldout_r2_permuted_mean": (-3, -1),
    **{"optimizer_null_mean": (0.6, 0.8), "optimizer_null_high": (0.7, 0.9)},
    **{f"optimizer_{name}_null_mean": (0.96, 0.99) for name in ("r2", "heldout_r2")},
    **{f"optimizer_{name}_null_high": (0.96, 0.995) for name in ("r2", "heldout_r2")},
    **{f"share_{rank}": (0.1 * k, 0.1 * k + 0.15) for k, rank in enumerate(RANKS, 1)},
    **{f"share_{rank}_null": (0.08 * k, 0.08 * k + 0.1) for k, rank in enumerate(RANKS, 1)},
    **{"stable_rank": (2, 5), "stable_rank_null": (5, 8), "effective_rank": (4, 9)},
    **{"effective_rank_null": (8, 14), "rank_used": (0.6, 1.0)},
    **{"base_cosine_left": (0.3, 0.6), "base_cosine_left_null": (0.45, 0.8)},
    **{"base_cosine_right": (0.2, 0.5), "base_cosine_right_null": (0.25, 0.45)},
    **{"cosine_last": (0.5, 0.99), "cosine_next": (0.8, 0.999)},
    **{"pls_r2_mlp": (0.8, 0.99), "pls_r2_attention": (0.75, 0.95), "pls_loo_r2": (0.3, 0.9)},
    **{"pls_null_mean": (0.5, 0.6), "pls_null_low": (0.2, 0.5), "pls_null_high": (0.75, 0.98)},
    **{"walk_mean": (0.7, 0.95), "walk_low": (0.3, 0.5), "walk_high": (0.8, 0.99)},
    **{"ceiling": (0.95, 0.985), "ceiling_spread": (0.004, 0.01), "noise_sd": (0.02, 0.03)},
    "r2_error": (0.002, 0.004),
    **{"step_r2": (0.8, 0.9), "step_loo_r2": (0.7, 0.8), "partial": (0.3, 0.6)},
    **{"partial_null": (0.2, 0.5), "partial_walk": (0.1, 0.3), "partial_walk_high": (0.2, 0.5)},
    **{"loo_null_mean": (-0.2, 0.1), "loo_null_low": (-0.5, -0.2), "loo_null_high": (0.1, 0.4)},
    **{f"oracle_{rank}": (0.6 + 0.05 * k, 0.8 + 0.05 * k) for k, rank in enumerate((1, 3, 5))},
    **{"drift": (0.5, 0.95), "drift_null_mean": (0.4, 0.7), "drift_null_low": (0.2, 0.4)},
    "drift_null_high": (0.7, 0.9),
    **{f"skill_{name}": (-0.5 + 0.1 * k, 0.6) for k, name in enumerate(FORECASTS)},
    **{"weights_above": (0.6, 0.95), "weights_r2": (0.6, 0.95), "weights_null": (0.3, 0.6)},
    **{"cosine": (0.3, 0.9), "held_cosine": (0.2, 0.8), "magnitude_ratio": (0.6, 2.5)},
}

OPTIMIZER = ("optimizer_null_mean", "optimizer_null_high")
Array = NDArray[np.float64]
Column = Callable[[str, int], Array]


def drawn(seed: int) -> Column:
    """Draw columns of distinct, skewed numbers within `RANGES`."""
    generator = np.random.default_rng(seed)

    def column(name: str, count: int) -> Array:
        low, high = RANGES[name]
        return low + (high - low) * generator.beta(1.2, 2.6, count)

    return column


def tensors() -> pd.DataFrame:
    """Return tensor, module, layer, m, n of every tensor, with the embedding last."""
    rows = [
        (
            f"model.layers.{layer}.{'mlp' if module in MLP else 'self_attn'}.{module}.weight",
            *(module, float(layer), m, n),
        )
        for layer in LAYERS
        for module, (m, n) in SHAPES.items()
    ]
    rows += [("model.embed_tokens.weight", "embed_tokens", np.nan, 44, 20)]
    rows += [("lm_head.weight", "lm_head", np.nan, 43, 20)]
    return pd.DataFrame(rows, columns=["tensor", "module", "layer", "m", "n"])


def matrices() -> pd.DataFrame:
    """Return the tensors inside the blocks."""
    found = tensors()
    return found[found["layer"].notna()].reset_index(drop=True)


def lacking(values: Array, *places: int) -> Array:
    """Return a copy with some values missing."""
    values = np.array(values, dtype=np.float64)
    values[list(places)] = np.nan
    return values


def write_weights(folder: Path, column: Column) -> None:
    """Write measure/ and predictions/ of a run."""
    tables = {
        **_norms(column),
        **_updates(column),
        **_trajectory(column),
        **_directions(column),
    }
    tables["forecast"] = _forecast(column, tables["norms"])
    tables["pls"] = _with_noise(column, tables["pls"])
    tables["weight_lines"] = weight_lines(column)
    for name, table in tables.items():
        place = "predictions" if name == "forecast" else "measure"
        path = folder / place / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rows in random order, so that none can be found by position.
        table.sample(frac=1, random_state=1).to_parquet(path, index=False)


def _by_step(frame: pd.DataFrame, steps, columns: Callable[[int, float], dict]) -> pd.DataFrame:
    """Make a frame for every step; the second argument is 1 at the last step and lower before."""
    parts = [columns(step, (step / FINAL) ** 0.7) for step in steps]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    whole = pd.concat([frame] * len(parts), ignore_index=True)
    return whole.assign(step=np.repeat(steps, len(frame)), **found)


def _norms(column: Column) -> dict[str, pd.DataFrame]:
    every = tensors()[["tensor", "module", "layer"]]
    names = ("update_norm", "relative_update", "changed_share")

    def columns(step: int, growth: float) -> dict[str, Array]:
        grown = {name: growth * column(name, len(every)) for name in names}
        grown["changed_share"] = lacking(grown["changed_share"], 3, 8)
        same = ("base_norm", "step_norm", "step_changed_share")
        return grown | {name: column(name, len(every)) for name in same}

    return {"norms": _by_step(every, STEPS, columns)}


def _updates(column: Column) -> dict[str, pd.DataFrame]:
    here = matrices()
    count = len(here)
    full = here[["m", "n"]].min(axis=1)
    svd, shares = [], []
    for index in range(1, 5):
        frame = here.assign(index=index, dtype="bfloat16", method="gram")

        def spectrum(step: int, growth: float, index: int = index) -> dict[str, Array]:
            names = ("norm_share", "norm_share_null", "sigma")
            found = {name: growth * column(name, count) / index for name in names}
            return found | {name: growth * column(name, count) for name in ("frobenius",)}

        svd.append(_by_step(frame, (EARLIER, FINAL), spectrum))
    for rank in RANKS:
        k = np.maximum(1, np.ceil(full * (float(rank.rstrip("%")) / 100 if "%" in rank else 0)))
        frame = here.assign(rank=rank, k=k.astype(int), dtype="bfloat16")

        def kept(step: int, growth: float, rank: str = rank) -> dict[str, Array]:
            share = growth * column(f"share_{rank}", count)
            null = growth * column(f"share_{rank}_null", count)
            return {"norm_share": lacking(share, 2) if rank == "1%" else share} | {
                "norm_share_null": null,
                "norm_share_null_high": 1.005 * null,
            }

        shares.append(_by_step(frame, (EARLIER, FINAL), kept))

    def ranks(step: int, growth: float) -> dict[str, Array]:
        plain = ("stable_rank", "effective_rank", "base_cosine_left", "base_cosine_right")
        names = [*plain, *(f"{name}_null" for name in plain)]
        found = {name: growth * column(name, count) for name in names}
        return found | {"numerical_rank": growth * column("rank_used", count) * full}

    update = _by_step(here.assign(full_rank=full, dtype="bfloat16"), (EARLIER, FINAL), ranks)
    return {
        "update_svd": pd.concat(svd, ignore_index=True),
        "rank_shares": pd.concat(shares, ignore_index=True),
        "update_rank": update,
    }


def _trajectory(column: Column) -> dict[str, pd.DataFrame]:
    every = tensors()
    count = len(every)
    svd, coefficients = [], []
    label = every[["tensor", "module", "layer"]]
    for index in range(1, COMPONENTS + 1):
        first = index == 1
        sigma = column("sigma1" if first else "sigma_rest", count) / (1 if first else index)
        variance = column("explained_variance", count) / (1 if first else 10 * index)
        found = {"sigma": sigma, "explained_variance": variance}
        # Two of the tensors never moved.
        found["sigma"][[4, 7]] = 0.0
        found["explained_variance"] = lacking(found["explained_variance"], 4, 7)
        for end in ("null_mean", "null_low", "null_high", *OPTIMIZER):
            null = column(end, count)
            found[end] = null if first else np.full(count, np.nan)
        svd.append(label.assign(index=index, T=len(STEPS), dtype="bfloat16", **found))
        if index < 3:
            slope = column("sigma1", count) / index
            bent = column("sigma_rest", count)

            def line(step: int, _: float, slope: Array = slope, bent: Array = bent) -> dict:
                return {"coefficient": slope * step / FINAL + bent * (step / FINAL) ** 2}

            coefficients.append(_by_step(label.assign(index=index), STEPS, line))
    lines = [_lines(column, label, "step", 6, 2, 11), _lines(column, label, "path", 8, 3)]
    return {
        "trajectory_svd": pd.concat(svd, ignore_index=True),
        "coefficients": pd.concat(coefficients, ignore_index=True),
        # One tensor has no path.
        "linearity": pd.concat([lines[0], lines[1].iloc[1:]], ignore_index=True),
    }


def _lines(
    column: Column, label: pd.DataFrame, clock: str, lacks_r2: int, *lacks_heldout: int
) -> pd.DataFrame:
    names = [f"{name}{null}" for name in ("r2", "heldout_r2", "loo_r2") for null in _NULLS]
    names += [f"optimizer_{name}_null_{end}" for name in _NOISE for end in ("mean", "high")]
    found = {name: column(name, len(label)) for name in names}
    found["r2"] = lacking(found["r2"], lacks_r2)
    found["heldout_r2"] = lacking(found["heldout_r2"], *lacks_heldout)
    return label.assign(T=len(STEPS), draws=150, seed=3, clock=clock, **found)


def weight_lines(column: Column) -> pd.DataFrame:
    """Lines through single weights; those of the path and of all weights belong to no claim."""
    keys = list(product(("path", "step"), ("all", "half", "paper")))
    found = pd.DataFrame(keys, columns=["clock", "selection"])
    names = {"above_share": "weights_above", "r2": "weights_r2"}
    for score, level in names.items():
        found[score] = column(level, len(keys))
        for walk in ("", "optimizer_"):
            null = column("weights_null", len(keys))
            for end, apart in (("mean", 0.0), ("low", -0.01), ("high", 0.01)):
                found[f"{walk}{score}_null_{end}"] = null + apart
    found["r2_low"], found["r2_high"] = found["r2"] - 0.001, found["r2"] + 0.002
    for score in ("heldout_r2", "kept_share"):
        for name in (score, f"{score}_null_mean", f"optimizer_{score}_null_mean"):
            found[name] = 0.4
    sizes = {"points": 10, "tensors": 23, "sampled": 900, "largest": 2e-4, "draws": 40, "seed": 3}
    return found.assign(weights=np.arange(len(keys)) + 300, dtype="bfloat16", **sizes)


_NULLS = ("", "_null_mean", "_null_low", "_null_high", "_permuted_mean")
_NOISE = ("r2", "heldout_r2")


def _directions(column: Column) -> dict[str, pd.DataFrame]:
    here, every = matrices(), tensors()
    label = here[["tensor", "module", "layer"]]
    mlp = label["module"].isin(MLP).to_numpy()
    count = len(label)
    ends = ("mean", "low", "high")
    r2 = np.where(mlp, column("pls_r2_mlp", count), column("pls_r2_attention", count))
    pls = label.assign(
        T=8,
        draws=150,
        seed=3,
        accuracy="rollouts of 8 checkpoints",
        r2=lacking(r2, 1, 12),
        loo_r2=lacking(column("pls_loo_r2", count), 0, 3, 10, 20),
        **{f"r2_null_{end}": column(f"pls_null_{end}", count) for end in ends},
        **{f"r2_walk_{end}": column(f"walk_{end}", count) for end in ends},
        **{f"loo_r2_null_{end}": column(f"loo_null_{end}", count) for end in ends},
    )
    whole = every[["tensor", "module", "layer"]]
    oracle = [
        _by_step(
            whole.assign(rank=rank),
            STEPS,
            lambda _, growth, rank=rank: {
                "cosine": lacking(growth * column(f"oracle_{rank}", len(whole)), 5, 6)
            },
        )
        for rank in (1, 3, 5)
    ]
    drift = [
        whole.assign(
            share=share,
            cosine=share**0.3 * column("drift", len(whole)),
            draws=150,
            **{f"null_{end}": share * column(f"drift_null_{end}", len(whole)) for end in ends},
        )
        for share in (0.1, 0.4, 0.8, 1.0)
    ]
    turned = ("cosine_last", "cosine_next")
    return {
        "pls": pls,
        "oracle": pd.concat(oracle, ignore_index=True),
        "drift": pd.concat(drift, ignore_index=True),
        "u1_alignment": _by_step(
            label, STEPS, lambda _, growth: {name: growth * column(name, count) for name in turned}
        ),
    }


def _forecast(column: Column, norms: pd.DataFrame) -> pd.DataFrame:
    """Draw skill, direction and length; the held checkpoint's cosine gives its distance."""
    label = tensors()[["tensor", "module", "layer"]]
    length = norms.pivot(index="tensor", columns="step", values="update_norm").loc[label["tensor"]]
    keys = list(product(FORECASTS, WINDOWS, (160, FINAL)))
    parts: list[dict[str, Array]] = []
    for method, observe, step in keys:
        near = (observe / 30) ** 0.2 * (1.0 if step == FINAL else 0.8)
        held, true = length[observe].to_numpy(), length[step].to_numpy()
        hold = held**2 + true**2
        hold -= 2 * near * column("held_cosine", len(label)) * held * true
        skill = near * column(f"skill_{method}", len(label))
        if method in ("relex", "momentum"):
            skill = lacking(skill, 2, 13)
        if method == "weight_extrapolation":  # leaves two tensors as last observed
            skill[[4, 9]] = 0.0
        cosine = lacking(near * column("cosine", len(label)), 1, 4, 9, 16)
        ratio = lacking(near * column("magnitude_ratio", len(label)), 7, 8)
        part = {"sse": hold * (1 - skill), "sse_hold": hold, "skill": skill, "cosine": cosine}
        parts.append(part | {"magnitude_ratio": ratio})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    named = np.array(keys, dtype=object).repeat(len(label), axis=0)
    frame = pd.concat([label] * len(keys), ignore_index=True)
    return frame.assign(
        method=named[:, 0],
        observe=named[:, 1].astype(int),
        step=named[:, 2].astype(int),
        uses_future=False,
        dtype="bfloat16",
        **found,
    )


def _with_noise(column: Column, pls: pd.DataFrame) -> pd.DataFrame:
    """Add what the noise of the accuracies allows, and the step number beside u1."""
    count = len(pls)
    ceiling, spread = column("ceiling", count), column("ceiling_spread", count)
    return pls.assign(
        r2_ceiling=ceiling,
        r2_ceiling_low=ceiling - spread,
        r2_ceiling_high=ceiling + spread,
        r2_corrected=np.minimum(1, pls["r2"] / ceiling),
        loo_r2_corrected=np.minimum(1, pls["loo_r2"] / ceiling),
        noise_sd=column("noise_sd", count),
        r2_error=column("r2_error", count),
        noise_source="standard errors of y(t)",
        step_r2=column("step_r2", count),
        step_loo_r2=column("step_loo_r2", count),
        partial_r2=lacking(column("partial", count), 2, 7),
        partial_r2_null_high=column("partial_null", count),
        partial_r2_walk_mean=column("partial_walk", count),
        partial_r2_walk_high=column("partial_walk_high", count),
    )
