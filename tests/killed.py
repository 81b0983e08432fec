"""Runs the command and kills it at the n-th thing of a kind that it does: `killed.py KIND WORD NUMBER ARGUMENT...`.

KIND is the start of an audit event's name and WORD must be in its arguments. With number 0 it lives, and says how
often the thing happened. Processes that it forks count for themselves.
"""

import os
import signal
import sys

kind, word, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0


def watch(event, arguments):
    global count
    if not event.startswith(tuple(kind.split(","))) or word not in repr(arguments):
        return
    count += 1
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from scaffolder.cli import main

    sys.addaudithook(watch)
    code = main(sys.argv[4:])
    sys.stderr.write(f"COUNT {count}\n")
    sys.exit(code)
