import pytest

from scaffolder.downloader.choose import choose, need_weights
from scaffolder.errors import ScaffolderError, UsageError
from scaffolder.hub import RemoteFile

TEXT = ["config.json", "tokenizer.json", "chat_template.jinja"]


def listed(*names):
    return {name: RemoteFile(1) for name in names}


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["model.safetensors"], ["model.safetensors"]),
        # Whole file and shards: transformers reads the whole one.
        (
            ["model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"],
            ["model.safetensors"],
        ),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ),
        (["model.safetensors", "consolidated.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (["model.safetensors", "onnx/model.onnx", "m.gguf", "original/a.safetensors", "x.pth"], ["model.safetensors"]),
        (["adapter_config.json", "adapter_model.safetensors"], ["adapter_config.json", "adapter_model.safetensors"]),
        (["model.safetensors", "flax_model.msgpack", "tf_model.h5", "pytorch_model.bin"], ["model.safetensors"]),
    ],
)
def test_each_thing_once(files, weights):
    assert choose(listed(*TEXT, *files)) == sorted([*TEXT, *weights])


def test_own_code_only_for_a_trusted_repository():
    files = listed(*TEXT, "model.safetensors", "modeling_own.py")
    assert "modeling_own.py" not in choose(files)
    assert "modeling_own.py" in choose(files, code=True)


def test_include_that_fits_nothing_is_told():
    with pytest.raises(UsageError, match="fits no file"):
        choose(listed(*TEXT), include=["*.bim"])
    with pytest.raises(UsageError, match="fits no file"):
        choose(listed("a.bin", "modeling.py"), include=["*"])


def test_exclude_has_the_last_word():
    assert choose(listed("config.json", "a.gguf"), include=["*.gguf"], exclude=["*"]) == []


def test_repository_with_gguf_alone_says_how_to_convert_it():
    files = listed("config.json", "tiny-Q4.gguf")
    with pytest.raises(ScaffolderError, match="no weights") as raised:
        need_weights("acme/tiny", files, choose(files))
    assert "hf://acme/tiny/tiny-Q4.gguf" in raised.value.hint
