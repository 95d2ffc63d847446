"""What becomes of the optimizer's averages when the weights jump."""

import torch

MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")


def reset(optimizer: torch.optim.Optimizer, how: str) -> None:
    """Change the optimizer's state in place.

    After `zero` the next update is as long as the averages of a single gradient make it, with the
    bias correction of a long run: a tenth of the gradient over the root of a thousandth of its
    square at AdamW's usual decays. After `restart` it is the first of a new run, and of full size.

    Args:
        optimizer: torch's AdamW, Adam or SGD; its tensors may be DTensors.
        how: `keep`; `zero` sets all averages to 0 and keeps the count of updates; `restart` sets
            the count to 0 too.
    """
    if how == "keep":
        return
    for state in optimizer.state.values():
        for name in MOMENTS:
            if isinstance(state.get(name), torch.Tensor):
                state[name].zero_()
        if how == "restart" and isinstance(state.get("step"), torch.Tensor):
            state["step"].zero_()
