"""One epoch and one evaluation: what the log hears, in time, whatever happens."""

import copy
import math

import pytest
import torch
from support.tiny import CPU, Batches, Failing, Localized, Tiny, train, trainer_of
from torch import nn

import alm
from alm.constants import UNKNOWN
from alm.training import step_queue
from alm.training import trainer as trainer_module
from alm.training.step_errors import NonFiniteLossError, NonFiniteSteps
from alm.training.step_queue import StepQueue, StepValues


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until a test moves it."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(step_queue.time, "perf_counter", lambda: Clock.now)
    return Clock


@pytest.fixture(params=["cpu", "accelerator"])
def device(request, monkeypatch):
    """Run a test twice; the second time the trainer takes the CPU for an accelerator."""
    if request.param == "accelerator":
        monkeypatch.setattr(step_queue, "is_accelerator", lambda device: True)
    return request.param


class Slow(Batches):
    """Batches of which number i takes i + 1 seconds."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def epoch(self, epoch, seen=0, count=None):
        for number, batch in enumerate(self.batches):
            self.clock.now += number + 1
            yield batch


class NotFiniteAt:
    """A criterion whose value is NaN in these steps of a network with two branches."""

    def __init__(self, criterion, *steps):
        self.criterion, self.steps, self.calls = criterion, steps, 0

    def __call__(self, logits, labels):
        step, self.calls = self.calls // 2, self.calls + 1
        return self.criterion(logits, labels) * (torch.nan if step in self.steps else 1)


class Normalized(Tiny):
    """A network with running means."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return super().forward(self.norm(images))


def test_the_log_hears_of_every_iteration():
    trainer = trainer_of()
    assert train(trainer, Batches((3, 3, 2)), 7) == (3, 8)
    steps = trainer.log.of("iteration")
    assert [values[:4] for values in steps] == [[7, 0, 3, 3], [7, 1, 3, 3], [7, 2, 3, 2]]
    assert all(seconds > 0 and 0 <= accu <= 1 for *_, seconds, _, accu in steps)
    assert {event for event, *_ in trainer.log.events} == {"iteration"}


def test_losses_are_those_of_a_plain_loop():
    trainer = trainer_of()
    train(trainer, Batches())
    model, criterion = Tiny(), alm.WeightedBCELoss([0.5, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for (images, labels, mirror), (_, _, logged) in zip(Batches().epoch(0), trainer.log.losses, strict=True):
        loss = sum(criterion(p, labels) for p in model(alm.preprocess(images, mirror)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert logged == loss.item()


@pytest.mark.parametrize("precision", [None, torch.float16])
def test_gradients_are_clipped_to_a_norm(precision):
    """Whatever the scale of the loss is; a smaller gradient stays as it is."""
    moves = []
    for clip_grad in (0.0, 1e-3, 1e3):
        trainer = trainer_of(precision)
        trainer.clip_grad = clip_grad
        before = nn.utils.parameters_to_vector(trainer.model.parameters()).detach()
        train(trainer, Batches(), most=1)
        moves.append(nn.utils.parameters_to_vector(trainer.model.parameters()).detach() - before)
    assert moves[1].norm() == pytest.approx(0.1 * 1e-3, rel=1e-2)  # the rate times the norm
    assert torch.equal(moves[2], moves[0])
    assert torch.cosine_similarity(moves[0], moves[1], dim=0) > 0.999


def test_each_iteration_has_its_own_time(clock):
    trainer = trainer_of()
    train(trainer, Slow(clock))
    assert [seconds for *_, seconds, _, _ in trainer.log.of("iteration")] == [1, 2, 3, 4]
    trainer.evaluate(Slow(clock))
    assert [seconds for *_, seconds, _, _ in trainer.log.of("test")] == [1, 2, 3, 4]


def test_the_cpu_is_read_at_once_and_an_accelerator_one_step_late(device):
    """A step is reported before the next batch is asked for, or one later."""
    reported = []
    with StepQueue(CPU, lambda step, *_: reported.append(step.iteration)) as queue:
        for count in range(1, 4):
            queue.add(2, StepValues(torch.tensor(1.0), torch.tensor(0.5)))
            assert reported == list(range(count - (device == "accelerator")))
    assert reported == [0, 1, 2]


@pytest.mark.parametrize("error", [OSError("picture"), KeyboardInterrupt()])
def test_the_last_step_is_logged_whatever_comes_after_it(device, error):
    trainer = trainer_of()
    with pytest.raises(type(error)):
        train(trainer, Failing(2, error))
    assert [iteration for _, iteration, _ in trainer.log.losses] == [0, 1]


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_loss_that_is_not_finite_ends_the_run(device, at):
    trainer = trainer_of()
    trainer.criterion = NotFiniteAt(trainer.criterion, at)
    with pytest.raises(NonFiniteLossError, match=rf"the loss is nan at epoch 5 iteration {at}; .*--lr"):
        train(trainer, Batches(), 5)
    underway = 1 if device == "accelerator" and at < 3 else 0  # begun before the NaN was read
    assert [iteration for _, iteration, _ in trainer.log.losses] == list(range(at + 1 + underway))


def test_a_step_that_is_not_finite_can_be_skipped(device):
    """Weights, moments and running means are as if it had not been; the log counts it."""
    batches = Batches()
    trainer, plain = trainer_of(model=Normalized()), trainer_of(model=Normalized())
    trainer.nonfinite = NonFiniteSteps(skip=True)
    trainer.criterion = NotFiniteAt(trainer.criterion, 1)
    train(trainer, batches)
    plain.train([batch for number, batch in enumerate(batches.batches) if number != 1], 0, 0, 4)
    for ours, theirs in zip(
        trainer.model.state_dict().values(), plain.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    ((note,),) = trainer.log.of("loss_not_finite")
    assert (note["epoch"], note["iteration"], note["count"]) == (0, 1, trainer.nonfinite.skipped)
    assert math.isnan(note["loss"])
    assert [iteration for _, iteration, _ in trainer.log.losses] == [0, 1, 2, 3]


def test_a_step_whose_gradients_are_not_finite_can_be_skipped():
    trainer = trainer_of()
    trainer.nonfinite = NonFiniteSteps(skip=True)
    trainer.model.first.bias.register_hook(lambda gradient: gradient * torch.inf)
    before = trainer.model.first.weight.detach().clone()
    train(trainer, Batches())
    assert torch.equal(trainer.model.first.weight, before)
    assert [note["count"] for (note,) in trainer.log.of("gradients_not_finite")] == [1, 2, 3, 4]


def test_a_part_without_pictures_costs_the_others_no_statistics():
    """Not those of the batches behind it either; nor does it end what stays in evaluation mode."""
    model = Normalized()
    model.frozen = nn.BatchNorm1d(3).eval()
    trainer, modes = trainer_of(model=model), []
    trainer.accumulate = 4
    trainer.network = lambda images: modes.append((len(images), model.norm.training)) or model(images)
    model.train = lambda: None  # a network that freezes a part of itself
    train(trainer, Batches((3, 4)))
    assert modes == [(1, True)] * 3 + [(0, False)] + [(1, True)] * 4
    assert not model.frozen.training


def test_ten_skipped_steps_in_a_row_end_the_run():
    trainer = trainer_of()
    trainer.nonfinite = NonFiniteSteps(skip=True)
    criterion = trainer.criterion
    trainer.criterion = NotFiniteAt(criterion, *range(3, 12))
    train(trainer, Batches([3] * 20))
    assert trainer.nonfinite.skipped == 9
    trainer.criterion = NotFiniteAt(criterion, *range(3, 30))
    with pytest.raises(NonFiniteLossError, match=r"10 iterations in a row, up to epoch 0 iteration 12, "):
        train(trainer, Batches([3] * 20))
    assert trainer.nonfinite.skipped == 19


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
    for name, expected in metrics.compute().items():
        torch.testing.assert_close(getattr(evaluation, name), expected, equal_nan=True)
    assert evaluation.loss == pytest.approx(losses / count)
    assert evaluation.accu == pytest.approx(right / count)
    assert evaluation.logits.dtype == torch.float32
    assert evaluation.logits.numpy() == pytest.approx(torch.tensor(votes).numpy(), rel=1e-5)
    assert [values[:3] for values in trainer.log.of("test")] == [[0, 3, 3], [1, 3, 3], [2, 3, 1]]
    assert trainer.log.events[-1] == ("tested", evaluation.accu)


def test_evaluation_gives_regions_if_they_are_asked_for_and_nothing_else_changes():
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


def test_an_evaluation_that_is_stopped_gives_no_figure():
    trainer = trainer_of()
    assert trainer.evaluate(Batches(), stop=lambda: True) is None
    assert len(trainer.log.of("test")) == 1
    assert trainer.log.of("tested") == []


def test_the_compiled_network_trains_and_the_model_evaluates():
    trainer, sizes = trainer_of(), []
    trainer.network = lambda images: sizes.append(len(images)) or trainer.model(images)
    train(trainer, Batches())
    trainer.evaluate(Batches())
    assert sizes == [3, 3, 3, 3]
    plain = trainer_of()
    train(plain, Batches())
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


def test_a_step_that_overflows_in_fp16_is_skipped_and_the_log_says_so():
    trainer = trainer_of(precision=torch.float16)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # its gradients overflow in fp16
    weights = trainer.model.first.weight
    before = weights.detach().clone()
    assert train(trainer, Batches(), 3).iterations == 4
    overflows = trainer.log.of("overflow")
    assert overflows == [[{"epoch": 3, "iteration": i, "scale": 2.0 ** (39 - i)}] for i in range(4)]
    assert torch.equal(weights, before)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    train(trainer, Batches(), 4)
    assert trainer.log.of("overflow") == overflows
    assert not torch.equal(weights, before)
    assert [loss for *_, loss in trainer.log.losses][-1] < trainer.log.losses[0][-1]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to"), alm.AlmError, "3 pictures.*--batch_size"),
        (MemoryError(), alm.AlmError, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), alm.AlmError, "out of memory"),
        (NotImplementedError("Could not run 'aten::bmm' with arguments from the 'sdaa' backend. This"),
         alm.AlmError, r"sdaa has no aten::bmm; .*locate\.py --device sdaa"),
        (RuntimeError("shapes do not match"), RuntimeError, "shapes do not match"),
    ],
)  # fmt: skip
def test_a_step_that_the_device_cannot_do_is_explained(error, expected, words, training, monkeypatch):
    trainer = trainer_of()

    def network(*images):
        raise error

    trainer.network = network
    monkeypatch.setattr(trainer_module, "folded", lambda model: network)
    with pytest.raises(expected, match=words) as caught:
        train(trainer, Batches()) if training else trainer.evaluate(Batches())
    assert isinstance(caught.value, alm.AlmError) == (expected is alm.AlmError)


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_batch_in_parts_is_the_step_of_the_whole(parts):
    """Of labels that are partly unknown; also with more parts than pictures."""
    batches, steps = Batches(), []
    batches.batches[0][1][0] = UNKNOWN
    for accumulate in (1, parts):
        trainer = trainer_of()
        trainer.accumulate = accumulate
        train(trainer, batches)
        steps.append((trainer.log.losses, nn.utils.parameters_to_vector(trainer.model.parameters())))
    torch.testing.assert_close(steps[1][1], steps[0][1])
    assert [loss for *_, loss in steps[1][0]] == pytest.approx([loss for *_, loss in steps[0][0]])
