"""Tables about the trajectory of every tensor, from its Gram matrix and step norms.

Legend: T observed steps, d elements of one tensor, k rank.
"""

import math

import numpy as np
import pandas as pd
import torch

from rlvr_dynamics.dynamics import (
    oracle_cosines,
    prefix_drift,
    prefix_drift_null,
    rounding_share,
    svd_of_gram,
)
from rlvr_dynamics.measurement.linearity_tables import (
    Table,
    quantiles,
    scores_with_nulls,
    seeds_of,
)
from rlvr_dynamics.measurement.settings import MeasureSettings
from rlvr_dynamics.measurement.statistics import TensorStatistics
from rlvr_dynamics.schema.tables import MEASURED

COEFFICIENT_INDICES = 3
ORACLE_RANKS = (1, 3, 5, 10)
DRIFT_SHARES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)


def trajectory_tables(
    labels: Table, d: int, dtype: str, statistics: TensorStatistics, settings: MeasureSettings
) -> dict[str, Table]:
    """Return the rows of one tensor in every table about trajectories.

    Args:
        labels: Columns `tensor`, `module` and `layer`.
        d: Number of elements.
        dtype: Dtype in which it is read.
        statistics: The tensor's statistics.
        settings: Seeds, draws and ranks.
    """
    steps, gram = statistics.steps, statistics.gram
    svd = svd_of_gram(torch.from_numpy(gram), max(settings.top_k, max(ORACLE_RANKS)), steps)
    norms = np.sqrt(gram.diagonal())
    base_norm = float(statistics.base_norm)
    coefficients = svd.coefficients[:, :COEFFICIENT_INDICES]
    count = coefficients.shape[1]
    return {
        "norms": {
            "step": steps,
            **labels,
            "update_norm": norms,
            "step_norm": statistics.step_norms,
            "base_norm": base_norm,
            "relative_update": norms / base_norm if base_norm > 0.0 else math.nan,
            "changed_share": statistics.changed / d,
            "step_changed_share": statistics.step_changed / d,
            "bfloat16_changed_share": statistics.bfloat16_changed / d,
            "bfloat16_differing_share": statistics.bfloat16_differing / d,
            "rounding_share": rounding_share(
                float(statistics.power_squares), statistics.bits, gram.diagonal()
            ),
            "float16_rounding_share": np.divide(
                statistics.float16_errors,
                gram.diagonal(),
                where=(gram.diagonal() > 0.0) & np.isfinite(statistics.float16_errors),
                out=np.full(len(steps), np.nan),
            ),
            "optimizer_step_length": statistics.step_norms
            / (math.sqrt(d) * settings.optimizer.rates_between(steps)),
        },
        "coefficients": {
            **labels,
            "step": np.repeat(steps, count),
            "index": np.tile(np.arange(1, count + 1), len(steps)),
            "coefficient": coefficients.reshape(-1),
        },
        **scores_with_nulls(labels, d, dtype, svd, statistics, settings),
        "oracle": _oracle(labels, statistics),
        "drift": _drift(labels, d, statistics, settings),
    }


def exponent_table(labels: Table, statistics: TensorStatistics) -> dict[str, Table]:
    """Return how large a tensor's weights are, from which the spacing of stored values follows.

    Nothing where that is not known: in statistics of earlier versions, or with adapters.
    """
    exponents = np.flatnonzero(statistics.exponents)
    bits = int(statistics.bits.max(initial=0))
    if not len(exponents) or not bits:
        return {}
    return {
        "exponents": {
            **labels,
            "exponent": exponents - 127,
            "count": statistics.exponents[exponents],
            "bits": bits,
        }
    }


def _oracle(labels: Table, statistics: TensorStatistics) -> Table:
    ranks = [rank for rank in ORACLE_RANKS if rank <= len(statistics.steps)]
    cosines = oracle_cosines(torch.from_numpy(statistics.gram), ranks)
    return {
        **labels,
        "step": np.repeat(statistics.steps, len(ranks)),
        "rank": np.tile(ranks, len(statistics.steps)),
        "cosine": cosines.reshape(-1),
        "relative_error": np.sqrt(np.clip(1.0 - cosines**2, 0.0, None)).reshape(-1),
    }


def _drift(labels: Table, d: int, statistics: TensorStatistics, settings: MeasureSettings) -> Table:
    stops, cosines = prefix_drift(torch.from_numpy(statistics.gram), DRIFT_SHARES)
    null = prefix_drift_null(
        statistics.step_norms, d, DRIFT_SHARES, settings.draws, seeds_of(settings, labels["tensor"])
    )
    summaries = [quantiles(column, "null") for column in null.T]
    return {
        **labels,
        "share": np.array(DRIFT_SHARES),
        "stop": statistics.steps[np.asarray(stops) - 1],
        "cosine": cosines,
        **{key: [summary[key] for summary in summaries] for key in summaries[0]},
        "draws": settings.draws,
        "seed": settings.seed,
    }


def explained_variance_summary(
    grams: dict[str, np.ndarray], elements: dict[str, int], nulls: pd.DataFrame
) -> pd.DataFrame:
    """Return explained variance over all tensors, by trajectory rank.

    Args:
        grams: Gram matrix of every tensor, shape (T, T).
        elements: d of every tensor.
        nulls: The table `trajectory_svd`, for the null of rank 1.
    """
    first = nulls[nulls["index"] == 1]
    rows = []
    for rank in ORACLE_RANKS:
        shares, sizes = [], []
        for name, gram in grams.items():
            values = np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None)
            if rank <= len(values) and values.sum() > 0.0:
                shares.append(values[:rank].sum() / values.sum())
                sizes.append(elements[name])
        if not shares:
            continue
        share = np.array(shares)
        rows.append(
            {
                "rank": rank,
                "tensors": len(share),
                "parameters": sum(sizes),
                "min": share.min(),
                "mean": share.mean(),
                "median": np.median(share),
                "weighted_mean": np.average(share, weights=sizes),
                **{f"above_{int(100 * level)}": int((share >= level).sum()) for level in LEVELS},
                "null_mean": first["null_mean"].mean() if rank == 1 else math.nan,
                "null_high": first["null_high"].mean() if rank == 1 else math.nan,
            }
        )
    return pd.DataFrame(rows, columns=MEASURED["explained_variance"].names)


LEVELS = (0.90, 0.95, 0.99)
