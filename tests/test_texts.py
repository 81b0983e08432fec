"""Texts go through a model once, for all who want to hear of them."""

import pytest

from scaffolder.worker.agreement import Agreement, Reference
from scaffolder.worker.explain import TaskError
from scaffolder.worker.loss import ResponseLoss
from scaffolder.worker.models import Sample
from scaffolder.worker.texts import score

pytestmark = pytest.mark.olive

TEXTS = [Sample([1, 2, 3, 4], 2), Sample([5, 6, 7], 1), Sample([1, 2, 3, 4], 2), Sample([5, 6, 7], 2)]


class Model:
    """Draws its distributions from the text alone."""

    def __init__(self, vocabulary=9):
        self.vocabulary = vocabulary
        self.scored = []

    def response_logits(self, samples):
        import torch

        for sample in samples:
            self.scored.append(sample)
            draw = torch.Generator().manual_seed(sum(sample.ids) + sample.prompt)
            yield torch.randn((len(sample.ids) - sample.prompt, self.vocabulary), generator=draw)


def test_equal_texts_are_scored_once_and_count_as_often_as_they_stand_there():
    twice, each = Model(), Model()
    loss, half = ResponseLoss(TEXTS), ResponseLoss(TEXTS[:2])
    score(twice, loss, half)
    assert len(twice.scored) == 3
    alone = []
    for text in TEXTS:
        one = ResponseLoss([text])
        score(each, one)
        alone.append((one.figures()["loss"], one.figures()["tokens"]))
    whole = sum(value * tokens for value, tokens in alone) / sum(tokens for _, tokens in alone)
    assert loss.figures()["loss"] == pytest.approx(whole, abs=1e-3)
    assert loss.figures()["tokens"] == 7
    assert half.figures()["tokens"] == 4


def test_a_model_agrees_with_what_it_wrote_itself(tmp_path):
    file = str(tmp_path / "reference.npy")
    written = Reference(file, TEXTS, 9)
    score(Model(), written)
    assert written.figures() == {"places": 7}
    loss, compared = ResponseLoss(TEXTS[:1]), Agreement(file)
    score(Model(), loss, compared)
    assert compared.figures() == {"top1_agreement": 1.0, "kl": 0.0, "places": 7}
    assert loss.figures()["tokens"] == 2


def test_another_vocabulary_cannot_be_compared(tmp_path):
    file = str(tmp_path / "reference.npy")
    written = Reference(file, TEXTS, 9)
    score(Model(), written)
    written.figures()
    with pytest.raises(TaskError, match="the vocabulary has 8 entries, the tuned model's 9"):
        score(Model(8), Agreement(file))
