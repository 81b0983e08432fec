import tomllib

import pytest

from scaffolder import modellock
from scaffolder.content import Hashes
from scaffolder.errors import ConfigError
from scaffolder.modellock import Difference, LockedFile, LockedModel

SHA = "a" * 64


@pytest.fixture
def root(tmp_path):
    (tmp_path / "model-cache").mkdir()
    return tmp_path


def write(root, text):
    (root / modellock.LOCK).write_text(text)


def test_what_is_written_is_read_again(root):
    model = LockedModel(
        "hf://acme/tiny",
        {'odd "name"\x7f é.json': LockedFile(3, SHA, "b" * 40), "a/b.safetensors": LockedFile(0, SHA)},
        "c" * 40,
        "v1",
        SHA,
    )
    modellock.put(root, "acme/tiny", model)
    assert modellock.read(root) == {"acme/tiny": model}


def test_order_does_not_depend_on_the_order_of_downloads(root):
    one = LockedModel("hf://a/x", {"z": LockedFile(1, SHA), "a": LockedFile(1, SHA)})
    two = LockedModel("hf://b/y", {"a": LockedFile(1, SHA)})
    assert modellock.dumps({"a/x": one, "b/y": two}) == modellock.dumps({"b/y": two, "a/x": one})
    lines = modellock.dumps({"a/x": one}).splitlines()
    assert lines.index(f'"a" = {{ size = 1, sha256 = "{SHA}" }}') < lines.index(
        f'"z" = {{ size = 1, sha256 = "{SHA}" }}'
    )


def test_no_lock_is_an_empty_one(root):
    assert modellock.read(root) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<<<<<<< ours\nversion = 1\n", "models.lock: "),
        ("version = 2\n", "`version`"),
        ('version = 1\n[models."a/b"]\nsource = "x"\nfiles = {}\nother = 1\n', "`models.a/b.other`"),
        ('version = 1\n[models."../b"]\nsource = "x"\nfiles = {}\n', "organisation/name"),
        (
            f'version = 1\n[models."a/b"]\nsource = "x"\nfiles = {{"../c" = {{size=1, sha256="{SHA}"}}}}\n',
            "no path below",
        ),
        ('version = 1\n[models."a/b"]\nsource = "x"\nfiles = {"c" = {size=1, sha256="00"}}\n', "sha256"),
    ],
)
def test_lock_that_cannot_be_trusted_is_refused(root, text, words):
    write(root, text)
    with pytest.raises(ConfigError, match=r"models\.lock") as raised:
        modellock.read(root)
    assert words in raised.value.message


def test_differences_name_every_file(root):
    folder = root / "model-cache" / "a" / "b"
    folder.mkdir(parents=True)
    for name in ("same", "other", "shorter", "more"):
        (folder / name).write_text(name)
    (folder / ".DS_Store").touch()
    hashes = Hashes(root / "memory.json")
    same = modellock.of_folder(folder, hashes, source="local:b").files["same"]
    model = LockedModel(
        "local:b",
        {"same": same, "other": LockedFile(5, SHA), "shorter": LockedFile(9, SHA), "gone": LockedFile(1, SHA)},
    )
    found = modellock.differences(model, folder, hashes)
    assert [(each.path, each.kind) for each in found] == [
        ("gone", "missing"),
        ("more", "extra"),
        ("other", "changed"),
        ("shorter", "changed"),
    ]
    assert found[3] == Difference("shorter", "changed", "has 7 bytes instead of 9")
    # Without hashes sizes alone count, and nothing is read.
    assert "other" not in {each.path for each in modellock.differences(model, folder)}


def test_it_is_toml_with_a_line_a_file(root):
    modellock.put(root, "a/b", LockedModel("hf://a/b", {"c": LockedFile(1, SHA)}))
    text = (root / modellock.LOCK).read_text()
    assert tomllib.loads(text)["models"]["a/b"]["files"] == {"c": {"size": 1, "sha256": SHA}}
    assert sum("sha256" in line for line in text.splitlines()) == 1
