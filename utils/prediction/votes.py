"""Votes over the pictures of one person, whose id a tracker gave: the mean of the probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alm.inference.prediction import Prediction, Recognition
from utils.io.phrases import counted
from utils.prediction.sources import Source
from utils.prediction.writers import Writer


@dataclass(frozen=True, eq=False)
class Vote(Recognition):
    """The mean over `pictures` pictures of one person."""

    pictures: int

    @property
    def extent(self) -> str:
        return counted(self.pictures, "picture")

    def to_dict(self) -> dict:
        return {"pictures": self.pictures, "attributes": self.rows()}


class Votes(Writer):
    """Gives other writers one vote per person, when all pictures have come."""

    def __init__(self, writers: Sequence[Writer]):
        self.writers = writers
        self.votes: dict[str, Vote] = {}

    def write(self, source: Source, prediction: Prediction) -> None:
        vote = self.votes.get(source.person)
        count = vote.pictures if vote else 0
        before = vote.probabilities if vote else np.zeros(len(prediction.attributes))
        mean = before + (prediction.probabilities - before) / (count + 1)
        self.votes[source.person] = Vote(prediction.attributes, mean, prediction.thresholds, count + 1)

    def finish(self) -> None:
        for person, vote in self.votes.items():
            for writer in self.writers:
                writer.write(Source(person=person), vote)
