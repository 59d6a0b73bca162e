"""One training run of a student as data, which `rules` checks and which is written into the checkpoint."""

from dataclasses import dataclass, field

from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.augment.images import AugmentConfig
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.data.augment.variation import RandAugmentConfig, Variation


@dataclass(frozen=True)
class DistilConfig:
    """What is learnt from a teacher. Its embeddings are compared with the student's through a head, or as they are.

    `teacher_view`: `cached` embeds every sample once as it lies in the set; `online` embeds the same augmented
    sample that the student sees, at every step; `frozen` embeds one random augmentation of every sample once, as
    DistilVPR's released code does (METHODS section 3.2). But for `online`, samples without a cloud may stand among
    those with one: a teacher that needs clouds teaches nothing there, and the task alone does.
    """

    teacher: str = "minkloc++"  # a name of training.teachers.TEACHERS
    checkpoint: str = ""  # its weights; empty only where the teacher is handed over in Python
    options: dict = field(default_factory=dict)  # of the teacher, for published files of another size
    loss: str = "distilvpr-sc"  # a name of training.losses.DISTILLATION, or several joined by +
    weights: dict[str, float] = field(default_factory=dict)  # of single terms by name, in place of the loss's own
    scale: float = 1.0  # of the weighted sum
    head: str = "linear"  # learnt on top of the student, never exported: linear, mlp, or none for equal widths
    head_for: str = "all"  # losses; or widths: only those that need equal ones, others see the descriptor itself
    head_dim: int = 0  # its output; 0: the teacher's width
    teacher_space: str = "raw"  # or centred, whitened: see `teacher_space.py`
    teacher_view: str = "cached"
    cloud_augment: CloudAugmentConfig = field(default_factory=CloudAugmentConfig)  # of online and frozen views
    sparse: str = "auto"  # backend of the teacher's sparse convolutions

    @property
    def losses(self) -> tuple[str, ...]:
        """The names that `loss` joins."""
        return tuple(name.strip() for name in self.loss.split("+"))


@dataclass(frozen=True)
class TrainConfig:
    """Metric learning of a student, with a `distil` section also from a teacher.

    The weighted sum of both is descended: `task_weight` times the task's loss plus the distillation's terms.
    DistilVPR's own task weight is 0.5 (METHODS section 3.3).
    """

    student: str = "nano"  # a name of vpr_ros.student.CONFIGS, or an image network of training.teachers.TEACHERS
    options: dict = field(default_factory=dict)  # fields of that configuration to change
    start: str = ""  # weights to start from: a runtime checkpoint or a published file; empty: random ones
    trained: str = "all"  # or d2vpr-stage2 (METHODS section 1.8)
    batch_norm: str = "moving"  # or frozen: statistics of frozen parts stand still
    layout: str = "training-set"  # of the folders; or gsv-cities
    train: tuple[str, ...] = ()  # training-set folders (`vpr_ros render`, `vpr_ros convert`), or GSV-Cities' root
    validation: tuple[str, ...] = ()  # training-set folders of other cities: calibration, the curve; never test cities
    loss: str = "contrastive"  # the task: contrastive, multi_similarity, triplet (raw embeddings) or none
    task_weight: float = 1.0
    margin: float = 0.2  # of the triplets
    distil: DistilConfig | None = None
    epochs: int = 20
    batches: str = "places"  # or pairs (DistilVPR), visits (D2-VPR, CricaVPR; sets with numbered places)
    steps_per_epoch: int = 200  # of `places`; the others go through the whole set
    places_per_batch: int = 24
    images_per_place: int = 4
    cities_per_batch: int = 2  # for `pairs` 0 means all
    batch_size: int = 128  # of `pairs`
    redraw: bool = True  # `visits`: the order of places anew in every epoch
    positive_m: float = 3.0
    negative_m: float = 15.0
    optimiser: str = "adamw"  # or adam
    learning_rate: float = 1e-3
    weight_decay: float = 0.05  # adamw: of matrices alone; adam: of everything, as the papers' code
    clip: float = 1.0  # largest norm of the gradient; 0 leaves it as it is
    schedule: str = "cosine"  # or constant, steps, d2vpr-released
    milestones: tuple[int, ...] = ()  # epochs, of `steps`
    decay: float = 0.1
    warmup_fraction: float = 0.05
    ramp: tuple[float, float] = (0.1, 1.0)  # augmentation strength at the start and from `ramp_until` on
    ramp_until: float = 0.7
    image_sizes: tuple[int, ...] = ()  # sides in pixels over equal parts of the run; empty: the student's own size
    ema_decay: float = 0.0  # exponential moving average of the weights per step; 0 switches it off
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    jitter: ImageAugmentConfig | None = None  # in place of `augment`: MinkLoc++'s and DistilVPR's variation
    rand_augment: RandAugmentConfig | None = None  # in place of `augment`: D2-VPR's and CricaVPR's
    validate_every: int = 4  # epochs
    patience: int = 0  # epochs without a better validation recall after which the run ends; 0: never
    keep: str = "last"  # or best, by validation recall
    seed: int = 1
    workers: int = 0
    cache: bool = False  # keep the decoded images in memory
    threads: int = 0  # torch threads; 0 keeps torch's own choice
    accelerator: str = "auto"
    devices: str = ""  # Lightning's: a number, "0,1" or auto; empty: all GPUs, or one process on a CPU
    nodes: int = 1
    strategy: str = "auto"  # Lightning's, e.g. ddp
    sync_batchnorm: bool = False  # batch statistics over all GPUs
    precision: str = "32-true"
    tensorboard: bool = True  # also log for TensorBoard, where it is installed
    projection_dim: int = 512
    whiten: float = 0.5  # power of the projection's whitening: 0 plain PCA, 1 equal variance

    @property
    def variation(self) -> Variation:
        """How pictures vary."""
        return self.jitter or self.rand_augment or self.augment
