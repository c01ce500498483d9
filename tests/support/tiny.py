"""A network, batches and a log small enough to know everything about; for the tests of trainer and run."""

from itertools import accumulate, islice

import torch
from torch import nn

import alm
from alm.constants import MEAN, STD
from alm.devices.precision import gradient_scaler
from alm.training.average import WeightAverage
from alm.training.evaluation import Evaluation
from alm.training.run import RunSettings, TrainingRun
from alm.training.trainer import Trainer

CPU = torch.device("cpu")

IDENTITY = {
    "approach": "inception_iccv", "attributes": ["a", "b"], "positive_ratio": [0.5, 0.5],
    "align_corners": False, "options": {},
}  # fmt: skip


class Tiny(nn.Module):
    """Two branches on the picture's mean colour."""

    mean, std = MEAN, STD

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, images):
        mean = images.mean((2, 3))
        return self.first(mean), self.second(mean)


class Localized(Tiny):
    """The same, and a region that follows from the colour."""

    def predict(self, images):
        region = images.mean((2, 3))[:, None, [0, 1, 2, 0]].expand(-1, 2, -1)
        return self(images), {"3b": region}


class Batches:
    """Four batches of three pictures, whose labels follow from the colour."""

    num_attributes = 2

    def __init__(self, sizes=(3, 3, 3, 3)):
        generator = torch.Generator().manual_seed(1)
        self.batches = []
        for size in sizes:
            images = torch.randint(0, 256, (size, 3, 8, 4), generator=generator, dtype=torch.uint8)
            labels = (images.float().mean((2, 3))[:, :2] > 127).to(torch.uint8)
            self.batches.append((images, labels, torch.zeros(size, dtype=torch.bool)))

    def __len__(self):
        return len(self.batches)

    def left(self, seen):
        return sum(start >= seen for start in self.starts())

    def epoch(self, epoch, seen=0, count=None):
        rest = (batch for start, batch in zip(self.starts(), self.batches, strict=True) if start >= seen)
        return islice(rest, count)

    def names(self, epoch, first, count):
        return [f"{number}.png" for number in range(first, first + count)]

    def starts(self):
        """Return how many pictures come before each batch."""
        return [0, *accumulate(len(labels) for _, labels, _ in self.batches[:-1])]


class Failing(Batches):
    """Batches that the loader fails to read from number `at` on; without an error, it just ends there."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error = at, error

    def epoch(self, epoch, seen=0, count=None):
        yield from list(super().epoch(epoch, seen, count))[: max(self.at - seen // 3, 0)]
        if self.error:
            raise self.error


class MemoryLog:
    """A log that remembers its events."""

    def __init__(self):
        self.events = []

    def __getattr__(self, name):
        return lambda *values: self.events.append((name, *values))

    def note(self, event, **details):
        self.events.append((event, details))

    def of(self, name):
        """Return the values of each such event, of a note its details."""
        return [values for event, *values in self.events if event == name]

    def state_dict(self):
        return {}

    @property
    def losses(self):
        return [(epoch, iteration, loss) for epoch, iteration, *_, loss, _ in self.of("iteration")]


def trainer_of(precision=None, lr=0.1, model=None, optimizer=None, ema=0.0):
    model = model or Tiny()
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=lr)
    criterion, scaler = alm.WeightedBCELoss([0.5, 0.5]), gradient_scaler(CPU, precision)
    average = WeightAverage(model, ema) if ema else None
    return Trainer(model, criterion, optimizer, scaler, CPU, precision, MemoryLog(), average)


def train(trainer, batches, epoch=0, most=None):
    """Train on an epoch of batches, or some of them."""
    return trainer.train(islice(batches.epoch(epoch), most), epoch, 0, len(batches))


def load(path):
    return torch.load(path, weights_only=True)


def run_of(directory, epochs, trainer=None, identity=None, **options):
    directory.mkdir(exist_ok=True)
    settings = RunSettings(epochs, lr=0.1, **options)
    return TrainingRun(trainer or trainer_of(), directory, settings, identity or {})


def resume(run, path):
    """Go on from a checkpoint, as run_ALM.py does; return what it holds."""
    checkpoint = load(path)
    for model in (run.trainer.model, run.trainer.evaluated):
        model.load_state_dict(checkpoint["state_dict"])
    run.load_state_dict(checkpoint)
    return checkpoint


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def figures_of(monkeypatch, *mas, accu=0.25):
    """Let evaluations give these mA."""
    evaluations = iter([evaluation(ma=ma, accu=accu) for ma in mas])
    monkeypatch.setattr(Trainer, "evaluate", lambda *_: next(evaluations))


def evaluation(logits=None, labels=None, **figures):
    """Return an evaluation of these votes (N, K); `figures` replace some of it."""
    logits = torch.zeros(1, 2) if logits is None else torch.as_tensor(logits)
    metrics = alm.AttributeMetrics(logits.shape[1])
    metrics.update(logits, torch.zeros(logits.shape) if labels is None else labels)
    return Evaluation(**({"loss": 0.0, "accu": 0.0, "logits": logits} | metrics.compute() | figures))


def spoil(path, name="first.weight"):
    """Change one byte of a tensor in a checkpoint."""
    content = bytearray(path.read_bytes())
    weight = load(path)["state_dict"][name].numpy().tobytes()
    content[content.index(weight) + 2] ^= 1
    path.write_bytes(content)
