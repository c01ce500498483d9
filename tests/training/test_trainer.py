"""One epoch and one evaluation: what the log is told, in time, whatever happens."""

import copy

import pytest
import torch
from support.tiny import CPU, Batches, Localized, Tiny, train, trainer_of

import alm
from alm.training import step_queue as steps_module
from alm.training.step_queue import StepQueue, StepValues
from alm.training.trainer import NonFiniteLossError


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until a test moves it."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(steps_module.time, "perf_counter", lambda: Clock.now)
    return Clock


@pytest.fixture
def accelerator(monkeypatch):
    """Let the trainer take the CPU for an accelerator."""
    monkeypatch.setattr(steps_module, "is_accelerator", lambda device: True)


class Slow(Batches):
    """Batches of which number i takes i + 1 seconds."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def epoch(self, epoch, seen=0):
        for number, batch in enumerate(self.batches):
            self.clock.now += number + 1
            yield batch


class Poisoned(Batches):
    """Batches of which one turns the loss into NaN, or ends with an error."""

    def __init__(self, trainer, at, error=None):
        super().__init__()
        self.trainer, self.at, self.error = trainer, at, error

    def epoch(self, epoch, seen=0):
        for number, batch in enumerate(self.batches):
            if number == self.at:
                if self.error:
                    raise self.error
                with torch.no_grad():
                    self.trainer.model.first.bias.fill_(torch.nan)
            yield batch


def test_the_log_is_told_of_every_iteration():
    trainer = trainer_of()
    assert train(trainer, Batches((3, 3, 2)), 7) == (3, 8)
    told = trainer.log.of("iteration")
    assert [values[:4] for values in told] == [[7, 0, 3, 3], [7, 1, 3, 3], [7, 2, 3, 2]]
    assert all(seconds > 0 and 0 <= accu <= 1 for *_, seconds, _, accu in told)
    assert {event for event, *_ in trainer.log.events} == {"iteration"}


def test_losses_are_those_of_a_plain_loop():
    trainer = trainer_of()
    train(trainer, Batches(), 0)
    model, criterion = Tiny(), alm.WeightedBCELoss([0.5, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for (images, labels, mirror), (_, _, told) in zip(Batches().epoch(0), trainer.log.losses, strict=True):
        loss = sum(criterion(p, labels) for p in model(alm.preprocess(images, mirror)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert told == loss.item()


def test_each_iteration_has_its_own_time(clock):
    trainer = trainer_of()
    train(trainer, Slow(clock), 0)
    assert [seconds for *_, seconds, _, _ in trainer.log.of("iteration")] == [1, 2, 3, 4]
    trainer.evaluate(Slow(clock))
    assert [seconds for *_, seconds, _, _ in trainer.log.of("test")] == [1, 2, 3, 4]


def test_the_cpu_is_read_at_once_and_an_accelerator_one_step_late(monkeypatch):
    """What an iteration was is told before the next batch is asked for, or one later."""
    for late in (False, True):
        monkeypatch.setattr(steps_module, "is_accelerator", lambda device, late=late: late)
        told = []
        with StepQueue(CPU, lambda step, *_, told=told: told.append(step.iteration)) as steps:
            for count in range(1, 4):
                steps.add(2, StepValues(torch.tensor(1.0), torch.tensor(0.5)))
                assert told == list(range(count - late))
        assert told == [0, 1, 2]


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
@pytest.mark.parametrize("error", [OSError("picture"), KeyboardInterrupt()])
def test_the_last_step_is_told_whatever_comes_after_it(device, error, request):
    if device == "accelerator":
        request.getfixturevalue("accelerator")
    trainer = trainer_of()
    with pytest.raises(type(error)):
        train(trainer, Poisoned(trainer, at=2, error=error), 0)
    assert [iteration for _, iteration, _ in trainer.log.losses] == [0, 1]


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_loss_that_is_not_finite_stops_the_run(device, at, request):
    if device == "accelerator":
        request.getfixturevalue("accelerator")
    trainer = trainer_of()
    with pytest.raises(
        NonFiniteLossError, match=rf"the loss is nan at epoch 5 iteration {at}; .*--lr.*--amp"
    ):
        train(trainer, Poisoned(trainer, at), 5)
    told = [iteration for _, iteration, _ in trainer.log.losses]
    underway = 1 if device == "accelerator" and at < 3 else 0  # given to it before the NaN was read
    assert told == list(range(at + 1 + underway))


def test_evaluation_is_the_metrics_of_the_vote():
    trainer, batches = trainer_of(), Batches(sizes=(3, 3, 1))
    with torch.no_grad():
        trainer.model.second.bias[0] += 5  # each branch wins for one attribute
    evaluation = trainer.evaluate(batches)
    metrics = alm.AttributeMetrics(2)
    losses, right, count, votes = 0.0, 0.0, 0, []
    for images, labels, mirror in batches.batches:
        predictions = trainer.model(alm.preprocess(images, mirror))
        metrics.update(alm.vote(predictions), labels)
        votes += alm.vote(predictions).tolist()
        losses += sum(trainer.criterion(p, labels) for p in predictions).item() * len(images)
        right += ((alm.vote(predictions) > 0) == labels.bool()).float().mean(1).sum().item()
        count += len(images)
    expected = metrics.compute()
    assert evaluation.ma == pytest.approx(expected["ma"], nan_ok=True)
    assert evaluation.loss == pytest.approx(losses / count)
    assert evaluation.accu == pytest.approx(right / count)
    assert evaluation.logits.dtype == torch.float32
    assert evaluation.logits.numpy() == pytest.approx(torch.tensor(votes).numpy(), rel=1e-5)
    assert [values[:3] for values in trainer.log.of("test")] == [[0, 3, 3], [1, 3, 3], [2, 3, 1]]
    assert trainer.log.events[-1] == ("tested", evaluation.accu)


def test_evaluation_gives_regions_where_they_are_wanted_and_nothing_else_changes():
    trainer, batches = trainer_of(model=Localized()), Batches(sizes=(3, 3, 1))
    without = trainer.evaluate(batches)
    trainer.localize = True
    evaluation = trainer.evaluate(batches)
    assert without.branches is without.regions is None
    assert evaluation.figures == without.figures
    assert torch.equal(evaluation.logits, without.logits)
    assert torch.equal(evaluation.branches.amax(0), evaluation.logits)
    assert evaluation.branches.shape == (2, 7, 2)
    images = torch.cat([images for images, _, _ in batches.batches])
    assert torch.equal(evaluation.regions["3b"], trainer.model.predict(alm.preprocess(images))[1]["3b"])


def test_evaluation_of_nan_gives_no_figure():
    trainer = trainer_of()
    with torch.no_grad():
        trainer.model.first.bias.fill_(torch.nan)
    with pytest.raises(alm.AlmError, match="predictions of 12 of 12 pictures are NaN"):
        trainer.evaluate(Batches())
    assert trainer.log.of("tested") == []


def test_compiled_network_trains_and_the_model_evaluates():
    trainer, sizes = trainer_of(), []
    trainer.compiled = lambda images: sizes.append(len(images)) or trainer.model(images)
    train(trainer, Batches(), 0)
    trainer.evaluate(Batches())
    assert sizes == [3, 3, 3, 3]
    plain = trainer_of()
    train(plain, Batches(), 0)
    assert trainer.log.losses == plain.log.losses


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_learns(precision):
    trainer = trainer_of(precision)
    before = copy.deepcopy(trainer.model.state_dict())
    for epoch in range(20):
        train(trainer, Batches(), epoch)
    losses = [loss for _, _, loss in trainer.log.losses]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert any(not torch.equal(before[name], now) for name, now in trainer.model.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError(),
              RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)  # fmt: skip
def test_lack_of_memory_names_the_batch_size(error, training):
    trainer = trainer_of()

    def network(*images):
        raise error

    trainer.compiled = network
    trainer.model.folded = lambda: network
    with pytest.raises(alm.AlmError, match=r"out of memory in a step over 3 pictures; lower --batch_size"):
        train(trainer, Batches(), 0) if training else trainer.evaluate(Batches())


def test_lacking_operator_is_named_with_the_way_to_find_it():
    trainer = trainer_of()

    def network(images):
        raise NotImplementedError(
            "Could not run 'aten::bmm' with arguments from the 'sdaa' backend. This ..."
        )

    trainer.compiled = network
    with pytest.raises(alm.AlmError, match=r"sdaa has no aten::bmm; `python locate.py --device sdaa` says"):
        train(trainer, Batches(), 0)


def test_overflow_in_fp16_skips_the_step_says_so_and_goes_on():
    trainer = trainer_of(precision=torch.float16)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # its gradients overflow in fp16
    weights = trainer.model.first.weight
    before = weights.detach().clone()
    assert train(trainer, Batches(), 3).iterations == 4
    skipped = trainer.log.of("overflow")
    assert skipped == [
        [{"epoch": 3, "iteration": iteration, "scale": 2.0 ** (39 - iteration)}] for iteration in range(4)
    ]
    assert torch.equal(weights, before)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    train(trainer, Batches(), 4)
    assert trainer.log.of("overflow") == skipped
    assert not torch.equal(weights, before)
    assert [loss for *_, loss in trainer.log.losses][-1] < trainer.log.losses[0][-1]


def test_other_errors_of_a_step_are_what_they_are():
    trainer = trainer_of()

    def network(images):
        raise RuntimeError("shapes do not match")

    trainer.compiled = network
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(trainer, Batches(), 0)
