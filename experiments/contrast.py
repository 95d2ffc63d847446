"""Is rank 1's share specific to reinforcement learning, or does any training give it?"""

from .question import Plan, Question
from .rank_recovery import PAPER, RANDOM, RANK_1, share
from .runs import ALPHARL_PUBLISHED
from .runs import PUBLISHED_PAIRS as REINFORCED

IMITATED = ("r1_distill_qwen_7b", "sft_qwen2_5_math_7b", "dpo_qwen2_5_math_7b")

QUESTION = Question(
    name="contrast",
    asks="Do supervised fine-tuning, distillation and preference learning leave updates of low "
    "rank too?",
    sources=("AlphaRL (arXiv 2510.00553), section 3, Tables 7 and 8, Figure 5a",),
    plans=(
        Plan(
            cells=(*IMITATED, *REINFORCED, ALPHARL_PUBLISHED),
            reconstructions=(RANK_1, RANDOM, *map(share, (1, 10, 20, 30, 50, 70, 90))),
            ladder=PAPER.ladder,
            benchmarks=("math500",),
            tables=PAPER.tables,
        ),
    ),
    artefacts=("alpharl_table_7", "alpharl_table_8"),
    note="AlphaRL's own fine-tuned and DPO models are not published: the pairs here are RLHFlow's, "
    "from Qwen2.5-Math-7B as the distilled model and Dr.GRPO's. Its model of on-policy "
    "distillation is named without an address.",
)
