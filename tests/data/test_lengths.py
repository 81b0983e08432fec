"""Counted lengths are those of training, whatever a template does around the contents."""

import pytest

from scaffolder.worker.chat import encode
from scaffolder.worker.data.judge import Columns, Example, Judge
from scaffolder.worker.data.lengths import Counter, Lengths, Renderer

CONTENTS = [
    ("What should I eat in Bologna?", "Tagliatelle."),
    ("  spaces around  ", "\n\nlines around\n\n"),
    ("Mark0Of2kram and Mark1Of2kram", "Mark1Of2kram"),
    ("<|im_start|>user", "</s> [INST] <end_of_turn>"),
    ("Ünïcödé 日本語 🙂", "{{ braces }} {% raw %}"),
]


@pytest.fixture(scope="module", params=["llama-chatml", "llama", "phi3", "qwen2", "mistral", "gemma3_text"])
def tokenizer(request, tmp_path_factory):
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    from tests.tiny_models import make_tiny_model

    return AutoTokenizer.from_pretrained(make_tiny_model(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.mark.olive
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "roles",
    [("user", "assistant"), ("system", "user", "assistant"), ("user", "assistant", "user", "assistant")],
)
def test_counts_are_those_of_training(tokenizer, roles):
    renderer, counter = Renderer(tokenizer), Counter(tokenizer)
    for turn in range(20):
        texts = tuple(CONTENTS[(turn + index) % len(CONTENTS)][index % 2] for index in range(len(roles)))
        example = Example(roles, texts)
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        wanted = [len(ids) for ids in encode(tokenizer, messages)]
        assert counter.count(renderer.texts(example)) == wanted


def test_text_without_turns_is_learnt_whole():
    example = Judge(Columns.of({"text_template": "Q: {q}\nA: {a}"})).example({"q": "Why?", "a": 3}, [])
    assert example == Example(("text",), ("Q: Why?\nA: 3",))
    assert Renderer(None).texts(example) == ("", "Q: Why?\nA: 3")


def test_histogram_holds_every_row():
    lengths = Lengths(100)
    for length in (1, 5, 5, 40, 99, 100, 101, 5000, 70_000):
        lengths.add(1, length - 1, line=length)
    found = lengths.figures()
    assert sum(bar[2] for bar in found["histogram"]) == 9
    assert (found["cut_rows"], found["cut_tokens"]) == (3, 1 + 4900 + 69_900)
    assert (found["longest"], found["longest_line"]) == (70_000, 70_000)
    assert found["kept"] == 1 + 5 + 5 + 40 + 99 + 100 * 4
