"""One epoch of training and one evaluation, as straight loops over a loader's batches."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from alm.devices.precision import autocast
from alm.models.folding import folded
from alm.models.metrics import right_answers
from alm.models.network import vote
from alm.models.preprocessing import preprocess
from alm.training import distributed
from alm.training.average import WeightAverage
from alm.training.batch_norm import without_statistics
from alm.training.distributed import Batch, Whole, known_labels
from alm.training.evaluation import Answers, Evaluation
from alm.training.step_errors import NonFiniteSteps, explain_step_errors
from alm.training.step_queue import Step, StepQueue, StepValues

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
        network = folded(self.evaluated)
        answers = Answers(loader.num_attributes, self.thresholds)
        is_alone = distributed.world() == 1

        def report(step: Step, seconds: float, values: StepValues) -> None:
            answers.steps.append((step.pictures, seconds, values))
            if is_alone:
                self._log_test(step.iteration, len(loader), *answers.steps[-1])

        with StepQueue(self.device, report) as queue:
            for batch, _ in distributed.together(stop_after(loader.epoch(0), stop)):
                with explain_step_errors(len(batch[0])):
                    images, labels, mirror = self._on_device(*batch)
                    if self.localize:
                        predictions, regions = self._predict(network.predict, images, mirror)
                    else:
                        predictions, regions = self._predict(network, images, mirror), None
                    predicted = answers.add(predictions, regions, labels)
                    values = StepValues(self._loss(predictions, labels), right_answers(predicted, labels))
                    queue.add(len(images), values)
        if queue.count * distributed.world() < len(loader):
            return None
        answers.gather()
        for iteration, step in enumerate([] if is_alone else answers.steps[: len(loader)]):
            self._log_test(iteration, len(loader), *step)
        evaluation = answers.evaluation()
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
