"""The generated project's data component: what is trained is the response, in the template's own words."""

import importlib.util
import itertools
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.tiny_models import RECIPES, make_tiny_model

pytestmark = pytest.mark.olive

ROWS = [
    {"prompt": "What should I eat in Bologna?", "response": "Pick: Tagliatelle.\nReason: Fresh.\nTip: Come early."},
    {"prompt": "And in Rome?", "response": "Pick: Cacio e pepe.\nReason: Local.\nTip: Share it."},
]


@pytest.fixture(scope="module")
def chat_data():
    """The component, imported as Olive imports it."""
    path = REPOSITORY / "template" / "fine-tuning" / "chat_data.py"
    spec = importlib.util.spec_from_file_location("chat_data", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["chat_data"] = module
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "OLIVE_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"):
            patch.setenv(name, "1")
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["llama-chatml", "llama", "phi3", "qwen2", "mistral", "gemma3_text"])
def folder(request, tmp_path_factory):
    return make_tiny_model(request.param, tmp_path_factory.mktemp(request.param))


def dataset(rows):
    from datasets import Dataset

    return Dataset.from_list(rows)


def processed(chat_data, folder, rows=ROWS, **options):
    from transformers import AutoTokenizer

    data = chat_data.chat_pre_process(dataset(rows), str(folder), **options)
    return AutoTokenizer.from_pretrained(folder), [data[index] for index in range(len(data))]


@pytest.mark.filterwarnings("ignore")
def test_loss_is_on_the_response_alone(chat_data, folder):
    tokenizer, samples = processed(chat_data, folder)
    assert len(samples) == 2
    for (_, labels), row in zip(samples, ROWS, strict=True):
        trained = tokenizer.decode([token for token in labels.tolist() if token != -100], skip_special_tokens=True)
        assert trained.strip() == row["response"]
        ended = [token for token in labels.tolist() if token != -100][-1]
        assert ended in tokenizer.all_special_ids


@pytest.mark.filterwarnings("ignore")
def test_text_is_the_templates_own(chat_data, folder):
    tokenizer, samples = processed(chat_data, folder)
    for (features, _), row in zip(samples, ROWS, strict=True):
        messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
        text = tokenizer.decode(features["input_ids"].tolist())
        expected = tokenizer.decode(tokenizer.encode(whole.rstrip("\n"), add_special_tokens=False))
        assert text == expected


@pytest.mark.filterwarnings("ignore")
def test_worker_and_component_encode_alike(chat_data, folder):
    from transformers import AutoTokenizer

    from scaffolder.worker.chat import encode

    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there."}]
    assert chat_data.encode(tokenizer, messages) == encode(tokenizer, messages)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_packed_examples_do_not_see_each_other(recipe, attention, chat_data, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model(recipe, tmp_path / recipe)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention).eval()
    model.config.use_cache = False  # as the trainer sets it
    rows = [{"prompt": f"{row['prompt']} {'Why? ' * n}", "response": row["response"]} for row in ROWS for n in range(3)]
    tokenizer, alone = processed(chat_data, folder, rows)
    longest = max(len(features["input_ids"]) for features, _ in alone)
    _, packed = processed(chat_data, folder, rows, packing="pack", max_seq_len=2 * longest + 3)
    assert len(packed) < len(alone)
    batch = chat_data.collate_packed([{**features, "labels": labels} for features, labels in packed], tokenizer)
    assert (batch["position_ids"] == -1).any()
    with torch.inference_mode():
        together = model(**batch).logits[batch["position_ids"] >= 0]
        by_ids = {
            tuple(features["input_ids"].tolist()): model(input_ids=features["input_ids"][None]).logits[0]
            for features, _ in alone
        }
    found = split(torch.cat([features["input_ids"] for features, _ in packed]), batch["position_ids"])
    assert sorted(found) == sorted(by_ids)
    expected = torch.cat([by_ids[ids] for ids in found])
    torch.testing.assert_close(together, expected, atol=2e-5, rtol=1e-4)


def split(tokens, positions):
    """The examples of packed rows, as tuples of ids in order."""
    starts = [*(positions[positions >= 0] == 0).nonzero().flatten().tolist(), len(tokens)]
    return [tuple(tokens[a:b].tolist()) for a, b in itertools.pairwise(starts)]


@pytest.mark.filterwarnings("ignore")
class TestOptions:
    @pytest.fixture(scope="class")
    def chatml(self, tmp_path_factory):
        return make_tiny_model("llama-chatml", tmp_path_factory.mktemp("chatml"))

    def test_all_tokens_can_be_trained(self, chat_data, chatml):
        _, samples = processed(chat_data, chatml, train_on="all")
        features, labels = samples[0]
        assert features["input_ids"].tolist() == labels.tolist()

    def test_messages_are_trained_on_the_last_answer(self, chat_data, chatml):
        messages = [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "First."},
            {"role": "user", "content": "Two?"},
            {"role": "assistant", "content": "Second."},
        ]
        tokenizer, samples = processed(chat_data, chatml, [{"turns": messages}], messages_column="turns")
        _, labels = samples[0]
        trained = tokenizer.decode([token for token in labels.tolist() if token != -100], skip_special_tokens=True)
        assert trained.strip() == "Second."

    def test_system_prompt_comes_first(self, chat_data, chatml):
        tokenizer, samples = processed(chat_data, chatml, system_prompt="Be brief.")
        assert "Be brief." in tokenizer.decode(samples[0][0]["input_ids"].tolist())

    def test_long_rows_are_cut_and_rows_without_a_trained_token_left_out(self, chat_data, chatml):
        _, samples = processed(chat_data, chatml)
        lengths = [len(features["input_ids"]) for features, _ in samples]
        _, cut = processed(chat_data, chatml, max_seq_len=min(lengths) - 2)
        assert max(len(features["input_ids"]) for features, _ in cut) == min(lengths) - 2
        with pytest.raises(ValueError, match="no row has a token to learn"):
            processed(chat_data, chatml, max_seq_len=3)

    @pytest.mark.parametrize("train_on", ["response", "all"])
    def test_packing_keeps_every_example_and_its_labels(self, train_on, chat_data, chatml):
        rows = [{"prompt": "Why? " * n, "response": "Because."} for n in range(1, 20)]
        _, alone = processed(chat_data, chatml, rows, train_on=train_on)
        _, packed = processed(chat_data, chatml, rows, train_on=train_on, packing="pack", max_seq_len=200)
        assert max(len(labels) for _, labels in packed) <= 200
        # As full as can be: fewer sequences could not hold them.
        tokens = sum(len(labels) for _, labels in alone)
        assert len(packed) == -(-tokens // 200)
        wanted = sorted((features["input_ids"].tolist(), [-100, *labels.tolist()[1:]]) for features, labels in alone)
        found = []
        for features, labels in packed:
            starts = [*(features["position_ids"] == 0).nonzero().flatten().tolist(), len(labels)]
            for a, b in itertools.pairwise(starts):
                assert features["position_ids"][a:b].tolist() == list(range(b - a))
                found.append((features["input_ids"][a:b].tolist(), labels[a:b].tolist()))
        assert sorted(found) == wanted

    def test_packing_is_the_same_every_time(self, chat_data, chatml):
        packed = [processed(chat_data, chatml, packing="pack")[1] for _ in range(2)]
        assert [labels.tolist() for _, labels in packed[0]] == [labels.tolist() for _, labels in packed[1]]

    def test_missing_column_is_named(self, chat_data, chatml):
        with pytest.raises(ValueError, match="missing column 'answer'"):
            processed(chat_data, chatml, response_column="answer")
