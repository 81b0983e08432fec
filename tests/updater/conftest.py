import pytest

from tests.templates import Template

TEXT = "".join(f"line {number}\n" for number in range(12))
CONFIG = '{\n  "rate": 1,\n  "steps": 10\n}\n'
CHANGELOG = """\
# Changelog

## 1.1.0

### Template

- Seven is said in words,
  which reads better

### Command

- Not for owners

## 1.0.0

- First
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own: caches and templates lie there."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name, inside in {"HOME": "", "XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config"}.items():
        monkeypatch.setenv(name, str(folder / inside))
    return folder


@pytest.fixture
def template(home):
    """A template with two releases: a changed file, a changed configuration, a new and a deleted file, a question."""
    found = Template(home / "template")
    first = {"readme.md.jinja": "# {{ name }}\n" + TEXT, "config.json": CONFIG, "gone.txt": TEXT, "data.jsonl": "1\n"}
    found.release("v1.0.0", first, skip_if_exists=["*.jsonl"])
    second = {
        "readme.md.jinja": ("# {{ name }}\n" + TEXT).replace("line 7", "line seven"),
        "config.json": CONFIG.replace("10", '10,\n  "warmup": 3'),
        "new.txt.jinja": "{{ colour }}\n",
        "data.jsonl": "2\n",
    }
    colour = {"colour": {"type": "str", "default": "blue", "help": "Which colour?"}}
    found.release("v1.1.0", second, colour, CHANGELOG, skip_if_exists=["*.jsonl"])
    return found


@pytest.fixture
def made(template, tmp_path, monkeypatch):
    """A project at the first release, as the current folder."""
    root = template.project(tmp_path / "made", "v1.0.0", name="mine")
    monkeypatch.chdir(root)
    return root
