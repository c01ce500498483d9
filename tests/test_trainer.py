"""One epoch, one evaluation and the run, on a network small enough to know everything about."""

import copy
import re

import pytest
import torch
from torch import nn

import alm
from alm.checkpoint import load_checkpoint
from alm.device import gradient_scaler
from alm.trainer import Run, Trainer, one_late

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Two branches on the picture's mean colour."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, images):
        mean = images.mean((2, 3))
        return self.first(mean), self.second(mean)

    def folded(self):
        return copy.deepcopy(self).eval()


class Batches:
    """Four batches of three pictures; labels follow from the colour, or, with `bad`, are all unknown."""

    def __init__(self, sizes=(3, 3, 3, 3)):
        generator = torch.Generator().manual_seed(1)
        self.batches = []
        for size in sizes:
            images = torch.randint(0, 256, (size, 3, 8, 4), generator=generator, dtype=torch.uint8)
            labels = (images.float().mean((2, 3))[:, :2] > 127).to(torch.uint8)
            self.batches.append((images, labels, torch.zeros(size, dtype=torch.bool)))
        self.asked = []

    def __len__(self):
        return len(self.batches)

    def epoch(self, epoch):
        self.asked.append(epoch)
        return iter(self.batches)


class Lines:
    """A log that remembers."""

    def __init__(self):
        self.lines, self.losses = [], []

    def line(self, text=""):
        self.lines.append(text)

    def iteration(self, epoch, iteration, loss, ips):
        assert ips > 0
        self.losses.append((epoch, iteration, loss))
        self.lines.append(f"loss {epoch} {iteration}")


def trainer_of(precision=None, lr=0.1, print_freq=2):
    model = Tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    criterion = alm.WeightedBCELoss([0.5, 0.5])
    scaler = gradient_scaler(CPU, precision)
    return Trainer(model, criterion, optimizer, scaler, CPU, precision, Lines(), print_freq)


def test_epoch_logs_every_iteration_and_every_print_freq():
    trainer = trainer_of()
    trainer.train_epoch(Batches(), epoch=7)
    assert [(epoch, iteration) for epoch, iteration, _ in trainer.log.losses] == [(7, i) for i in range(4)]
    average = r"\d+\.\d{3} \(\d+\.\d{3}\)"
    for lines, iteration in ((trainer.log.lines[1], 0), (trainer.log.lines[4], 2)):
        loss = r"\d+\.\d{4} \(\d+\.\d{4}\)"
        assert re.fullmatch(
            rf"Epoch: \[7\]\[{iteration}/4\]\tTime {average}\tLoss {loss}\tAccu {average}", lines
        )
    assert len(trainer.log.lines) == 6


def test_losses_are_those_of_a_plain_loop():
    trainer = trainer_of()
    trainer.train_epoch(Batches(), epoch=0)
    model, criterion = Tiny(), alm.WeightedBCELoss([0.5, 0.5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for (images, labels, mirror), (_, _, logged) in zip(Batches().epoch(0), trainer.log.losses, strict=True):
        loss = sum(criterion(p, labels) for p in model(alm.preprocess.preprocess(images, mirror)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert logged == loss.item()


@pytest.mark.parametrize(("max_iters", "expected", "early"), [(2, 2, True), (4, 4, False), (9, 4, False)])
def test_max_iters_stops_the_epoch_and_says_so(max_iters, expected, early):
    trainer = trainer_of()
    trainer.train_epoch(Batches(), epoch=0, max_iters=max_iters)
    assert len(trainer.log.losses) == expected
    assert (trainer.log.lines[-1] == f"\nEarly stopping at iteration {max_iters}") is early


def test_evaluation_is_the_metrics_of_the_vote():
    trainer, batches = trainer_of(), Batches(sizes=(3, 3, 1))
    figures = trainer.evaluate(batches, 2)
    metrics = alm.AttributeMetrics(2)
    losses, right, count = 0.0, 0.0, 0
    for images, labels, mirror in batches.batches:
        predictions = trainer.model(alm.preprocess.preprocess(images, mirror))
        metrics.update(alm.vote(predictions), labels)
        losses += sum(trainer.criterion(p, labels) for p in predictions).item() * len(images)
        right += ((alm.vote(predictions) > 0) == labels.bool()).float().mean(1).sum().item()
        count += len(images)
    expected = metrics.compute()
    assert figures["ma"] == pytest.approx(expected["ma"], nan_ok=True)
    assert figures["loss"] == pytest.approx(losses / count)
    assert figures["accu"] == pytest.approx(right / count)
    assert trainer.log.lines[0].startswith("Test: [0/3]\tTime ")
    assert trainer.log.lines[-1] == f" * Accu {figures['accu']:.3f}"


@pytest.mark.parametrize("count", [0, 1, 4])
def test_an_iteration_is_read_when_the_next_one_is_under_way(count):
    given = []

    def steps():
        for step in range(count):
            given.append(step)
            yield (step,)

    read = [(step, len(given)) for (step,) in one_late(steps())]
    assert read == [(step, min(step + 2, count)) for step in range(count)]


def test_compiled_network_trains_and_the_model_evaluates():
    trainer, sizes = trainer_of(), []
    trainer.compiled = lambda images: sizes.append(len(images)) or trainer.model(images)
    trainer.train_epoch(Batches(), epoch=0)
    trainer.evaluate(Batches(), 2)
    assert sizes == [3, 3, 3, 3]
    plain = trainer_of()
    plain.train_epoch(Batches(), epoch=0)
    assert trainer.log.losses == plain.log.losses


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_trains(precision):
    trainer = trainer_of(precision)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train_epoch(Batches(), epoch=0)
    assert all(loss == loss for _, _, loss in trainer.log.losses)
    assert any(not torch.equal(before[name], now) for name, now in trainer.model.state_dict().items())


def test_run_saves_decays_and_goes_on_bit_for_bit(tmp_path):
    def run(directory, epochs, start=0, trainer=None):
        trainer = trainer or trainer_of()
        directory.mkdir(exist_ok=True)
        plan = Run(directory, epochs, lr=0.1, decay_epochs=(2, 3), start_epoch=start, save_freq=2, prefix="x")
        plan.fit(trainer, Batches(), Batches(), 2, lambda epoch, figures: None)
        return trainer

    whole = run(tmp_path / "whole", 5)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == ["best.pth.tar", "x_2.pth.tar", "x_4.pth.tar", "x_5.pth.tar"]
    rates = [line.split()[-1] for line in whole.log.lines if "Learning Rate" in line]
    assert rates == ["0.1", "0.1", repr(0.1 * 0.1), repr(0.1 * 0.1 * 0.1), repr(0.1 * 0.1 * 0.1)]

    checkpoint = load_checkpoint(tmp_path / "whole" / "x_2.pth.tar")
    assert checkpoint["epoch"] == 2
    resumed = trainer_of()
    resumed.model.load_state_dict(checkpoint["state_dict"])
    resumed.optimizer.load_state_dict(checkpoint["optimizer"])
    run(tmp_path / "resumed", 5, start=2, trainer=resumed)
    assert resumed.log.losses == whole.log.losses[8:]


def test_an_epoch_is_saved_before_its_figures_are_told(tmp_path):
    def disk_is_full(epoch, figures):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        Run(tmp_path, 2, lr=0.1, save_freq=1).fit(trainer_of(), Batches(), Batches(), 2, disk_is_full)
    assert load_checkpoint(tmp_path / "1.pth.tar")["epoch"] == 1


def test_best_is_the_best_ma(tmp_path, monkeypatch):
    trainer = trainer_of()
    figures = iter([0.5, 0.7, 0.6, float("nan")])
    monkeypatch.setattr(Trainer, "evaluate", lambda *_: {"ma": next(figures), "accu": 0.25})
    Run(tmp_path, epochs=4, lr=0.1).fit(trainer, Batches(), Batches(), 2, lambda *_: None)
    best = load_checkpoint(tmp_path / "best.pth.tar")
    assert (best["epoch"], best["best_ma"], best["best_accu"]) == (2, 0.7, 0.25)
    assert load_checkpoint(tmp_path / "4.pth.tar")["best_ma"] == 0.7


def test_run_without_evaluation_saves_no_best(tmp_path):
    Run(tmp_path, epochs=1, lr=0.1).fit(trainer_of(), Batches(), None, 2, lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["1.pth.tar"]
