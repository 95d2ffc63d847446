"""Settings from the algorithms' own papers, for those that neither of the two papers trained."""

from collections.abc import Callable

from rlvr_dynamics.fidelity.ours import of_verl, updates_a_step
from rlvr_dynamics.fidelity.setting import Setting, Value, algorithms
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.clips import value_range

DAPO = "arXiv 2503.14476, section 4.1"
RECIPE = "verl's DAPO recipe"
GSPO = "arXiv 2507.18071, section 5.1"
OAT = "Oat-Zero's released code (sail-sg/understand-r1-zero, sail-sg/oat)"
ZERO = "Open-Reasoner-Zero's released code (orz_7b_ppo.py)"
OPO = "arXiv 2505.23585"
CISPO = "arXiv 2506.13585, section 3.1"
SHARED = "the algorithms of a model share it, so that they can be compared"
STD = "advantages over the group's deviation"
NOT_OFFERED = "verl's default; trainer.verl_overrides can set it"


def _setting(
    algorithm: str,
    source: str,
    name: str,
    key: str,
    paper: Value,
    reason: str = SHARED,
    ours: Callable[[RunConfig], Value] | None = None,
) -> Setting:
    return Setting(
        name=f"{name} ({algorithm})",
        key=key,
        paper=paper,
        source=source,
        ours=ours,
        reason=reason,
        applies=algorithms(algorithm),
    )


def _betas(algorithm: str, source: str) -> Setting:
    def ours(config: RunConfig) -> Value:
        set_by_key = ",".join(f"{beta:g}" for beta in config.algorithm.betas)
        return of_verl("actor_rollout_ref.actor.optim.betas", f"[{set_by_key}]")(config)

    key = "algorithm.betas"
    return _setting(algorithm, source, "Adam's betas", key, "[0.9,0.95]", ours=ours)


def _updates(algorithm: str, source: str, paper: int) -> Setting:
    key = "trainer.mini_batch_prompts"
    return _setting(algorithm, source, "updates a step", key, paper, ours=updates_a_step)


SETTINGS = (
    _setting("dapo", DAPO, "problems a step", "trainer.prompts_per_step", 512),
    _setting("dapo", DAPO, "answers per problem", "algorithm.group_size", 16),
    _updates("dapo", DAPO, 16),
    _setting("dapo", DAPO, "learning rate", "algorithm.learning_rate", 1e-6),
    _setting("dapo", DAPO, "warm-up, steps", "algorithm.warmup_steps", 20),
    _setting("dapo", RECIPE, "weight decay", "algorithm.weight_decay", 0.1),
    _setting("dapo", DAPO, "clip, below", "algorithm.clip_ratio_low", 0.2),
    _setting("dapo", DAPO, "clip, above", "algorithm.clip_ratio_high", 0.28),
    _setting("dapo", RECIPE, "dual clip", "algorithm.clip_ratio_c", 10.0),
    _setting("dapo", DAPO, "KL term in the loss", "algorithm.kl_loss_coef", 0.0),
    _setting("dapo", DAPO, "mean of the loss", "algorithm.loss_agg_mode", "token-mean"),
    _setting("dapo", DAPO, "dynamic sampling", "algorithm.dynamic_sampling", True),
    _setting("dapo", DAPO, "length penalty, part", "algorithm.overlong.buffer_share", 0.2),
    _setting("dapo", RECIPE, "length penalty, size", "algorithm.overlong.penalty", 1.0),
    _setting("dapo", "arXiv 2503.14476, equation 9", STD, "algorithm.normalize_by_std", True),
    _updates("gspo", GSPO, 4),
    _setting("gspo", "arXiv 2507.18071, equation 6", STD, "algorithm.normalize_by_std", True),
    _setting("gspo", GSPO, "clip, below", "algorithm.clip_ratio_low", 3e-4),
    _setting("gspo", GSPO, "clip, above", "algorithm.clip_ratio_high", 4e-4),
    _setting("gspo", "arXiv 2507.18071, equation 5", "KL term", "algorithm.kl_loss_coef", 0.0),
    _setting(
        "gspo",
        "arXiv 2507.18071, equation 5",
        "mean of the loss",
        "algorithm.loss_agg_mode",
        "seq-mean-token-mean",
    ),
    _setting("dr_grpo", OAT, "problems a step", "trainer.prompts_per_step", 128),
    _setting("dr_grpo", OAT, "answers per problem", "algorithm.group_size", 8),
    _updates("dr_grpo", OAT, 1),
    _setting("dr_grpo", OAT, "learning rate", "algorithm.learning_rate", 1e-6),
    _setting("dr_grpo", OAT, "warm-up, steps", "algorithm.warmup_steps", 0),
    _setting("dr_grpo", OAT, "gradient clip", "algorithm.grad_clip", 1.0),
    _setting("dr_grpo", OAT, "weight decay", "algorithm.weight_decay", 0.0),
    _betas("dr_grpo", OAT),
    _setting("dr_grpo", "arXiv 2503.20783", STD, "algorithm.normalize_by_std", False),
    _setting(
        "dr_grpo",
        "arXiv 2503.20783",
        "mean of the loss",
        "algorithm.loss_agg_mode",
        "seq-mean-token-sum-norm",
    ),
    _setting("dr_grpo", OAT, "clip, below", "algorithm.clip_ratio_low", 0.2),
    _setting("dr_grpo", OAT, "clip, above", "algorithm.clip_ratio_high", 0.2),
    _setting("dr_grpo", OAT, "KL term in the loss", "algorithm.kl_loss_coef", 0.0),
    _setting("dr_grpo", OAT, "longest answer, tokens", "trainer.max_response_tokens", 3000),
    _setting("ppo", ZERO, "problems a step", "trainer.prompts_per_step", 128),
    _setting("ppo", ZERO, "answers per problem", "algorithm.group_size", 64),
    _updates("ppo", ZERO, 1),
    _setting(
        "ppo",
        ZERO,
        "critic's updates a step",
        "trainer.critic_mini_batch_prompts",
        12,
        "12 do not divide 512 problems",
        lambda config: config.trainer.critic_updates_per_rollout,
    ),
    _setting("ppo", ZERO, "learning rate", "algorithm.learning_rate", 1e-6),
    _setting("ppo", ZERO, "warm-up, steps", "algorithm.warmup_steps", 50),
    _setting("ppo", ZERO, "critic's learning rate", "algorithm.critic.learning_rate", 5e-6),
    _setting("ppo", ZERO, "critic's warm-up, steps", "algorithm.critic.warmup_steps", 50),
    _setting("ppo", ZERO, "gradient clip", "algorithm.grad_clip", 1.0),
    _setting("ppo", ZERO, "weight decay", "algorithm.weight_decay", 0.0),
    _betas("ppo", ZERO),
    _setting("ppo", ZERO, "clip, below", "algorithm.clip_ratio_low", 0.2),
    _setting("ppo", ZERO, "clip, above", "algorithm.clip_ratio_high", 0.2),
    _setting(
        "ppo",
        ZERO,
        "value clip",
        "trainer.verl_overrides",
        "0.2",
        NOT_OFFERED,
        lambda config: value_range(config.trainer.verl_overrides),
    ),
    _setting("ppo", ZERO, "KL term in the loss", "algorithm.kl_loss_coef", 0.0),
    _setting("ppo", ZERO, "gamma", "algorithm.gamma", 1.0),
    _setting("ppo", ZERO, "lambda", "algorithm.lam", 1.0),
    _setting("ppo", ZERO, "longest answer, tokens", "trainer.max_response_tokens", 8000),
    _setting(
        "rloo",
        "arXiv 2402.14740",
        "KL term",
        "algorithm.kl_reward_coef",
        "in the reward",
        "as in arXiv 2510.00553",
        lambda config: "in the reward" if config.algorithm.kl_reward_coef else "in the loss",
    ),
    _setting(
        "reinforce_pp",
        "arXiv 2501.03262",
        "KL term",
        "algorithm.kl_reward_coef",
        "in the reward",
        SHARED,
        lambda config: "in the reward" if config.algorithm.kl_reward_coef else "in the loss",
    ),
    _updates("opo", OPO, 1),
    _setting("opo", OPO, "KL term in the loss", "algorithm.kl_loss_coef", 0.0),
    _setting("opo", OPO, "entropy bonus", "algorithm.entropy_coef", 0.0),
    _updates("cispo", CISPO, 16),
    _setting(
        "cispo",
        CISPO,
        "clip, below",
        "algorithm.clip_ratio_low",
        "none",
        "verl's example; a bound that weights do not reach",
    ),
    _setting("cispo", CISPO, "KL term in the loss", "algorithm.kl_loss_coef", 0.0),
    _setting("cispo", CISPO, "dynamic sampling", "algorithm.dynamic_sampling", True),
    _setting("cispo", CISPO, "mean of the loss", "algorithm.loss_agg_mode", "token-mean"),
)
