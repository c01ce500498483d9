"""A run: what is saved when, what it goes on from, and that nothing worth keeping is lost."""

from contextlib import nullcontext

import pytest
import torch
from support.models import same
from support.numbered import Deadly, Numbered
from support.tiny import Batches, Failing, figures_of, load, names, resume, run_of, trainer_of

import alm
from alm.checkpoint.restore import OWN_FORMAT
from alm.constants import LAST
from alm.training.schedule import learning_rate
from alm.training.step_errors import NonFiniteLossError
from utils.data.loader import Loader, WorkerError

IDENTITY = {"identity": "a name"}


def test_run_saves_decays_and_goes_on_bit_for_bit(tmp_path):
    whole = run_of(tmp_path / "whole", 5, decay_epochs=(2, 3), save_freq=2, prefix="x", identity=IDENTITY)
    whole.fit(Batches(), Batches())
    assert names(tmp_path / "whole") == [
        "best.pth.tar", "last.pth.tar", "x_2.pth.tar", "x_4.pth.tar", "x_5.pth.tar",
    ]  # fmt: skip
    rates = [rate for (rate,) in whole.trainer.log.of("learning_rate")]
    assert rates == [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1 * 0.1, 0.1 * 0.1 * 0.1]

    resumed = run_of(tmp_path / "resumed", 5, decay_epochs=(2, 3))
    checkpoint = resume(resumed, tmp_path / "whole" / "x_2.pth.tar")
    assert (checkpoint["epoch"], checkpoint["iterations"]) == (2, 8)
    assert (checkpoint["format"], checkpoint["identity"]) == (OWN_FORMAT, "a name")
    resumed.fit(Batches(), Batches())
    assert resumed.trainer.log.losses == whole.trainer.log.losses[8:]
    assert resumed.progress.iterations == whole.progress.iterations == 20
    for name in ("best_ma", "best_accu"):
        assert getattr(resumed.progress, name) == getattr(whole.progress, name)


@pytest.mark.parametrize(("max_iters", "of"), [(None, 4), (2, 2)])
def test_a_schedule_sets_the_rate_of_each_step(tmp_path, max_iters, of):
    """It reaches its end in a trial with shorter epochs, too."""
    run, rates = run_of(tmp_path, 3, schedule="cosine", max_iters=max_iters), []
    run.trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    run.fit(Batches())
    assert rates == [learning_rate(0.1, step / of, 3, "cosine", (), 0) for step in range(3 * of)]


class Stops:
    """Asks for an end when it has been asked so many times."""

    def __init__(self, after):
        self.left = after

    def __call__(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("save_every_iters", [None, 3])
@pytest.mark.parametrize("after", [0, 2, 5, 9, 15])
@pytest.mark.parametrize(
    ("ema", "options"), [(0, {"decay_epochs": (2,)}), (0.9, {"schedule": "onecycle", "warmup": 0.3})]
)
def test_a_run_that_is_stopped_anywhere_ends_as_if_it_had_not_been(
    tmp_path, ema, options, after, save_every_iters
):
    """In an epoch, between two, in an evaluation: weights, losses, figures, files."""
    options = options | {"save_freq": 2, "save_every_iters": save_every_iters}
    whole, told = run_of(tmp_path / "whole", 3, trainer_of(ema=ema), **options), []
    assert whole.fit(Batches(), Batches(), lambda *figures: told.append(str(figures)))
    losses, tables, stopped = [], [], 0
    while True:
        run = run_of(tmp_path / "stopped", 3, trainer_of(ema=ema), **options)
        if stopped and (tmp_path / "stopped" / LAST).exists():
            resume(run, tmp_path / "stopped" / LAST)
        is_done = run.fit(Batches(), Batches(), lambda *figures: tables.append(str(figures)), Stops(after))
        losses += run.trainer.log.losses
        if is_done:
            break
        stopped += 1
        after += 1  # or it might never come further
    assert stopped > 0
    assert losses == whole.trainer.log.losses
    assert tables == told
    left, right = (run.state_dict() | {"saved": []} for run in (run, whole))
    assert str(left) == str(right)
    last = [load(tmp_path / name / LAST) | {"saved": []} for name in ("whole", "stopped")]
    assert str(last[0]) == str(last[1])


def run_on_numbers(directory, seen):
    """Return a run of one epoch, gone on from what is there, which adds the pictures that it sees."""
    run = run_of(directory, 1)
    if seen:
        resume(run, directory / LAST)
    run.trainer.watch = lambda images, labels, _: nullcontext(seen.extend(labels[:, 0].tolist()))
    run.trainer.criterion = lambda logits, labels: logits.sum() * 0
    return run


def test_an_epoch_goes_on_with_another_batch_size(tmp_path):
    """Each picture once, whatever the batches are."""
    seen, steps = [], []
    for batch_size, after in ((4, 3), (7, 2), (2, 99)):
        run = run_on_numbers(tmp_path, seen)
        run.fit(Loader(Numbered(31), batch_size, shuffle=True), stop=Stops(after))
        steps += [values[1:4] for values in run.trainer.log.of("iteration")]
    assert sorted(seen) == list(range(31))
    assert steps == [[0, 8, 4], [1, 8, 4], [2, 8, 4], *([n, 6, 7] for n in (3, 4)), *(
        [n, 8, 2 if n < 7 else 1] for n in range(5, 8)
    )]  # fmt: skip


def test_a_worker_that_is_killed_costs_no_training(tmp_path):
    """The run saves and ends, and goes on with fewer workers: each picture once."""
    seen, data = [], Deadly(tmp_path, 20, count=31)
    for workers in (1, 0):
        run = run_on_numbers(tmp_path, seen)
        with pytest.raises(WorkerError) if workers else nullcontext():
            run.fit(Loader(data, 2, shuffle=True, workers=workers))
    assert sorted(seen) == list(range(31))
    # Picture 20 is in the ninth batch, and four batches at most are read ahead.
    assert len(run.trainer.log.of("iteration")) < 16


@pytest.mark.parametrize(
    ("save_freq", "error", "of_the_loader"),
    [
        (1, alm.AlmError("cannot read picture"), True),
        (10, OSError("no space left"), False),
        (10, KeyboardInterrupt(), True),
    ],
)
def test_an_epoch_outlives_its_evaluation(tmp_path, save_freq, error, of_the_loader):
    """A damaged picture of the other list, or a full disk for the figures, must not cost the training."""

    def evaluated(*_):
        raise error

    run = run_of(tmp_path, 30, save_freq=save_freq)
    with pytest.raises(type(error)):
        run.fit(Batches(), Failing(1, error) if of_the_loader else Batches(), evaluated)
    assert names(tmp_path) == (["1.pth.tar", "last.pth.tar"] if save_freq == 1 else ["last.pth.tar"])
    saved = load(tmp_path / "last.pth.tar")
    assert saved["state_dict"].keys() == run.trainer.model.state_dict().keys()
    assert (saved["epoch"], saved["unevaluated"]) == (1, True)


@pytest.mark.parametrize(
    ("error", "words"),
    [(alm.AlmError("died"), "died"), (OSError("gone"), "gone"), (None, "3 of the 4 batches of epoch 0")],
)
@pytest.mark.parametrize("save_every_iters", [None, 3])
def test_a_loader_that_fails_costs_no_training(tmp_path, error, words, save_every_iters):
    """All that was trained is saved, and goes on as if nothing had been."""
    run = run_of(tmp_path, 1, save_every_iters=save_every_iters)
    with pytest.raises((alm.AlmError, OSError), match=words):
        run.fit(Failing(3, error))
    ((note,),) = run.trainer.log.of("saved")
    resumed, whole = run_of(tmp_path, 1), run_of(tmp_path / "whole", 1)
    checkpoint = resume(resumed, note["last"])
    assert (checkpoint["iteration"], checkpoint["seen"]) == (3, 9)
    for each in (resumed, whole):
        each.fit(Batches())
    assert run.trainer.log.losses + resumed.trainer.log.losses == whole.trainer.log.losses


def test_a_loader_that_fails_at_once_saves_nothing(tmp_path):
    with pytest.raises(OSError, match="gone"):
        run_of(tmp_path, 1).fit(Failing(0, OSError("the disk is gone")))
    assert names(tmp_path) == []


def test_best_is_the_best_ma(tmp_path, monkeypatch):
    figures_of(monkeypatch, 0.5, 0.7, 0.6, float("nan"))
    epochs = []
    run = run_of(tmp_path, 4, save_freq=1, keep=None)
    run.fit(Batches(), Batches(), lambda epoch, evaluation: epochs.append((epoch, evaluation.accu)))
    assert epochs == [(1, 0.25), (2, 0.25), (3, 0.25), (4, 0.25)]
    best = load(tmp_path / "best.pth.tar")
    assert (best["epoch"], best["best_ma"], best["best_accu"]) == (2, 0.7, 0.25)
    assert [load(tmp_path / f"{epoch}.pth.tar")["best_ma"] for epoch in range(1, 5)] == [0.5, 0.7, 0.7, 0.7]


class SpoiledAfter(Batches):
    """Batches after whose first epochs a weight becomes NaN, before or at the end of the epoch."""

    def __init__(self, trainer, good_epochs, at_end):
        super().__init__()
        self.trainer, self.good_epochs, self.at_end = trainer, good_epochs, at_end

    def epoch(self, epoch, seen=0, count=None):
        if epoch >= self.good_epochs and not self.at_end:
            self.spoil()
        for number, batch in enumerate(self.batches, start=1):
            if epoch >= self.good_epochs and self.at_end and number == len(self):  # its gradient overflows
                self.trainer.optimizer.register_step_post_hook(lambda *_: self.spoil())
            yield batch

    def spoil(self):
        with torch.no_grad():
            self.trainer.model.second.weight[0, 0] = torch.nan


@pytest.mark.parametrize("good_epochs", [0, 2])
@pytest.mark.parametrize(
    ("at_end", "error", "words"),
    [
        (False, NonFiniteLossError, "the loss is nan at epoch {good} .*--lr.*"),
        (True, alm.AlmError, "not finite after epoch {next}.*--lr.*"),
    ],
)
def test_weights_that_are_not_finite_write_over_nothing(tmp_path, good_epochs, at_end, error, words):
    """The error names the last good checkpoint, if there is one, and the pictures of the step."""
    words = words.format(good=good_epochs, next=good_epochs + 1)
    words += "; .*last.pth.tar is the last checkpoint" if good_epochs else "off"
    words += "" if at_end else "; the pictures of that step are 0.png, 1.png, 2.png"
    run = run_of(tmp_path, 9, save_freq=1)
    with pytest.raises(error, match=rf"{words}$"):
        run.fit(SpoiledAfter(run.trainer, good_epochs, at_end), Batches())
    assert len(run.trainer.log.of("at_fault")) == (not at_end)
    assert set(names(tmp_path)) == (
        {"1.pth.tar", "2.pth.tar", "best.pth.tar", "last.pth.tar"} if good_epochs else set()
    )
    for path in tmp_path.iterdir():
        assert all(tensor.isfinite().all() for tensor in load(path)["state_dict"].values())


def test_what_is_saved_of_an_average_is_what_was_evaluated_and_what_trains(tmp_path):
    """A run goes on from the raw weights, with or without the average."""
    run, logits = run_of(tmp_path, 1, trainer_of(ema=0.9)), []
    run.fit(Batches(), Batches(), lambda _, evaluation: logits.append(evaluation.logits))
    saved = load(tmp_path / LAST)
    assert same(saved["raw_weights"], run.trainer.model.state_dict())
    assert not same(saved["state_dict"], saved["raw_weights"])
    plain = trainer_of()
    plain.model.load_state_dict(saved["state_dict"])
    assert torch.equal(plain.evaluate(Batches()).logits, logits[0])
    resume(run_of(tmp_path, 2, plain), tmp_path / LAST)
    assert same(plain.model.state_dict(), saved["raw_weights"])
    del saved["raw_weights"]["first.weight"]
    with pytest.raises(alm.AlmError, match=r"missing entries .1.: first\.weight"):
        run.load_state_dict(saved)


def test_a_published_checkpoint_gives_epoch_and_best_accu(tmp_path):
    run = run_of(tmp_path, 60)
    run.load_state_dict({"epoch": 40, "best_accu": torch.tensor(0.875), "state_dict": {}})
    assert (run.progress.epoch, run.progress.iterations, run.progress.best_accu) == (40, 0, 0.875)
