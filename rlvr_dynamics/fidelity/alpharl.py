"""AlphaRL's settings (arXiv 2510.00553, version 3), for the runs that it trained itself."""

from rlvr_dynamics.fidelity.ours import (
    accuracy_of_steps,
    answers_to_problems,
    ends_of_an_answer,
    own_updates,
    scored,
    training_problems,
    updates_a_step,
    wanted_precision,
)
from rlvr_dynamics.fidelity.setting import Setting, Value, algorithms, models
from rlvr_dynamics.schema import RunConfig

APPENDIX = "arXiv 2510.00553, appendix B"
RELEASE = "model cards caiyuchen/DAPO-step-0 to 27"
TRAINED = ("grpo", "rloo", "dapo")

_OWN = "trained by the authors"
_CROSSED = "no such run"
RUNS = {
    **dict.fromkeys([("grpo", "qwen3_8b"), ("rloo", "qwen3_8b"), ("dapo", "qwen3_8b")], _OWN),
    **dict.fromkeys([("dapo", "r1_distill_qwen_7b"), ("dapo", "llama3_1_8b")], _OWN),
    **dict.fromkeys([("dapo", "glm4_9b"), ("dapo", "qwen3_14b")], _OWN),
    ("ppo", "qwen2_5_7b"): "released elsewhere: Open-Reasoner-Zero-7B",
    ("dr_grpo", "qwen2_5_math_7b"): "released elsewhere: Qwen2.5-Math-7B-Oat-Zero",
    ("dapo", "qwen2_5_32b"): "released elsewhere: DAPO-Qwen-32B",
}


def _run(config: RunConfig) -> Value:
    return RUNS.get((config.algorithm.name, config.model.name), _CROSSED)


def _candidates(config: RunConfig) -> Value:
    return "refilled until full" if config.algorithm.dynamic_sampling else "not filtered"


SETTINGS = (
    Setting(
        name="run",
        key="algorithm, model",
        paper=_run,
        source="arXiv 2510.00553, appendix B and table 1",
        ours=lambda config: _OWN if _run(config) == _OWN else "our own run",
        reason="the grid crosses models and algorithms; those of the paper's runs that were "
        "released elsewhere are trained here with the same settings as the others",
    ),
    Setting(
        name="start",
        key="model.repo",
        paper="supervised on DeepMath-103K first",
        source=APPENDIX,
        ours=lambda _: "the released model",
        reason="there is no supervised stage here; give a model that was trained elsewhere as "
        "model.repo",
        applies=models("llama3_1_8b"),
    ),
    Setting(
        name="training problems",
        key="data.validation_problems",
        paper=17398,
        words="DAPO-Math-17k, 17,398 problems",
        source=f"{APPENDIX}; the number from the data set",
        ours=training_problems,
        reason="problems are held out to choose the methods' parameters and to measure y(t)",
    ),
    Setting(
        name="steps",
        key="trainer.steps",
        paper=27,
        words="27 (stopped when the mean reward had not risen for 5 steps)",
        source=f"{RELEASE}; the rule: {APPENDIX}",
    ),
    Setting(name="problems a step", key="trainer.prompts_per_step", paper=512, source=APPENDIX),
    Setting(name="answers per problem", key="algorithm.group_size", paper=8, source=APPENDIX),
    Setting(
        name="updates a step",
        key="trainer.mini_batch_prompts",
        words="mini-batch 32, accumulated 16 times to 512",
        source=APPENDIX,
        ours=updates_a_step,
        chosen=own_updates(1),
        reason="one or 16 by these words, and the printed update norms speak for one "
        "(configs/trainer/gpu_node.yaml); GSPO, CISPO and OPO as in their own papers",
    ),
    Setting(name="learning rate", key="algorithm.learning_rate", paper=1e-6, source=APPENDIX),
    Setting(
        name="warm-up, steps",
        key="algorithm.warmup_steps",
        words="yes, without a number",
        source=APPENDIX,
        chosen=10,
        reason="as in verl's DAPO recipe",
    ),
    Setting(name="gradient clip", key="algorithm.grad_clip", paper=1.0, source=APPENDIX),
    Setting(
        name="weight decay",
        key="algorithm.weight_decay",
        source=APPENDIX,
        chosen=0.1,
        reason="as in verl's DAPO recipe",
        applies=algorithms("dapo"),
    ),
    Setting(
        name="weight decay",
        key="algorithm.weight_decay",
        source=APPENDIX,
        chosen=0.01,
        reason="verl's default",
        applies=algorithms("grpo", "rloo"),
    ),
    Setting(
        name="clip, below",
        key="algorithm.clip_ratio_low",
        paper=0.2,
        source=APPENDIX,
        applies=algorithms("grpo", "dapo"),
    ),
    Setting(
        name="clip, above",
        key="algorithm.clip_ratio_high",
        paper=lambda config: 0.28 if config.algorithm.name == "dapo" else 0.2,
        source=APPENDIX,
        applies=algorithms("grpo", "dapo"),
    ),
    Setting(
        name="KL term in the loss",
        key="algorithm.kl_loss_coef",
        paper=lambda config: 0.0 if config.algorithm.name == "dapo" else 0.001,
        source=APPENDIX,
        applies=algorithms(*TRAINED),
    ),
    Setting(
        name="entropy bonus",
        key="algorithm.entropy_coef",
        paper=lambda config: 0.0 if config.algorithm.name == "rloo" else None,
        source=APPENDIX,
        chosen=0.0,
        reason="verl's default",
        applies=algorithms(*TRAINED),
    ),
    Setting(
        name="mean of the loss",
        key="algorithm.loss_agg_mode",
        paper=lambda config: "token-mean" if config.algorithm.name == "dapo" else None,
        source=APPENDIX,
        chosen="token-mean",
        reason="verl's default",
        applies=algorithms(*TRAINED),
    ),
    Setting(
        name="advantages over the group's deviation",
        key="algorithm.normalize_by_std",
        source=APPENDIX,
        chosen=True,
        reason="as in the papers of GRPO and DAPO",
        applies=algorithms("grpo", "dapo"),
    ),
    Setting(
        name="dual clip",
        key="algorithm.clip_ratio_c",
        source=APPENDIX,
        chosen=lambda config: 10.0 if config.algorithm.name == "dapo" else 3.0,
        reason="verl's default, and for DAPO its recipe's",
        applies=algorithms("grpo", "dapo"),
    ),
    Setting(
        name="reward",
        key="data.reward",
        source=APPENDIX,
        chosen="dapo_2025",
        reason="verl's scorer for these data as in its releases 0.4 to 0.9.0: the text after "
        "Answer:, +1 or -1",
    ),
    Setting(
        name="answers to the problems",
        key="data.shuffle_answers",
        paper="their own",
        source=APPENDIX,
        ours=answers_to_problems,
        reason="a control: the reward says nothing about the task",
    ),
    Setting(
        name="problems of y(t)",
        key="trainer.validate_every",
        paper="MATH-500, every step",
        source="arXiv 2510.00553, linear dynamics (eq. 6-10)",
        ours=accuracy_of_steps,
        reason="the engine that trains measures it without another one; MATH-500 is scored on the "
        "ladder of steps, and source.accuracy takes any other table",
    ),
    Setting(
        name="dynamic sampling",
        key="algorithm.dynamic_sampling",
        paper=True,
        source=APPENDIX,
        applies=algorithms("dapo"),
    ),
    Setting(
        name="candidates of a step",
        key="algorithm.dynamic_sampling",
        paper="up to 512 x 3",
        source=APPENDIX,
        ours=_candidates,
        chosen="refilled until full",
        reason="verl's trainer replaces each dropped problem by two and reads no upper limit "
        "(algorithm.filter_groups.max_num_gen_batches); in its recipe 512 x 3 is the size of one "
        "round of generation",
        applies=algorithms("dapo"),
    ),
    Setting(
        name="length penalty, part of the longest answer",
        key="algorithm.overlong.buffer_share",
        words="yes, without numbers",
        source=APPENDIX,
        chosen=0.2,
        reason="DAPO's 4,096 of 20,480 tokens (arXiv 2503.14476, section 4.1)",
        applies=algorithms("dapo"),
    ),
    Setting(
        name="longest prompt, tokens",
        key="trainer.max_prompt_tokens",
        paper=2048,
        source=APPENDIX,
        chosen=1024,
        reason="the model's context has 4,096 tokens",
    ),
    Setting(
        name="longest answer, tokens",
        key="trainer.max_response_tokens",
        paper=20480,
        source=APPENDIX,
        chosen=3072,
        reason="the model's context has 4,096 tokens",
    ),
    Setting(
        name="temperature in training",
        key="trainer.temperature",
        source=APPENDIX,
        chosen=1.0,
        reason="verl's default",
    ),
    Setting(
        name="end of an answer",
        key="model.stop_tokens",
        paper="the model's own",
        words="<|endoftext|>",
        source=APPENDIX,
        ours=ends_of_an_answer,
        reason="with a chat template the models also end their turn with its own token, after "
        "which they would continue as the user",
    ),
    Setting(
        name="precision of training",
        key="trainer.precision",
        paper="fp16",
        source=APPENDIX,
        chosen="bf16",
        reason="verl could not train in fp16 when the paper appeared (its autocast was bf16 until "
        "pull request 4036, November 2025); trainer.precision=fp16 does, with a loss scale that "
        "restarts after a resume",
    ),
    Setting(
        name="stored dtype",
        key="trainer.checkpoint_dtype",
        source=f"{APPENDIX}; {RELEASE}",
        chosen="float32",
        reason="in narrower files updates of this size would be rounding (docs/fidelity.md)",
    ),
    Setting(
        name="GPUs of 80 GB",
        key="model.hardware.gpus_per_node",
        words="8 or 16 H800",
        source=APPENDIX,
        ours=lambda config: config.trainer.nodes * config.trainer.gpus_per_node,
        reason="what the model needs",
    ),
    Setting(
        name="answers per question when scored",
        key="scoring.protocols",
        paper=32,
        source="arXiv 2510.00553, section 4",
        ours=scored("samples"),
    ),
    Setting(
        name="answers of what its tables do not have",
        key="scoring.half_width",
        words="not in the paper",
        source="arXiv 2510.00553, section 4",
        ours=wanted_precision,
        chosen="enough for 0.02 either way",
        reason="the margin of the claims; 32 answers for every prediction would cost more than the "
        "training",
    ),
    Setting(
        name="temperature when scored",
        key="scoring.protocols",
        paper=0.6,
        source="arXiv 2510.00553, section 4",
        ours=scored("temperature"),
    ),
    Setting(
        name="longest answer when scored, tokens",
        key="scoring.max_tokens",
        source="released code: eval/reasoning_eval.sh has 30,000",
        reason="the released script's, or the model's context",
    ),
)
