"""What owners are told of the versions between."""

import pytest

from scaffolder.updater.changelog import Notes, notes

TEXT = """\
# Changelog

## Unreleased

- Not yet

## [1.2.0] - 2026-11-01

### Command

- For users of the command

### Template

- One line
- Two lines,
  of which this is the second

  and a paragraph that explains

## v1.1.0

* Without parts
"""


def test_entries_for_owners_of_projects_are_taken():
    assert notes(TEXT, ["v1.1.0", "v1.2.0"]) == (
        Notes("v1.2.0", ("One line", "Two lines, of which this is the second")),
        Notes("v1.1.0", ("Without parts",)),
    )


@pytest.mark.parametrize("text", ["", "# Changelog\n\n## Unreleased\n\n- Not yet\n"])
def test_changelog_without_the_version_says_nothing(text):
    assert notes(text, ["v1.0.0"]) == ()
