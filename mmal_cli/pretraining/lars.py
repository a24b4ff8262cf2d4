"""LARS (You, Gitman and Ginsburg 2017): SGD whose step for each tensor is in proportion to the tensor's norm."""

from collections.abc import Iterable

import torch
from torch import nn

TRUST = 1e-3  # step / norm of the tensor, at a learning rate of 1
TINY = 1e-8


class LARS(torch.optim.Optimizer):
    """Tensors of one dimension (biases, norms) get plain SGD with momentum, without weight decay.

    Args:
        lr: set anew for each step by who trains, in `param_groups`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step; a tensor or a gradient of zeros moves as by SGD."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                step = p.grad
                if p.ndim > 1:
                    norm, slope = p.norm(), step.norm()
                    rate = TRUST * norm / (slope + group["weight_decay"] * norm + TINY)
                    step = (step + group["weight_decay"] * p) * torch.where((norm > 0) & (slope > 0), rate, 1.0)
                state = self.state[p]
                state["momentum"] = state["momentum"] * group["momentum"] + step if "momentum" in state else step.clone()
                p.sub_(group["lr"] * state["momentum"])
