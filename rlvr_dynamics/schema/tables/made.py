"""Columns of the tables in predictions/ and scores/. Data only.

Legend: W_t the weights of one tensor at step t, W_0 the base, Ŵ the predicted weights.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table
from rlvr_dynamics.schema.tables.parts import DTYPE, TENSOR, B

ONE_SAMPLE = "missing where a question has one sample, and accuracy says it all"
SPREAD = (
    "Wilson; with several samples the bootstrap over questions, or Wilson's at the effective "
    "number of answers where that is farther out"
)
PREDICTED = (
    needed("method", "name", "label of the method"),
    needed("observe", "step", "last observed step; 0 for a reconstruction"),
    needed("step", "step", "target step"),
)
SCORED = (
    needed("method", "name", "base, real (a checkpoint of the training) or label of the method"),
    needed("observe", "step", "last observed step; missing or 0 where nothing was observed"),
    needed("step", "step", "step of the checkpoint, or target step of the prediction"),
)
CHEN = "Chen et al. 2021, arXiv 2107.03374, eq. 1"
PASS_AT = (2, 4, 8, 16, 32, 64)
"""The k of pass@k; pass@1 is the accuracy."""
USES_FUTURE = Column("uses_future", "yes or no", "the method looked beyond its window")
QUESTIONS = Column("questions", "count", "n, questions of the benchmark")
SAMPLES = Column("samples", "count", "k, answers to each question")
ACCURACY = (
    needed("accuracy", "share", "correct answers / answers: mean@k, which is pass@1"),
    Column("ci_low", "share", f"lower end of accuracy's 95 % interval: {SPREAD}"),
    Column("ci_high", "share", "upper end of the same"),
)
CANDIDATE_OF = Column(
    "candidate_of", "name", "the method whose grid this is a candidate of; missing outside a grid"
)
PARAMETERS = (
    Column("moved", "count", "parameters that the method predicts; the others stay"),
    Column("parameters", "count", "parameters of the model, a tied head counted once"),
)


TABLES = (
    table(
        "predictions/forecast.parquet",
        "extrapolate",
        *PREDICTED,
        *TENSOR,
        Column("sse", "norm²", "‖Ŵ − W_t‖_F², Ŵ the predicted weights"),
        Column("sse_hold", "norm²", "the same with the last observed checkpoint in place of Ŵ"),
        needed("skill", "share", "1 − sse / sse_hold; 1 is perfect, 0 no better than holding"),
        Column("cosine", "cosine", "cos(Ŵ − W_0, W_t − W_0)", f"{B}, appendix B"),
        Column("magnitude_ratio", "ratio", "‖Ŵ − W_0‖_F / ‖W_t − W_0‖_F", f"{B}, appendix B"),
        DTYPE,
        USES_FUTURE,
        Column(
            "clock",
            "name",
            "axis on which the line was continued: `step` the step number, `path` the length of "
            "the path, `optimizer` the sum of the learning rates; missing for methods without the "
            "choice",
        ),
        Column(
            "continuation",
            "name",
            "how the path was continued after the window: `power_law` of the step lengths in its "
            "last two thirds, or `constant`, their mean; missing on other clocks",
        ),
        Column(
            "tensors_on_step",
            "count",
            "tensors of the prediction whose path could not be continued, which were continued on "
            "the step number; missing on other clocks",
        ),
    ),
    table(
        "predictions/index.parquet",
        "extrapolate",
        *PREDICTED,
        Column("path", "name", "folder of the predicted checkpoint, below the run directory"),
        Column("identity", "hash", "hash of its weights"),
        USES_FUTURE,
        CANDIDATE_OF,
        *PARAMETERS,
    ),
    table(
        "scores/scores.parquet",
        "score",
        needed("model", "name", "id of the model: base, step_N or a prediction"),
        *SCORED,
        needed("benchmark", "name", "the benchmark's file name without its ending"),
        Column("title", "name", "its name for readers"),
        needed("split", "name", "in_domain or out_of_domain"),
        needed("protocol", "name", "how answers were drawn, such as greedy or sampled"),
        QUESTIONS,
        SAMPLES,
        *ACCURACY,
        Column(
            "pass_at_n",
            "share",
            f"mean of 1 − C(n − c, k) / C(n, k) over questions at k = n, c of the n samples "
            f"correct: questions with a correct sample; {ONE_SAMPLE}",
            CHEN,
        ),
        Column("pass_at_n_low", "share", "lower end of its 95 % Wilson interval over questions"),
        Column("pass_at_n_high", "share", "upper end of the same"),
        *(
            column
            for k in PASS_AT
            for column in (
                Column(
                    f"pass_at_{k}",
                    "share",
                    f"the same at k = {k}, unbiased for {k} new samples; missing where a question "
                    "has fewer",
                    CHEN,
                ),
                Column(f"pass_at_{k}_low", "share", f"lower end of its 95 % interval: {SPREAD}"),
                Column(f"pass_at_{k}_high", "share", "upper end of the same"),
            )
        ),
        Column(
            "majority",
            "share",
            "score of each question's most frequent answer, normalised, averaged over questions; "
            f"answers with equally many votes share; samples without one do not vote; {ONE_SAMPLE}",
            "Lewkowycz et al. 2022, arXiv 2206.14858; the rule for ties is ours",
        ),
        Column("majority_low", "share", "lower end of its 95 % Wilson interval over questions"),
        Column("majority_high", "share", "upper end of the same"),
        Column(
            "string_match",
            "share",
            "answers spelled as the gold answer: a second, simpler grader; not for puzzles",
        ),
        Column("graders_disagree", "count", "answers on which the two graders disagree"),
        Column("correct", "count", "answers that the grader takes as right"),
        Column("incorrect", "count", "answers that it takes as wrong"),
        Column("no_answer", "count", "responses in which it finds no answer; scored 0"),
        Column("truncated", "count", "responses cut at the token limit before an answer; scored 0"),
        Column("limit", "count", "answers too long or too explosive to be parsed; scored 0"),
        Column("timeout", "count", "answers whose comparison took too long; scored 0"),
        Column("crash", "count", "answers whose comparison broke; scored 0"),
        Column(
            "copied",
            "count",
            "correct answers whose text also occurs in the question, copied or worked out",
        ),
        Column("finish_stop", "count", "responses that the model ended itself"),
        Column("finish_length", "count", "responses cut at the token limit, answered or not"),
        Column("finish_other", "count", "responses that ended for another reason"),
        Column("mean_tokens", "tokens", "mean length of a response"),
        Column(
            "golds_as_text",
            "count",
            "reference answers that cannot be parsed as mathematics and are compared as text",
        ),
        Column("dtype", "name", "precision of the weights in the engine"),
        Column(
            "seed",
            "number",
            "seed of the scoring; the seeds of requests or of batches follow from it",
        ),
        Column("grader", "name", "version of the grader's rules and of the libraries it asks"),
        Column("key", "hash", "of everything that the answers depend on"),
        USES_FUTURE,
    ),
    table(
        "scores/validation.parquet",
        "score",
        needed("model", "name", "id of the model, on the validation problems"),
        *SCORED,
        needed("protocol", "name", "how answers were drawn"),
        QUESTIONS,
        SAMPLES,
        *ACCURACY,
    ),
    table(
        "scores/selection.parquet",
        "score",
        *SCORED,
        Column("identity", "hash", "hash of the candidate's weights"),
        USES_FUTURE,
        needed("candidate_of", "name", "the method whose grid this is a candidate of"),
        *PARAMETERS,
        *ACCURACY,
        QUESTIONS,
        SAMPLES,
        needed(
            "chosen",
            "yes or no",
            "the most accurate candidate of its method, window and step on the validation "
            "problems, the first of equals; it alone meets the benchmarks",
        ),
    ),
)
