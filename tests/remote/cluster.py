"""A Slurm cluster of two nodes on loopback: munge, the controller and two node daemons, as a context manager."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "mungekey")
SBIN = ("/usr/sbin", "/sbin")
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={munge}/munge.sock
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
SlurmdTimeout=60
InactiveLimit=0
MinJobAge=300
KillWait=3
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=1
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=1 RealMemory=100 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Return why no cluster can be started here, or None."""
    absent = [name for name in DAEMONS if find(name) is None]
    if absent:
        return f"needs {', '.join(absent)}: `apt-get install slurm-wlm munge`"
    return None if os.getuid() == 0 else "needs root: Slurm's daemons start jobs for others"


def find(name):
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *SBIN]))


@contextlib.contextmanager
def cluster(folder: Path):
    """Start the daemons in `folder`; yield the path of the configuration, for SLURM_CONF."""
    for name in ("state", "spool.n1", "spool.n2"):
        (folder / name).mkdir()
    controller, first = _free_ports()
    config = folder / "slurm.conf"
    # Sockets have short names only, and munge wants a folder that is its owner's alone.
    munge = Path(subprocess.check_output(["mktemp", "-d", "/tmp/munge.XXXXXX"], text=True).strip())
    munge.chmod(0o711)
    config.write_text(
        CONFIG.format(
            host=platform.node().split(".")[0],
            controller=controller,
            first=first,
            second=first + 1,
            folder=folder,
            munge=munge,
            user="root",
        )
    )
    environment = {**os.environ, "SLURM_CONF": str(config)}
    key = munge / "munge.key"
    subprocess.run([find("mungekey"), "--create", f"--keyfile={key}"], check=True)
    key.chmod(0o600)
    places = [f"--{name}={munge / file}" for name, file in MUNGE_FILES.items()]
    daemons = [
        [find("munged"), "--foreground", *places],
        [find("slurmctld"), "-D"],
        *([find("slurmd"), "-D", "-N", node] for node in ("n1", "n2")),
    ]
    started = []
    try:
        for command in daemons:
            output = (folder / f"{len(started)}.out").open("wb")
            with output:
                started.append(
                    subprocess.Popen(
                        command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                    )
                )
            if command[0].endswith("munged"):
                _wait(lambda: (munge / "munge.sock").exists(), folder)
        _wait(lambda: _idle(environment), folder)
        yield config
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(munge)


MUNGE_FILES = {
    "key-file": "munge.key",
    "socket": "munge.sock",
    "pid-file": "munge.pid",
    "log-file": "munge.log",
    "seed-file": "munge.seed",
}


def _free_ports():
    """Return a free port, and the first of two free ones in a row."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        controller = found.getsockname()[1]
    for first in range(17100, 19000, 2):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", first))
            two.bind(("127.0.0.1", first + 1))
            return controller, first
    raise RuntimeError("no free ports")


def _idle(environment):
    said = subprocess.run(
        [find("sinfo"), "-h", "-N", "-o", "%N %t"], env=environment, capture_output=True, text=True, check=False
    )
    return said.returncode == 0 and said.stdout.split() == ["n1", "idle", "n2", "idle"]


def _wait(ready, folder):
    deadline = time.monotonic() + 40
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in folder.glob("*.[lo][ou][gt]"))
            raise RuntimeError(f"the cluster did not start:\n{logs}")
        time.sleep(0.1)
