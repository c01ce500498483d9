"""One epoch of training and one evaluation, as straight loops over a loader's batches."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alm.devices.device import CPU
from alm.devices.precision import autocast
from alm.errors import AlmError
from alm.models.folding import folded
from alm.models.metrics import AttributeMetrics, margins, right_answers
from alm.models.network import vote
from alm.models.preprocessing import preprocess
from alm.training import distributed
from alm.training.average import WeightAverage
from alm.training.batch_norm import without_statistics
from alm.training.distributed import Batch, Whole, in_order, known_labels
from alm.training.step_queue import Step, StepQueue, StepValues

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as the devices put it
NO_OPERATOR = re.compile(r"Could not run '([\w:.]+)' with arguments from the '(\w+)' backend")

Network = Callable[[Tensor], tuple[Tensor, ...]]  # normalized images -> the branches' logits


class Loader(Protocol):
    """The batches of an epoch, over pictures with `num_attributes` labels. Of several ranks, each has its own
    loader, which gives it its part of the batches; all numbers here are of the whole ones.
    """

    num_attributes: int

    def __len__(self) -> int: ...

    def left(self, seen: int) -> int:
        """Return the number of batches of an epoch after its first `seen` pictures."""

    def epoch(self, epoch: int, seen: int = 0, count: int | None = None) -> Iterable[Batch]:
        """Return the epoch's batches after its first `seen` pictures, at most `count`."""

    def names(self, epoch: int, first: int, count: int) -> list[str]:
        """Return the names of `count` pictures of an epoch, from number `first` on, in the epoch's order."""


class Log(Protocol):
    """The listener of a run. `of` is the number of iterations in a whole epoch, `seconds` the iteration's own
    time, `accu` the share of right answers.
    """

    def learning_rate(self, lr: float) -> None:
        """An epoch begins."""

    def iteration(
        self, epoch: int, iteration: int, of: int, pictures: int, seconds: float, loss: float, accu: float
    ) -> None:
        """A training step is done."""

    def note(self, event: str, **details) -> None:
        """Something beside the steps happened:

        overflow (epoch, iteration, scale): the gradients of a step overflowed in fp16. The weights stay, and
            the loss is scaled by less from now on.
        loss_not_finite, gradients_not_finite (epoch, iteration, loss, count): the weights stay; it is the
            `count`-th such step.
        at_fault (pictures): a step over these pictures ends the run.
        not_saved (reason): a checkpoint could not be written.
        saved (last): the error that ends the run cost no training; this checkpoint has all of it.
        max_iters (epoch, iterations, of): an epoch ends after so many of its iterations, as it was asked to.
        """

    def test(self, iteration: int, of: int, pictures: int, seconds: float, loss: float, accu: float) -> None:
        """A batch was evaluated."""

    def tested(self, accu: float) -> None:
        """All batches were evaluated."""

    def epoch(self, done: int) -> None:
        """So many epochs are done, and evaluated if there is a list for it."""

    def state_dict(self) -> dict:
        """Return the running means of the epoch."""

    def load_state_dict(self, state: dict) -> None:
        """Go on with running means that `state_dict` returned."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation of N pictures with K attributes gives.

    Attributes:
        ma, ma_attributes, accuracy, precision, recall, f1: as `AttributeMetrics.compute` defines them.
        attribute_ma and the counts: its values for each attribute, (K,).
        loss, accu: the means over the pictures of the loss and of the share of right answers.
        logits: the votes, float (N, K) on the CPU, in the loader's order.
        thresholds: those of the figures, float64 (K,); None: 0.5.
        branches: each branch's logits, float (L, N, K), with `localize`, else None.
        regions: `model.localize` of the pictures, {level: (N, K, 4)}, with `localize`, else None.
    """

    ma: float
    ma_attributes: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    attribute_ma: Tensor
    true_positive: Tensor
    true_negative: Tensor
    positive: Tensor
    negative: Tensor
    predicted_positive: Tensor
    predicted_negative: Tensor
    loss: float
    accu: float
    logits: Tensor
    thresholds: Tensor | None = None
    branches: Tensor | None = None
    regions: dict[str, Tensor] | None = None

    @property
    def margins(self) -> Tensor:
        """What is predicted, (N, K): an attribute above 0."""
        return margins(self.logits, self.thresholds)

    @property
    def figures(self) -> dict[str, float]:
        """The figures of the whole list, by name."""
        names = ("ma", "ma_attributes", "accuracy", "precision", "recall", "f1", "loss", "accu")
        return {name: getattr(self, name) for name in names}


class NonFiniteLossError(AlmError):
    """A step over `pictures` pictures is not finite; `before` pictures of the call came before it."""

    def __init__(self, message: str, before: int, pictures: int):
        super().__init__(message)
        self.before, self.pictures = before, pictures


@dataclass
class NonFiniteSteps:
    """Policy for steps whose loss or gradients are not finite.

    By default the first one raises. With `skip=True` such steps change nothing and are counted in `skipped`,
    and MOST_IN_A_ROW in a row raise; each step then waits for the device.
    """

    MOST_IN_A_ROW = 10
    ADVICE = "start again with a lower --lr, or with --amp off"

    skip: bool = False
    skipped: int = field(default=0, init=False)
    _in_a_row: int = field(default=0, init=False)

    def is_finite(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return whether a step's loss is finite, and with `skip` also the gradients, bool ()."""
        values = [loss]
        if self.skip:
            values += [parameter.grad for parameter in parameters if parameter.grad is not None]
        return torch.stack([value.isfinite().all() for value in values]).all()

    def check(self, step: Step, values: StepValues, place: str) -> bool:
        """Return whether a step was skipped, and count it; `place` is its epoch and iteration in words.

        Raises NonFiniteLossError.
        """
        if values.is_finite:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if not self.skip:
            reason = f"the loss is {values.loss} at {place}"
        else:
            self.skipped += 1
            if self._in_a_row < self.MOST_IN_A_ROW:
                return True
            reason = (
                f"the loss or the gradients of {self.MOST_IN_A_ROW} iterations in a row, up to {place}, are "
                "not finite"
            )
        raise NonFiniteLossError(f"{reason}; {self.ADVICE}", step.before, step.pictures)


@contextmanager
def explain_step_errors(pictures: int) -> Iterator[None]:
    """Turn a lack of memory or of an operator, in a step over so many pictures, into an AlmError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise AlmError(
                f"out of memory in a step over {pictures} pictures; lower --batch_size, "
                "compute it in parts with --accumulate, or use less for each picture with --amp bf16 or fp16"
            ) from error
        if missing := NO_OPERATOR.search(str(error)):
            operator, device = missing.groups()
            raise AlmError(
                f"{device} has no {operator}; locate.py --device {device} shows what needs it"
            ) from error
        raise


def stop_after(batches: Iterable[Batch], stop: Callable[[], bool]) -> Iterator[Batch]:
    """Yield batches. After each one is processed, call `stop()` and end if it returns True."""
    for batch in batches:
        yield batch
        if stop():
            return


class Amount(NamedTuple):
    """The amount of training in a call of `Trainer.train`."""

    iterations: int
    pictures: int


def mean(parts: list[tuple[int, float]]) -> float:
    """Return the mean over all pictures of (pictures, value) of each batch; 0 without pictures."""
    return sum(count * value for count, value in parts) / max(sum(count for count, _ in parts), 1)


@dataclass
class Trainer:
    """What every step of a run needs."""

    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: torch.dtype | None  # autocast's type; None: float32
    log: Log
    average: WeightAverage | None = None  # of the weights, which is evaluated in their place
    network: Network | None = None  # what training calls instead of the model: its compiled or parallel form
    # A context around the training step of a batch.
    watch: Callable[..., AbstractContextManager] = lambda images, labels, mirror: nullcontext()
    nonfinite: NonFiniteSteps = field(default_factory=NonFiniteSteps)
    clip_grad: float = 0.0  # the largest norm of a step's gradients; 0: any
    accumulate: int = 1  # parts that a batch is computed in, one after another
    localize: bool = False  # evaluations give branches and regions too
    thresholds: Tensor | None = None  # of evaluations, float64 (K,); None: 0.5

    def train(self, batches: Iterable[Batch], epoch: int, first: int, of: int) -> Amount:
        """Train on batches of an epoch of `of` iterations; the first batch is iteration `first`.

        Raises NonFiniteLossError, and AlmError if the device lacks memory or an operator.
        """
        scale_before = self.scaler.get_scale()

        def report(step: Step, seconds: float, values: StepValues) -> None:
            nonlocal scale_before
            loss, iteration = values.loss, first + step.iteration
            self.log.iteration(epoch, iteration, of, step.pictures, seconds, loss, values.accu)
            if values.scale < scale_before:
                self.log.note("overflow", epoch=epoch, iteration=iteration, scale=values.scale)
            scale_before = values.scale
            if self.nonfinite.check(step, values, f"epoch {epoch} iteration {iteration}"):
                event = "gradients_not_finite" if math.isfinite(loss) else "loss_not_finite"
                count = self.nonfinite.skipped
                self.log.note(event, epoch=epoch, iteration=iteration, loss=loss, count=count)

        self.model.train()
        with StepQueue(self.device, report) as queue:
            for batch, whole in distributed.together(batches):
                with explain_step_errors(len(batch[0])):
                    with self.watch(*batch):
                        values = self._step(batch, whole)
                    queue.add(whole.pictures, values)
        return Amount(queue.count, queue.pictures)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and predicted with."""
        return self.average.model if self.average else self.model

    @torch.inference_mode()
    def evaluate(self, loader: Loader, stop: Callable[[], bool] = lambda: False) -> Evaluation | None:
        """Evaluate the loader's pictures; None if `stop()`, called after each batch, returned True.

        Raises AlmError if predictions are NaN, or the device lacks memory or an operator.
        """
        distributed.share_buffers(self.evaluated)
        network, metrics = folded(self.evaluated), AttributeMetrics(loader.num_attributes)
        votes: list[Tensor] = []
        branches: list[Tensor] = []
        regions: list[dict[str, Tensor]] = []
        steps: list[tuple[int, float, StepValues]] = []
        is_alone = distributed.world() == 1

        def report(step: Step, seconds: float, values: StepValues) -> None:
            steps.append((step.pictures, seconds, values))
            if is_alone:
                self._log_test(step.iteration, len(loader), *steps[-1])

        with StepQueue(self.device, report) as queue:
            for batch, _ in distributed.together(stop_after(loader.epoch(0), stop)):
                with explain_step_errors(len(batch[0])):
                    images, labels, mirror = self._on_device(*batch)
                    if self.localize:
                        predictions, region = self._predict(network.predict, images, mirror)
                        branches.append(torch.stack(predictions))
                        regions.append(region)
                    else:
                        predictions = self._predict(network, images, mirror)
                    logits = vote(predictions)
                    predicted = margins(logits, self.thresholds)
                    metrics.update(predicted, labels)
                    votes.append(logits)
                    values = StepValues(self._loss(predictions, labels), right_answers(predicted, labels))
                    queue.add(len(images), values)
        if queue.count * distributed.world() < len(loader):
            return None
        steps, votes = in_order(steps), in_order([logits.to(CPU) for logits in votes])
        metrics.batches = in_order([tuple(counts.to(CPU) for counts in batch) for batch in metrics.batches])
        branches = in_order([logits.to(CPU).float() for logits in branches])
        regions = in_order([{level: boxes.to(CPU) for level, boxes in of.items()} for of in regions])
        for iteration, step in enumerate([] if is_alone else steps[: len(loader)]):
            self._log_test(iteration, len(loader), *step)
        evaluation = Evaluation(
            **metrics.compute(),
            loss=mean([(count, values.loss) for count, _, values in steps]),
            accu=mean([(count, values.accu) for count, _, values in steps]),
            logits=torch.cat([torch.empty(0, loader.num_attributes), *votes]),
            thresholds=self.thresholds,
            branches=torch.cat(branches, dim=1) if branches else None,
            regions={level: torch.cat([of[level] for of in regions]) for level in regions[0]}
            if regions
            else None,
        )
        self.log.tested(evaluation.accu)
        return evaluation

    def _log_test(self, iteration: int, of: int, pictures: int, seconds: float, values: StepValues) -> None:
        self.log.test(iteration, of, pictures, seconds, values.loss, values.accu)

    def _step(self, batch: Batch, whole: Whole) -> StepValues:
        self.optimizer.zero_grad(set_to_none=True)  # first: the forward pass can use the memory
        buffers = [buffer.clone() for buffer in self.model.buffers()] if self.nonfinite.skip else []
        loss, accu = self._add_gradients(batch, whole)
        # In fp16 gradients overflow now and then, and are the scaler's business.
        parameters = () if self.scaler.is_enabled() else self.model.parameters()
        is_finite = self.nonfinite.is_finite(loss, parameters)
        if self.nonfinite.skip and not is_finite:
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)  # a running mean that is not finite once is so for ever
        else:
            if self.clip_grad:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.average:
            self.average.update()
        # A one is scaled because `get_scale` would wait for the device.
        scale = self.scaler.scale(torch.ones_like(accu))
        return StepValues(loss, accu, scale, is_finite.to(accu.dtype))

    def _add_gradients(self, batch: Batch, whole: Whole) -> tuple[Tensor, Tensor]:
        """Add a batch's gradients to the weights'; return the loss and the share of right answers.

        All three are means over the known labels of all ranks. A part of the batch has its share in them.
        """
        if self.accumulate == 1 and whole.known is None:
            return self._add_gradients_of(batch)
        known = known_labels(batch[1]) if whole.known is None else whole.known
        values = []
        for number, part in enumerate(
            zip(*(each.tensor_split(self.accumulate) for each in batch), strict=True)
        ):
            share = known_labels(part[1]) / max(known, 1)
            values.append(self._add_gradients_of(part, share, is_last=number == self.accumulate - 1))
        return distributed.total(torch.stack([torch.stack(pair) for pair in values]).sum(0)).unbind()

    def _add_gradients_of(
        self, part: Batch, share: float | None = None, is_last: bool = True
    ) -> tuple[Tensor, Tensor]:
        images, labels, mirror = self._on_device(*part)
        network = self.network or self.model
        mode = nullcontext() if len(images) else without_statistics(self.model)
        with mode, distributed.exchanging(network, is_last):
            predictions = self._predict(network, images, mirror)
            loss = self._loss(predictions, labels)
            # The mean over the ranks is their sum then.
            weighted = loss if share is None else loss * (share * distributed.world())
            self.scaler.scale(weighted).backward()
        loss, accu = loss.detach(), right_answers(vote(predictions), labels)
        return (loss, accu) if share is None else (loss * share, accu * share)

    def _on_device(self, *batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)

    def _predict(self, network: Callable, images: Tensor, mirror: Tensor) -> tuple:
        with autocast(self.device, self.precision):
            return network(preprocess(images, mirror, self.model.mean, self.model.std))

    def _loss(self, predictions: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return sum(self.criterion(prediction, labels) for prediction in predictions)
