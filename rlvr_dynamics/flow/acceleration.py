"""What a plan of jumps needs, checked before anything starts, and the plan in words."""

from collections.abc import Sequence

from rlvr_dynamics.acceleration.gate import POWER, SURELY_WORSE, looks
from rlvr_dynamics.acceleration.schedule import firings, previous_firing
from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.estimates.shapes import GIB, adapter_count, shape_of
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.extrapolation.parameters import complete_parameters
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.acceleration import ANCHORED, Acceleration
from rlvr_dynamics.schema.overrides import value_at
from rlvr_dynamics.training.jump_plan import (
    break_even,
    candidates,
    gate_detects,
    gate_problems,
    most_answers,
    searched,
)

SAVED = "actor_rollout_ref.actor.checkpoint.save_contents"
STRATEGY = "actor_rollout_ref.actor.strategy"
COPY_BYTES = 4  # a float32


def check_acceleration(config: RunConfig) -> None:
    """Refuse a plan that cannot be carried out.

    Raises:
        UserError: Names the key of the plan and what is allowed.
    """
    plan = config.acceleration
    if plan is None:
        return
    if plan.from_checkpoints:
        _check_method(plan, config.trainer.verl_overrides)
    strategy = value_at(config.trainer.verl_overrides, STRATEGY)
    if strategy not in (None, "fsdp2"):
        raise UserError(
            f"acceleration moves the shards of fsdp2, and not those of {strategy}",
            where=f"trainer.verl_overrides: {STRATEGY}={strategy}",
            way_out="leave the strategy out, or acceleration=none",
        )
    if not candidates(config):
        raise UserError(
            "acceleration.how_far.search: no factor goes as far as training on the gate's answers "
            f"would, {break_even(config):,} steps",
            where="acceleration.gate: "
            f"{gate_problems(config):,} problems, {plan.gate.samples:,} answers to each",
            way_out="fewer acceleration.gate.problems or samples, farther factors, or firings "
            "farther apart (acceleration.when)",
        )


def _check_method(plan: Acceleration, overrides: tuple[str, ...]) -> None:
    """Check a plan whose jumps an extrapolator predicts."""
    method = EXTRAPOLATORS.get(plan.method)
    if method is None:
        raise UserError(
            f"acceleration.method: no method {plan.method!r}",
            way_out=f"allowed: {', '.join((*ANCHORED, *EXTRAPOLATORS))}",
        )
    if "clock" in plan.parameters:
        raise UserError(
            "acceleration.parameters.clock: the plan has a clock of its own",
            way_out="acceleration.clock=step or path",
        )
    if plan.clock == "path" and "clock" not in method.parameters:
        raise UserError(
            f"acceleration.clock=path: {plan.method} knows no clock but the step number",
            way_out="acceleration.clock=step",
        )
    settings = complete_parameters(
        f"acceleration.method={plan.method}", method.parameters, plan.parameters
    )
    if method.uses_future(settings):
        raise UserError(
            f"acceleration.parameters: {plan.method} would use what is measured after the jump",
            where=", ".join(f"{name}={value}" for name, value in plan.parameters.items()),
            way_out="leave its target at what the steps so far say",
        )
    saved = value_at(overrides, SAVED)
    if saved is not None and "hf_model" not in saved:
        raise UserError(
            f"acceleration.method={plan.method} needs the run's checkpoints, and none are kept",
            where=f"trainer.verl_overrides: {SAVED}={saved}",
            way_out="acceleration.method=anchor, or leave the override out",
        )


def acceleration_in_words(config: RunConfig) -> list[str]:
    """Return lines of the dry run: when, how far, what decides, and what it takes; or none.

    Raises:
        UserError: The gate needs more problems than there are.
    """
    plan = config.acceleration
    if plan is None:
        return []
    steps = firings(plan.when, config.trainer.steps)
    lines = [
        f"jumps     {plan.method}, after {len(steps)} of {config.trainer.steps} steps "
        f"({shortened(steps)}): {_how_far(config, plan, steps)}; "
        f"the optimizer's averages: {plan.optimizer}"
    ]
    if plan.gate.backtests:
        worth = break_even(config)
        reach = f", at least {worth} ahead: so many steps draw what a firing asks" if worth else ""
        lines.append(
            f"          backtest on the {plan.clock} clock, by sketches of the weights{reach}"
        )
    if plan.gate.validates:
        lines.append(_gate(config, plan, len(steps)))
    lines += _what_else(config, plan)
    if plan.from_checkpoints:
        lines.append(
            "          every process reads its part of the run's own checkpoints "
            f"({config.trainer.checkpoint_dtype})"
        )
    trainer, shape = config.trainer, shape_of(config.model)
    trained = adapter_count(shape, config.algorithm) or shape.parameters
    own = COPY_BYTES * -(-trained // trainer.shard)
    here = own * max(1, trainer.gpus_per_node)
    lines.append(
        f"          host memory: one float32 copy of the shard, {own / GIB:.2f} GiB a process, "
        f"{here / GIB:.1f} GiB a node"
    )
    return lines


def _what_else(config: RunConfig, plan: Acceleration) -> list[str]:
    """Return what moves, what is undone and what may end the training, if unusual."""
    parts = {"matrices": "only the layers' matrices", "not_norms": "all but the norms' weights"}
    found = [f"moved are {parts[plan.tensors]}"] if plan.tensors in parts else []
    if config.algorithm.lora is not None:
        found.append("moved are the adapters' two factors, so the merged weights go further")
    if plan.gate.validates and plan.gate.back_off:
        found.append(
            "after the n-th rejection in a row 2^(n - 1) firings ask nothing; a sure loss counts "
            f"for {SURELY_WORSE}"
        )
    if plan.roll_back == "always":
        found.append("every jump is undone")
    if plan.stop is not None:
        what = "the training ends" if plan.stop.act else "the record says so"
        found.append(f"where less than {plan.stop.below:g} points are left to gain, {what}")
    return [f"          {'; '.join(found)}"] if found else []


def _how_far(config: RunConfig, plan: Acceleration, steps: Sequence[int]) -> str:
    far = plan.how_far
    if plan.method == "none":
        return "the weights stay"
    if far.factor is not None:
        return f"to {far.factor:g} times the way since the last firing"
    if far.search is not None:
        windows = {step - previous_firing(plan.when, step) for step in steps}
        tried = {each for one in windows for each in searched(plan, break_even(config), one)}
        factors = " or ".join(f"{each:g}" for each in sorted(tried))
        left = " or ".join(f"{each:g}" for each in far.search if each not in tried)
        less = f" ({left} times would go less far than training on the gate's answers)"
        return (
            f"to {factors} times the way since the last firing, while it helps{less * bool(left)}"
        )
    ahead = "to the end" if far.to_end else f"{far.horizon} steps further"
    return f"{ahead} on the {plan.clock} clock"


def _gate(config: RunConfig, plan: Acceleration, count: int) -> str:
    gate, problems, most = plan.gate, gate_problems(config), most_answers(config)
    spent = min(count, gate.validations or count)
    text = (
        f"          gate: {problems:,} validation problems x {gate.samples} answers for the "
        f"weights and for each candidate, at most {most:,} a firing and {spent * most:,} in all"
    )
    if gate.rule == "better":
        return f"{text}; any higher mean is accepted, which holds no level"
    concentrated, alike = (100 * gate_detects(config, alike=each) for each in (False, True))
    better = f" ({alike:.1f} if all problems gain alike)" if alike < concentrated else ""
    seen = f"a gain of {concentrated:.1f} points{better} is" if concentrated < 100 else "no gain is"
    counts = [f"{int(look.asked.sum()):,}" for look in looks(problems, gate.rule)]
    early = f"; fewer ({', '.join(counts[:-1])}) where one is ahead by far or not ahead"
    return f"{text}{early * (len(counts) > 1)}; {seen} accepted with a power of {POWER:.0%}"
