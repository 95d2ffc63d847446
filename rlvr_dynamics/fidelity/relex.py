"""RELEX's settings (arXiv 2605.21468): of its training only data, algorithm and steps are known.

The rest has two proxies: earlier scripts of the same group for the same problems
(github.com/TianHongZXY/RLVR-Decomposed, run_qwen*_grpo.sh, with the defaults of the verl in it),
and an independent replication (github.com/basetenlabs/relex-replication).
"""

from rlvr_dynamics.fidelity.ours import (
    answers_to_problems,
    ends_of_an_answer,
    own_updates,
    scored,
    training_problems,
    updates_a_step,
)
from rlvr_dynamics.fidelity.setting import Setting, models
from rlvr_dynamics.schema import RunConfig

PAPER = "arXiv 2605.21468"
CODE = "released code: eval and the model cards"
PROXIES = "RLVR-Decomposed's scripts; basetenlabs' replication"
BOTH = "the same in both"
TRAINED = ("grpo",)
RUNS = ("qwen2_5_math_1_5b", "qwen3_4b", "qwen3_8b")
SHORT = "qwen2_5_math_1_5b"  # a context of 4,096 tokens


def _is_run(config: RunConfig) -> bool:
    return config.algorithm.name in TRAINED and config.model.name in RUNS


SETTINGS = (
    Setting(
        name="run",
        key="algorithm, model",
        paper=lambda config: "trained by the authors" if _is_run(config) else "no such run",
        source=f"{PAPER}, abstract",
        ours=lambda config: "trained by the authors" if _is_run(config) else "our own run",
        reason="the grid crosses models and algorithms",
    ),
    Setting(
        name="training problems",
        key="data.validation_problems",
        paper=7500,
        words="MATH, all 7,500 for training",
        source=f"{PAPER}; the number from the data set",
        ours=training_problems,
        reason="problems are held out to choose the methods' parameters and to measure y(t)",
    ),
    Setting(name="steps", key="trainer.steps", paper=500, source=f"{PAPER}, abstract"),
    Setting(
        name="problems a step",
        key="trainer.prompts_per_step",
        words="not printed (1,024; 32)",
        source=PROXIES,
        chosen=512,
        reason="two updates of 256, the scripts' mini-batch",
    ),
    Setting(
        name="updates a step",
        key="trainer.mini_batch_prompts",
        words="not printed (4; 1)",
        source=f"{PROXIES}; released code: target_step_scaling_factor",
        ours=updates_a_step,
        chosen=own_updates(2),
        reason="RELEX's code counts two for the 1.5B and one for the others; GSPO, CISPO and OPO "
        "as in their own papers",
    ),
    Setting(
        name="answers per problem",
        key="algorithm.group_size",
        words="not printed (8; 8)",
        source=PROXIES,
        chosen=8,
        reason=BOTH,
    ),
    Setting(
        name="learning rate",
        key="algorithm.learning_rate",
        words="not printed (1e-06; 1e-06)",
        source=PROXIES,
        chosen=1e-6,
        reason=BOTH,
    ),
    Setting(
        name="warm-up, steps",
        key="algorithm.warmup_steps",
        words="not printed (0; 0)",
        source=PROXIES,
        chosen=0,
        reason=f"{BOTH}; a ramp in the observed steps would bend c(t)",
    ),
    Setting(
        name="gradient clip",
        key="algorithm.grad_clip",
        words="not printed (1; 1)",
        source=PROXIES,
        chosen=1.0,
        reason=BOTH,
    ),
    Setting(
        name="weight decay",
        key="algorithm.weight_decay",
        words="not printed (0.01; 0.01)",
        source=PROXIES,
        chosen=0.01,
        reason=BOTH,
        applies=lambda config: config.algorithm.name in TRAINED,
    ),
    Setting(
        name="clip, below and above",
        key="algorithm.clip_ratio_low",
        words="not printed (0.2; 0.2)",
        source=PROXIES,
        ours=lambda config: (
            config.algorithm.clip_ratio_low
            if config.algorithm.clip_ratio_low == config.algorithm.clip_ratio_high
            else f"{config.algorithm.clip_ratio_low:g} and {config.algorithm.clip_ratio_high:g}"
        ),
        chosen=0.2,
        reason=BOTH,
        applies=lambda config: config.algorithm.name in TRAINED,
    ),
    Setting(
        name="KL term in the loss",
        key="algorithm.kl_loss_coef",
        words="not printed (0.001; 0.001)",
        source=PROXIES,
        chosen=0.001,
        reason=BOTH,
        applies=lambda config: config.algorithm.name in TRAINED,
    ),
    Setting(
        name="entropy bonus",
        key="algorithm.entropy_coef",
        words="not printed (0.001; 0.001)",
        source=PROXIES,
        chosen=0.0,
        reason="verl's default; 0.001 was its default when the scripts were written",
        applies=lambda config: config.algorithm.name in TRAINED,
    ),
    Setting(
        name="advantages over the group's deviation",
        key="algorithm.normalize_by_std",
        words="not printed (yes; yes)",
        source=PROXIES,
        chosen=True,
        reason=BOTH,
        applies=lambda config: config.algorithm.name in TRAINED,
    ),
    Setting(
        name="reward",
        key="data.reward",
        source=PAPER,
        chosen="exact",
        reason="the grader of the scores, 1 or 0",
    ),
    Setting(
        name="answers to the problems",
        key="data.shuffle_answers",
        paper="their own",
        source=PAPER,
        ours=answers_to_problems,
        reason="a control: the reward says nothing about the task",
    ),
    Setting(
        name="longest prompt, tokens",
        key="trainer.max_prompt_tokens",
        words="not printed (1,024)",
        source=PROXIES,
        chosen=1024,
        reason="as in the scripts",
    ),
    Setting(
        name="longest answer, tokens",
        key="trainer.max_response_tokens",
        words="not printed (3,072; 3,072)",
        source=PROXIES,
        chosen=3072,
        reason=BOTH,
        applies=models(SHORT),
    ),
    Setting(
        name="longest answer, tokens",
        key="trainer.max_response_tokens",
        words="not printed (31,744; 6,144)",
        source=PROXIES,
        chosen=16384,
        reason="as RELEX scores this model",
        applies=lambda config: config.model.name != SHORT,
    ),
    Setting(
        name="temperature in training",
        key="trainer.temperature",
        words="not printed (1; 1)",
        source=PROXIES,
        chosen=1.0,
        reason=BOTH,
    ),
    Setting(
        name="end of an answer",
        key="model.stop_tokens",
        source=PAPER,
        ours=ends_of_an_answer,
        reason="with a chat template the models also end their turn with its own token, after "
        "which they would continue as the user",
    ),
    Setting(
        name="precision of training",
        key="trainer.precision",
        words="not printed (bf16; bf16)",
        source=PROXIES,
        chosen="bf16",
        reason=f"{BOTH}; the scripts with float32 weights as here, the replication without",
    ),
    Setting(
        name="stored dtype",
        key="trainer.checkpoint_dtype",
        paper="bfloat16",
        source=CODE,
    ),
    Setting(
        name="answers per question when scored, MATH",
        key="scoring.protocols",
        paper=1,
        source=CODE,
        ours=scored("samples", "in_domain"),
    ),
    Setting(
        name="temperature when scored, MATH",
        key="scoring.protocols",
        paper=lambda config: 0.0 if config.model.name == SHORT else 0.7,
        source=CODE,
        ours=scored("temperature", "in_domain"),
    ),
    Setting(
        name="answers per question when scored, others",
        key="scoring.protocols",
        paper=8,
        source=CODE,
        ours=scored("samples", "out_of_domain"),
    ),
    Setting(
        name="temperature when scored, others",
        key="scoring.protocols",
        paper=0.7,
        source=CODE,
        ours=scored("temperature", "out_of_domain"),
    ),
    Setting(
        name="longest answer when scored, tokens",
        key="scoring.max_tokens",
        paper=lambda config: 4096 if config.model.name == SHORT else 16384,
        source=CODE,
    ),
)
