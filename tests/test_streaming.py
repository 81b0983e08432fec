"""Text out of tokens: whole characters, however the tokens come in, and pauses between the pieces."""

import time

import pytest

from scaffolder.worker.models import Sampling, Text, stream_text
from tests.tiny_models import make_tiny_model

pytestmark = pytest.mark.olive

TEXTS = ["The lamp keeper climbs.", "Grüße aus Köln", "👩\u200d🚀 lands, 日本語 too", " two  spaces\n\nand lines "]


@pytest.fixture(scope="module", params=["llama-chatml", "phi3"])
def tokenizer(request, tmp_path_factory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(make_tiny_model(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
def test_pieces_are_whole_characters_and_join_to_the_text(tokenizer, at_once):
    for wanted in TEXTS:
        tokens = tokenizer.encode(wanted, add_special_tokens=False)
        text = Text(tokenizer)
        pieces = [text.add(tokens[start : start + at_once]) for start in range(0, len(tokens), at_once)]
        assert "".join([*pieces, text.rest()]) == tokenizer.decode(tokens)
        assert not any("\ufffd" in piece for piece in pieces)


class Slow:
    """Gives known tokens, a while apart."""

    def __init__(self, tokenizer, tokens):
        self.tokenizer = tokenizer
        self.tokens = tokens

    def stream(self, _ids, _sampling):
        for token in self.tokens:
            time.sleep(0.001)
            yield token


@pytest.mark.parametrize(("pause", "pieces"), [(0, 21), (99, 2)])
def test_pieces_come_a_pause_apart_and_the_first_at_once(tokenizer, pause, pieces):
    tokens = tokenizer.encode("lamp " * 40, add_special_tokens=False)[:20]
    found = list(stream_text(Slow(tokenizer, tokens), [1], Sampling(), pause=pause))
    assert len(found) == pieces
    assert "".join(piece for piece, _ in found) == tokenizer.decode(tokens)
    assert found[0][1]["tokens"] == 1
    assert found[-1][1]["tokens"] == 20
    assert found[-1][1]["first_token_seconds"] == found[0][1]["first_token_seconds"]


def test_no_token_is_an_empty_answer(tokenizer):
    [(piece, figures)] = stream_text(Slow(tokenizer, []), [1], Sampling(), pause=0)
    assert piece == ""
    assert figures == {"tokens": 0, "first_token_seconds": 0.0, "tokens_per_second": 0.0}
