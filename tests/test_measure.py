"""What a worker measures of itself."""

import subprocess
import sys

import pytest

START_A_CHILD = """
import subprocess, sys
held = bytearray(400 * 2**20)
for at in range(0, len(held), 4096): held[at] = 1
child = "from scaffolder.worker.measure import peak_memory; print(peak_memory())"
print(subprocess.run([sys.executable, "-c", child], check=True, capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_the_process_that_started_a_worker_is_not_counted():
    done = subprocess.run([sys.executable, "-c", START_A_CHILD], check=True, capture_output=True, text=True)
    assert 2**20 < int(done.stdout) < 200 * 2**20
