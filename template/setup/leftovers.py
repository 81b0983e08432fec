"""Find what a half-finished update or merge leaves behind: `python setup/leftovers.py`.

Looks at what git tracks: conflict markers, `.rej` files, entries that are still unmerged. Each is one line,
`file:line: error: message`; the exit code is 1 where there is any.
"""

import re
import subprocess
import sys

MARKER = re.compile(rb"^(<<<<<<<|>>>>>>>)( |\r?$)")


def git(*arguments: str) -> bytes:
    """Return what git prints."""
    return subprocess.run(["git", *arguments], check=True, stdout=subprocess.PIPE).stdout


def leftovers() -> list[str]:
    """Return one line a problem, over the files below the current folder."""
    unmerged = {entry.split(b"\t", 1)[1] for entry in git("ls-files", "-u", "-z").split(b"\0") if entry}
    found = [f"{name.decode()}:1: error: unmerged" for name in sorted(unmerged)]
    for raw in dict.fromkeys(git("ls-files", "-z").split(b"\0")):
        name = raw.decode()
        if name.endswith(".rej"):
            found.append(f"{name}:1: error: changes that an update could not place")
        try:
            with open(name, "rb") as file:
                numbered = enumerate(file, start=1)
                found += [f"{name}:{number}: error: conflict marker" for number, line in numbered if MARKER.match(line)]
        except (FileNotFoundError, IsADirectoryError):
            continue  # deleted here, a submodule, or the empty name at the list's end
    return found


if __name__ == "__main__":
    lines = leftovers()
    print("\n".join(lines) if lines else "no leftovers")
    sys.exit(1 if lines else 0)
