"""The student as a Lightning module: the loss of its task and of a distillation."""

import copy
from collections.abc import Callable

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR
from vpr_ros.training.common.distributed import gather, rank
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.student.config import TrainConfig
from vpr_ros.training.student.networks import Student, width_of
from vpr_ros.training.student.optimiser import make_optimiser
from vpr_ros.training.student.schedules import rate_factor
from vpr_ros.training.student.tasks import PlaceMasks, task_loss
from vpr_ros.training.student.teacher_cache import RunTeacher, check_finite
from vpr_ros.training.student.teaching.confidence import confidence_of
from vpr_ros.training.student.teaching.distillation import Distillation
from vpr_ros.training.student.teaching.space import to_space
from vpr_ros.training.student.validation.start import Start

Embed = Callable[[RunTeacher], np.ndarray]


class MetricLearning(L.LightningModule):
    """Trains `student` on batches of `TrainingFrames`; the rows of the frames give the pairs of one place.

    With a teacher, `embed` gives its embeddings (N, D) of all samples at the start, unless its view is `online`. The
    teacher is not a submodule: it is neither trained nor saved. Losses are computed on the batch of all processes.
    """

    def __init__(
        self,
        student: Student,
        samples: SampleSet,
        config: TrainConfig,
        teacher: RunTeacher | None = None,
        embed: Embed | None = None,
        steps_per_epoch: int | None = None,
    ):
        super().__init__()
        self.student, self.samples, self.config, self.embed = student, samples, config, embed
        self.masks, self.unit = PlaceMasks(samples, config.data), isinstance(student, D2VPR)
        self.loss = task_loss(config.task, self.unit)
        self.steps_per_epoch = steps_per_epoch or config.optimisation.steps_per_epoch
        self.average = copy.deepcopy(student).requires_grad_(False).eval() if config.optimisation.ema_decay else None
        self.distilling: Distillation | None = None
        self._teacher = (teacher,)  # in a tuple, so that torch does not register it as a submodule
        if config.distillation is not None and teacher is not None:
            self.distilling = Distillation(config.distillation, width_of(student), teacher.dim)
        # Not a buffer: data-parallel training would broadcast it at every step.
        self.teacher_embeddings = torch.empty(0)
        self.seen: Tensor | None = None  # (N,) bool, samples with an embedding of the teacher; None: all
        self.confidence: Tensor | None = None  # (N,) in the teacher's embeddings; None: all count alike
        self.history: list[dict] = []  # a row per finished epoch, and that of epoch 0 with a validation set
        self.start: Start | None = None  # what epoch 0 measured
        self.provenance: dict = {}  # plain values that every checkpoint of the run stores

    @property
    def best_student(self) -> Student:
        """The student with averaged weights where there are some, else the trained one."""
        return self.student if self.average is None else self.average

    @property
    def online(self) -> bool:
        """Whether the teacher embeds the augmented samples of every batch."""
        return self.config.distillation is not None and self.config.distillation.teacher_view == "online"

    def on_fit_start(self) -> None:
        (teacher,) = self._teacher
        if self.distilling is None or teacher is None or self.config.distillation is None:
            return
        if teacher.network is not None:
            teacher.network.to(self.device).requires_grad_(False).eval()
        if not self.online and self.embed is not None:
            # One process of a machine computes them, the others read the file.
            if self.local_rank == 0:
                self.embed(teacher)
            self.trainer.strategy.barrier()
            embeddings = to_space(self.embed(teacher), self.config.distillation.teacher_space)
            self.teacher_embeddings = torch.from_numpy(embeddings).to(self.device)
            confidence = confidence_of(embeddings, self.samples, self.config.distillation)
            self.confidence = None if confidence is None else torch.from_numpy(confidence).to(self.device)
            seen = self.teacher_embeddings.isfinite().all(1)
            self.seen = None if seen.all() else seen
            if teacher.network is not None:
                teacher.network.cpu()

    def training_step(self, batch: dict, _index: int) -> Tensor:
        rows = gather(batch["row"])
        positives, negatives = self.masks(rows)  # computed on the CPU, while no kernel has to be waited for
        own = self.student(self._resize(batch["image"]))
        descriptors = gather(own)
        logged: dict[str, Tensor] = {}
        loss = descriptors.sum() * 0.0 if self.loss is None else self.loss(descriptors, positives, negatives)
        if self.distilling is not None:
            with torch.autocast(self.device.type, enabled=False):
                headed = gather(self.distilling.head(own.float()))
            embeddings = self._embeddings(batch, rows)
            seen = None if self.seen is None else self.seen[rows]
            weights = None if self.confidence is None else self.confidence[rows]
            added, terms = self.distilling.weigh(descriptors, headed, embeddings, seen, weights)
            logged = {"task": loss, "distil": added, **terms}
            loss = self.config.task.weight * loss + added
        elif self.config.task.weight != 1:
            loss = self.config.task.weight * loss
        logged = {"loss": loss, "batch_recall": _batch_recall(descriptors, positives, self.unit), **logged}
        self.log_dict(
            {name: value.detach() for name, value in logged.items()}, on_step=True, on_epoch=False, batch_size=len(rows)
        )
        return loss

    def _embeddings(self, batch: dict, rows: Tensor) -> Tensor:
        """The teacher's embeddings (B, D) of the whole batch."""
        if not self.online:
            return self.teacher_embeddings[rows]
        (teacher,) = self._teacher
        assert teacher is not None and teacher.network is not None
        with torch.no_grad():
            embeddings = gather(teacher.network.embed(batch["teacher"]).to(self.device))
        check_finite(embeddings)  # the losses treat values that are not finite as samples that coincide
        return embeddings

    def _resize(self, images: Tensor) -> Tensor:
        """Images at the side that `image_sizes` gives for this part of the run: small images early save time."""
        sizes = self.config.data.image_sizes
        if not sizes:
            return images
        done = self.global_step / max(1, self.config.optimisation.epochs * self.steps_per_epoch)
        side = sizes[min(int(done * len(sizes)), len(sizes) - 1)]
        if side == images.shape[-1] == images.shape[-2]:
            return images
        return F.interpolate(images, (side, side), mode="bilinear", antialias=True)

    def on_train_batch_end(self, *_args) -> None:
        if self.average is None:
            return
        decay = min(self.config.optimisation.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.student.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)

    def configure_optimizers(self):
        config = self.config.optimisation
        parts: list[nn.Module] = [self.student, *([] if self.distilling is None else [self.distilling])]
        optimiser = make_optimiser(config, parts)
        factor = rate_factor(
            config.schedule,
            self.steps_per_epoch,
            config.epochs,
            milestones=config.milestones,
            decay=config.decay,
            warmup_fraction=config.warmup_fraction,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        # Epochs of `pairs` differ by a batch or two, and milestones are epochs.
        schedule, step = self.lr_schedulers(), self.current_epoch * self.steps_per_epoch
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        if schedule.last_epoch != step:
            schedule.last_epoch = step - 1
            schedule.step()

    def on_train_batch_start(self, *_args) -> None:
        # Dropout uses torch's generator, whose state is in no checkpoint; every process has its own seed.
        torch.manual_seed(
            int(np.random.default_rng((self.config.optimisation.seed, self.global_step, rank())).integers(2**62))
        )

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["history"], checkpoint["provenance"] = self.history, self.provenance
        checkpoint["start"] = None if self.start is None else self.start.stored()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.history = list(checkpoint["history"])
        if checkpoint.get("start"):
            self.start = Start.read(checkpoint["start"])
        stored, current = (one.get("teacher", {}).get("sha256") for one in (checkpoint["provenance"], self.provenance))
        if stored != current:
            raise VprError("the run was begun with another teacher: its file has changed; choose another folder")


@torch.no_grad()
def _batch_recall(descriptors: Tensor, positives: Tensor, unit: bool) -> Tensor:
    """Share of a batch whose most similar other row shows the same place."""
    x = descriptors if unit else F.normalize(descriptors.float(), dim=1)
    similarity = (x @ x.T).fill_diagonal_(-2)
    return positives.gather(1, similarity.argmax(1, keepdim=True)).float().mean()
