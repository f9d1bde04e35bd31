"""What the benchmarks share: processes whose CPU time is counted together, results, and the table."""

import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
import typing

CGROUP_V1 = "/sys/fs/cgroup/cpuacct"
CGROUP_V2 = "/sys/fs/cgroup"


class Group:
    """A control group: counts the CPU seconds of all processes started in it, and watches how much memory they hold."""

    SAMPLE_SECONDS = 0.02

    def __init__(self, name, memory=None):
        """`memory` tells the MiB of a process: what it holds now, unless another function is given."""
        self.memory = memory or rss
        self.version1 = os.path.isdir(CGROUP_V1)
        base = CGROUP_V1 if self.version1 else CGROUP_V2
        self.path = os.path.join(base, f"doppel-bench-{os.getpid()}-{name}")
        try:
            os.mkdir(self.path)
        except OSError as error:
            sys.exit(f"make the control group {self.path}: {error}; CPU time is counted in one, which needs root")
        self.peak = 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def popen(self, command, **options):
        """Starts a process in the group; it is there before it is the program."""
        procs = os.path.join(self.path, "cgroup.procs")

        def enter():
            with open(procs, "w") as file:
                file.write(str(os.getpid()))

        return subprocess.Popen(command, preexec_fn=enter, **{"stdin": subprocess.DEVNULL, **options})

    def seconds(self):
        if self.version1:
            with open(os.path.join(self.path, "cpuacct.usage")) as file:
                return int(file.read()) / 1e9
        with open(os.path.join(self.path, "cpu.stat")) as file:
            return next(int(line.split()[1]) for line in file if line.startswith("usage_usec")) / 1e6

    def watch(self):
        while not self.over.wait(self.SAMPLE_SECONDS):
            with open(os.path.join(self.path, "cgroup.procs")) as file:
                self.peak = max(self.peak, sum(map(self.memory, file.read().split())))

    def close(self):
        """Removes the group once its last process is gone; returns its CPU seconds and the most MiB it ever held."""
        for _ in range(500):
            with open(os.path.join(self.path, "cgroup.procs")) as file:
                if not file.read():
                    break
            time.sleep(0.01)
        else:
            sys.exit(f"processes were left behind in {self.path}")
        self.over.set()
        self.watcher.join()
        seconds = self.seconds()
        os.rmdir(self.path)
        return seconds, self.peak


def rss(pid):
    """The resident MiB of a process, none of one that is gone or is still this script on its way to be another program."""
    return status(pid, "VmRSS")


def high_water(pid):
    """The most that a process ever held, by the same rule."""
    return status(pid, "VmHWM")


def status(pid, field):
    try:
        if os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.executable):
            return 0
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) / 2**10 for line in file if line.startswith(field)), 0)
    except OSError:
        return 0


def wait(process, what, expected=0):
    """Waits for a process and expects it to end with this code, or with any if that is None."""
    if process.wait() != expected and expected is not None:
        sys.exit(f"{what} ended with {process.returncode}")


@contextlib.contextmanager
def tmpfs(path):
    """An empty file system in memory: creating files just after deleting as many costs a multiple on ext4."""
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16g,nr_inodes=0,mode=755", "doppel-bench", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
        os.rmdir(path)


def warm(path, size):
    """Writes so many bytes to the tmpfs at `path`, and removes them. To write to memory that a virtual machine's host has yet to find
    costs several times as much, and it would be a matter of chance which of two that are compared has to.
    """
    filler, piece = os.path.join(path, "filler"), bytes(2**20)
    with open(filler, "wb") as file:
        for _ in range(-(-size // len(piece))):
            file.write(piece)
    os.remove(filler)


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}"


class Gate(typing.NamedTuple):
    """What a figure may be at most: the ratio to theirs, or ours itself where there is nothing to compare it with.

    A missed must fails the benchmark. The aim is where we want to be, the floor what arithmetic on the costs of single
    steps (reading, encrypting, writing) says that nobody can beat.
    """

    must: float
    aim: float | None = None
    floor: float | None = None


class Results:
    """Measurements of one benchmark, by case, metric, and what ours are compared with."""

    def __init__(self, bench, gates, peer=None):
        self.bench, self.gates, self.peer, self.runs = bench, gates, peer, {}

    def add(self, case, metric, ours, theirs=None, against=None):
        """One measurement of ours, and theirs of the same minute: the peer's, or those of what it says."""
        self.runs.setdefault((case, metric, against or self.peer), []).append((ours, theirs))

    def rows(self):
        """One row each: medians, and the median of the pairs' ratios."""
        for (case, metric, against), runs in self.runs.items():
            ours, theirs = zip(*runs)
            ratios = [mine / other for mine, other in runs if other]
            gate = self.gates.get((case, metric) if against == self.peer else (case, metric, against))
            yield {
                "bench": self.bench,
                "case": case,
                "metric": metric,
                "ours": round(statistics.median(ours), 3),
                "theirs": round(statistics.median(theirs), 3) if ratios else None,
                "against": against if ratios else None,
                "ratio": round(statistics.median(ratios), 3) if ratios else None,
                **(gate or Gate(None))._asdict(),
                "n": len(runs),
            }

    def report(self, file):
        """Prints the table, appends the JSON lines, and returns the rows that miss their must."""
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        here = machine()
        os.makedirs(os.path.dirname(file), exist_ok=True)
        missed = []
        columns = ["ours", "theirs", "ratio", "must", "aim", "floor"]
        print(f"\n{'case':<34}{'metric':<16}" + "".join(f"{column:>9}" for column in columns) + "  against")
        with open(file, "a") as out:
            for row in self.rows():
                verdict = judge(row)
                if verdict == "MISSED":
                    missed.append(row)
                numbers = "".join("%9s" % ("" if row[column] is None else f"{row[column]:.2f}") for column in columns)
                print(f"{row['case']:<34}{row['metric']:<16}{numbers}  {row['against'] or '':<22}  {verdict}".rstrip())
                out.write(json.dumps({**row, "date": stamp, "machine": here}) + "\n")
        print(f"\n{here}; appended to {os.path.relpath(file)}")
        return missed


def judge(row):
    """What a row's gate says of it; nothing where there is none."""
    if row["must"] is None:
        return ""
    figure = row["ours"] if row["ratio"] is None else row["ratio"]
    if figure > row["must"]:
        return "MISSED"
    return "aim reached" if row["aim"] is not None and figure <= row["aim"] else "met"
