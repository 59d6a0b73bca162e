"""Which parts of a student are trained, and batch norms whose statistics are frozen with them."""

from typing import Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR
from vpr_ros.student.aggregator import Aggregator
from vpr_ros.student.backbone import Backbone

TrainedParts = Literal["all", "d2vpr-stage2", "heads", "offsets"]
BatchNorm = Literal["moving", "frozen"]


def frozen_blocks(depth: int) -> int:
    """Number of leading blocks that stage 2 freezes: two thirds, 8 of the published 12 (METHODS 1.8)."""
    return depth * 2 // 3


def blocks_of(student: D2VPR) -> nn.ModuleList:
    """The blocks of its backbone, or the stages of a trunk; VprError where a trunk does not run them one by one."""
    blocks = getattr(student.backbone, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise VprError(f"{student.config.backbone} has no blocks that could be frozen one by one: train all or heads.")
    return blocks


def trained_parameters(student: D2VPR, what: TrainedParts = "all", last_blocks: int = 0) -> list[nn.Parameter]:
    """Set `requires_grad` of every parameter and return those that are trained.

    `d2vpr-stage2` freezes patch embedding, class token, position embedding and the first two thirds of the blocks
    with their adapters; it trains the other blocks with theirs, the recovery module, the aggregator and the encoder.
    Of a trunk, the blocks are its stages. `heads` freezes the whole backbone but for its `last_blocks` last blocks;
    `offsets` trains the deformable offsets alone. The unused mask token is never trained. VprError for another name,
    for `last_blocks` with other parts than `heads`, and for what the student does not have.
    """
    if what not in get_args(TrainedParts):
        raise VprError(f"trained is '{what}': choose one of {', '.join(get_args(TrainedParts))}.")
    if last_blocks and what != "heads":
        raise VprError(f"trained_blocks {last_blocks} is for trained: heads, not for {what}.")
    student.requires_grad_(what != "offsets")
    if what == "offsets":
        if not isinstance(student.aggregator, Aggregator):
            raise VprError("trained: offsets needs aggregator: deformable, the student's is fixed.")
        student.aggregator.offsets.requires_grad_(True)
    if what == "heads":
        student.backbone.requires_grad_(False)
        if last_blocks:
            blocks = blocks_of(student)
            if last_blocks > len(blocks):
                raise VprError(f"trained_blocks is {last_blocks}, and {student.config.name} has {len(blocks)} blocks.")
            blocks[len(blocks) - last_blocks :].requires_grad_(True)
    if what == "d2vpr-stage2":
        student.backbone.requires_grad_(False)
        blocks = blocks_of(student)
        blocks[frozen_blocks(len(blocks)) :].requires_grad_(True)
    if isinstance(student.backbone, Backbone):
        student.backbone.mask_token.requires_grad_(False)
    return [parameter for parameter in student.parameters() if parameter.requires_grad]


def freeze_statistics(student: nn.Module, batch_norm: BatchNorm = "frozen") -> list[_BatchNorm]:
    """Keep the batch norms of frozen parts in eval mode despite `.train()`; returns them.

    To be called after `trained_parameters`. A batch norm is frozen when its own parameters are. `frozen`: they
    normalise with their stored statistics, which do not change. `moving` changes nothing and returns an empty list: in
    training they normalise by the batch and update their statistics, as in the released second stage of D2-VPR.
    VprError for another name.
    """
    if batch_norm not in get_args(BatchNorm):
        raise VprError(f"batch_norm is '{batch_norm}': choose one of {', '.join(get_args(BatchNorm))}.")
    if batch_norm == "moving":
        return []
    norms = [module for module in student.modules() if isinstance(module, _BatchNorm)]
    frozen = [norm for norm in norms if not any(parameter.requires_grad for parameter in norm.parameters())]
    for norm in frozen:
        # Lightning and `student.train()` may set the mode at any time; the hook sets it right before the forward. A
        # function of the module survives copies and does not change the state dictionary.
        norm.register_forward_pre_hook(_in_eval_mode)
    return frozen


def _in_eval_mode(norm: nn.Module, _inputs: tuple) -> None:
    norm.training = False
