"""A model and an objective in, the trained model out: one trainer for every objective, on a CPU, a GPU or many."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as distributed
from datasets import DatasetDict
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.sampler import MultiDatasetBatchSamplers
from sentence_transformers.cross_encoder import (
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
)
from sentence_transformers.cross_encoder.evaluation import (
    CrossEncoderClassificationEvaluator,
)
from sentence_transformers.sentence_transformer import (
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import (
    BinaryClassificationEvaluator,
)
from transformers import EarlyStoppingCallback
from transformers.trainer import TRAINER_STATE_NAME

from app.engine.models.pair_classifier import in_order, most_tokens
from app.engine.models.safe_loading import SAFELY, choose_device
from app.engine.text_form import readable
from app.engine.training_contract import Device
from app.errors import CommandError
from training.batch_sampler import LengthSortedBatches
from training.card import HISTORY
from training.objectives import (
    OBJECTIVES,
    Examples,
    Model,
    Objective,
    ObjectiveName,
    Part,
)
from training.pairs import LabelledPair, labels_of
from training.progress_writer import ProgressWriter, TrainerProgress

EVALUATIONS_PER_EPOCH = 4
EVALUATED = "fit"  # name of the pairs to tune on in the logs, which checkpoints go on from
WARM_UP = 0.1  # share of the steps
LITTLE_ROOM_BYTES = 2**20

Sampler = Literal["proportional", "round-robin"]
Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Options:
    """How a model is trained; None means the objective's own setting."""

    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    accumulate: int = 1  # batches whose gradients make one step
    sampler: Sampler = "proportional"  # of `multi-task`'s two data sets
    max_tokens: int = 128  # of a text, or of a pair; longer ones are cut
    dropout: bool = False  # keep the dropout that the base was made with
    lora_rank: int | None = None  # train so many dimensions beside each weight, not the weights
    patience: int | None = None  # evaluations without progress after which training stops
    precision: Precision = "auto"
    device: Device = "auto"
    frozen_layers: int = 0  # lowest layers, and the word pieces' vectors, that stay as they were
    seed: int = 20


def train(
    name: ObjectiveName,
    start: Path,
    examples: Callable[[], Examples],
    tune: Sequence[LabelledPair],
    options: Options,
    work: Path,
    progress: ProgressWriter,
) -> Path:
    """Train the model in the folder `start`, and return the folder of the checkpoint that ranked `tune` best.

    `work` holds checkpoints, TensorBoard logs and the result. If a run of the same kind stopped there, this
    one goes on from its last checkpoint; if it had ended, its result is returned.
    """
    result = work / "best"
    if result.exists():
        return result
    objective = OBJECTIVES[name]
    model = open_model(objective.part, start, options)
    if options.lora_rank:
        _add_lora(model, objective.part, options.lora_rank)
    if options.frozen_layers:
        _freeze(model, options.frozen_layers)
    with _room_needed(work):
        trainer = _trainer(objective, model, examples(), tune, options, work)
        trainer.add_callback(TrainerProgress(progress))
        trainer.train(resume_from_checkpoint=_last_checkpoint(work))
    if trainer.is_world_process_zero():
        if options.lora_rank:
            model = _merged(model, open_model(objective.part, start, options))
        _save(model, trainer.state.log_history, work, result)
    trainer.accelerator.wait_for_everyone()
    return result


def _save(
    model: Model,
    history: Sequence[Mapping[str, Any]],
    work: Path,
    result: Path,
) -> None:
    """The trained model and the trainer's log; the model appears whole."""
    aside = work / ".best"
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(str(aside), create_model_card=False)
    (work / HISTORY).write_text(json.dumps(history), "utf-8")
    aside.rename(result)


def _last_checkpoint(work: Path) -> str | None:
    """The newest whole checkpoint, if there is one. One that a kill left half written lacks the state, written last."""
    folders = sorted(work.glob("checkpoint-*"), key=_step_of, reverse=True)
    for folder in folders:
        try:
            json.loads((folder / TRAINER_STATE_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return str(folder)
    return None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])


@contextmanager
def _room_needed(work: Path) -> Iterator[None]:
    """Turn the errors of torch and others on a full disk into CommandError; `work` need not be there yet."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(work.parent).free > LITTLE_ROOM_BYTES:
            raise
        raise CommandError(
            f"no room for checkpoints in {work}: make some, then start the same command again"
        ) from error


def open_model(part: Part, folder: Path, options: Options) -> Model:
    """A model to train, in float32: a bi-encoder, or a classifier with one logit (its head new if it had none)."""
    device = choose_device(options.device)
    settings: dict[str, Any] = {**SAFELY, "device": device}
    if (
        device == "cpu"
    ):  # plain attention takes two thirds of the time of the fused one: short texts
        settings["model_kwargs"] = {
            **SAFELY["model_kwargs"],
            "attn_implementation": "eager",
        }
    torch.manual_seed(options.seed)  # of a new head
    model: Model
    if part == "classifier":
        model = CrossEncoder(str(folder), num_labels=1, **settings)
        model.max_seq_length = most_tokens(model, options.max_tokens)
    else:
        model = SentenceTransformer(str(folder), **settings)
        model.max_seq_length = min(
            model.max_seq_length or options.max_tokens,
            options.max_tokens,
        )
    if not options.dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    return model


def averaged(part: Part, shares: Mapping[Path, float], folder: Path) -> Path:
    """Write into `folder` the model whose weights are the mean of those in the folders, weighed by their shares.

    Runs that began with the same weights differ by chance, which a mean forgets (Wortsman et al., "Model soups",
    2022); a mean with the start keeps its knowledge of other texts (the same, "Robust fine-tuning of zero-shot
    models", 2022).
    """
    states = [_opened(part, at).state_dict() for at in shares]
    total = sum(shares.values())
    weights = [share / total for share in shares.values()]
    mean = dict(states[0])
    for name, value in mean.items():
        if value.is_floating_point():
            terms = []
            for weight, state in zip(weights, states, strict=True):
                term = weight * state[name]
                terms.append(term)
            mean[name] = torch.stack(terms).sum(dim=0)
    model = _opened(part, next(iter(shares)))
    model.load_state_dict(mean)
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def are_alike(
    part: Part,
    one: Path,
    other: Path,
) -> bool:
    """Whether the models of two folders have weights of the same names and shapes."""
    return one == other or _shapes(part, one) == _shapes(part, other)


def _shapes(part: Part, folder: Path) -> dict[str, torch.Size]:
    shapes = {}
    for name, value in _opened(part, folder).state_dict().items():
        shapes[name] = value.shape
    return shapes


def _opened(part: Part, folder: Path) -> Model:
    settings: dict[str, Any] = {"device": "cpu", **SAFELY}
    if part == "classifier":
        return CrossEncoder(str(folder), num_labels=1, **settings)
    return SentenceTransformer(str(folder), **settings)


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16 rather than imitate it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _is_bf16(device: torch.device, options: Options) -> bool:
    return options.precision == "bf16" or (options.precision == "auto" and has_bf16(device))


def _trainer(
    objective: Objective,
    model: Model,
    examples: Examples,
    tune: Sequence[LabelledPair],
    options: Options,
    work: Path,
) -> Any:
    """sentence-transformers' trainer of the part, with the objective's data and losses."""
    data = objective.data(examples)
    batch_size = options.batch_size or objective.batch_size
    rows = sum(len(part) for part in data.values())
    if rows < batch_size:
        raise CommandError(
            f"{rows} examples are fewer than a batch of {batch_size}: label more, or set --batch-size"
        )
    evaluator, metric = _evaluator(objective.part, tune)
    processes = distributed.get_world_size() if distributed.is_initialized() else 1
    arguments = {
        "output_dir": str(work),
        **_learning_arguments(objective, model, options, batch_size),
        **_evaluation_arguments(metric, rows // (batch_size * options.accumulate * processes)),
    }
    trainer, settings = _CLASSES[objective.part]
    losses = objective.losses(model, batch_size)
    return trainer(
        model=model,
        args=settings(**arguments),
        train_dataset=DatasetDict(data) if len(data) > 1 else next(iter(data.values())),
        loss=losses if len(losses) > 1 else next(iter(losses.values())),
        evaluator=evaluator,
        callbacks=[EarlyStoppingCallback(options.patience)] if options.patience else [],
    )


_CLASSES: Mapping[Part, tuple[Any, Any]] = {
    "encoder": (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    ),
    "classifier": (CrossEncoderTrainer, CrossEncoderTrainingArguments),
}


def _learning_arguments(
    objective: Objective,
    model: Model,
    options: Options,
    batch_size: int,
) -> dict[str, Any]:
    sampler = MultiDatasetBatchSamplers(options.sampler.replace("-", "_"))
    batches = partial(LengthSortedBatches, in_batch_negatives=objective.in_batch_negatives)
    return {
        "num_train_epochs": options.epochs or objective.epochs,
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": options.accumulate,
        "learning_rate": options.learning_rate or objective.learning_rate,
        "warmup_steps": WARM_UP,
        "bf16": _is_bf16(model.device, options),
        "use_cpu": model.device.type == "cpu",
        "batch_sampler": batches,
        "multi_dataset_batch_sampler": sampler,
        "seed": options.seed,
        "data_seed": options.seed,
        # A bi-encoder may carry a pooler that it leaves out.
        "ddp_find_unused_parameters": objective.part == "encoder",
    }


def _evaluation_arguments(metric: str, steps_per_epoch: int) -> dict[str, Any]:
    steps = max(1, steps_per_epoch // EVALUATIONS_PER_EPOCH)
    return {
        "eval_strategy": "steps",
        "eval_steps": steps,
        "save_strategy": "steps",
        "save_steps": steps,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": metric,
        "greater_is_better": True,
        "logging_steps": max(1, steps // 10),
        "report_to": ["tensorboard"],
    }


def _evaluator(part: Part, pairs: Sequence[LabelledPair]) -> tuple[Any, str]:
    """sentence-transformers' own evaluator, and the figure by which the best checkpoint is chosen."""
    settings: dict[str, Any] = {
        "labels": labels_of(pairs).astype(int).tolist(),
        "name": EVALUATED,
        "batch_size": 64,
        "show_progress_bar": False,
        "write_csv": False,
    }
    if part == "classifier":
        ordered = []
        for pair in pairs:
            texts = in_order(*pair.texts)
            ordered.append(list(map(readable, texts)))
        classification = CrossEncoderClassificationEvaluator(ordered, **settings)
        return classification, f"eval_{EVALUATED}_average_precision"
    first = [readable(pair.question1) for pair in pairs]
    second = [readable(pair.question2) for pair in pairs]
    binary = BinaryClassificationEvaluator(
        first, second, similarity_fn_names=["cosine"], **settings
    )
    return binary, f"eval_{EVALUATED}_cosine_ap"


def _freeze(model: Model, layers: int) -> None:
    """Keep the word pieces' vectors and so many of the lowest layers: a step takes less time."""
    frozen = ["embeddings.", *(f".layer.{number}." for number in range(layers))]
    for name, parameter in model.named_parameters():
        if any(part in name for part in frozen):
            parameter.requires_grad = False


def _add_lora(model: Model, part: Part, rank: int) -> None:
    """Freeze the weights and put a low-rank term beside every linear one; a classifier's head is trained whole."""
    is_classifier = part == "classifier"
    config = LoraConfig(
        task_type="SEQ_CLS" if is_classifier else "FEATURE_EXTRACTION",
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        modules_to_save=["classifier"] if is_classifier else None,
    )
    model.add_adapter(config)


def _merged(trained: Model, fresh: Model) -> Model:
    """The trained low-rank terms added to the weights: a model like the one it started from."""
    for module in trained.modules():
        if isinstance(module, LoraLayer):
            module.merge()
    state = {}
    for name, value in trained.state_dict().items():
        if "lora_" in name or ".original_module." in name:
            continue
        plain = name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        state[plain] = value
    fresh.load_state_dict(state)
    return fresh
