"""What the benchmarks share: processes whose CPU time is counted together, results, and the table."""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time

CGROUP_V1 = "/sys/fs/cgroup/cpuacct"
CGROUP_V2 = "/sys/fs/cgroup"


class Group:
    """A control group: counts the CPU seconds of all processes started in it, and watches how much memory they hold."""

    SAMPLE_SECONDS = 0.02

    def __init__(self, name):
        self.version1 = os.path.isdir(CGROUP_V1)
        base = CGROUP_V1 if self.version1 else CGROUP_V2
        self.path = os.path.join(base, f"doppel-bench-{os.getpid()}-{name}")
        try:
            os.mkdir(self.path)
        except OSError as error:
            sys.exit(f"make the control group {self.path}: {error}; CPU time is counted in one, which needs root")
        self.peak_rss = 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def popen(self, command, **options):
        """Starts a process in the group; it is there before it is the program."""
        procs = os.path.join(self.path, "cgroup.procs")

        def enter():
            with open(procs, "w") as file:
                file.write(str(os.getpid()))

        return subprocess.Popen(command, preexec_fn=enter, stdin=subprocess.DEVNULL, **options)

    def seconds(self):
        if self.version1:
            with open(os.path.join(self.path, "cpuacct.usage")) as file:
                return int(file.read()) / 1e9
        with open(os.path.join(self.path, "cpu.stat")) as file:
            return next(int(line.split()[1]) for line in file if line.startswith("usage_usec")) / 1e6

    def watch(self):
        while not self.over.wait(self.SAMPLE_SECONDS):
            with open(os.path.join(self.path, "cgroup.procs")) as file:
                self.peak_rss = max(self.peak_rss, sum(map(rss, file.read().split())))

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
        return seconds, self.peak_rss


def rss(pid):
    """The resident MiB of a process, none of one that is gone or is still this script on its way to be another program."""
    try:
        if os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.executable):
            return 0
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0


def wait(process, what, expected=0):
    """Waits for a process and expects it to end with this code, or with any if that is None."""
    if process.wait() != expected and expected is not None:
        sys.exit(f"{what} ended with {process.returncode}")


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}"


class Results:
    """Pairs of measurements of one benchmark, by case and metric."""

    def __init__(self, bench, musts):
        self.bench, self.musts, self.pairs = bench, musts, {}

    def add(self, case, metric, ours, theirs):
        self.pairs.setdefault((case, metric), []).append((ours, theirs))

    def rows(self):
        """One row per case and metric: medians, and the median of the pairs' ratios."""
        for (case, metric), pairs in self.pairs.items():
            ours, theirs = (statistics.median(column) for column in zip(*pairs))
            ratios = [mine / other for mine, other in pairs if other]
            yield {
                "bench": self.bench,
                "case": case,
                "metric": metric,
                "ours": round(ours, 3),
                "theirs": round(theirs, 3),
                "ratio": round(statistics.median(ratios), 3) if ratios else None,
                "must": self.musts.get((case, metric)),
                "n": len(pairs),
            }

    def report(self, file):
        """Prints the table, appends the JSON lines, and returns the rows that miss their must."""
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        here = machine()
        os.makedirs(os.path.dirname(file), exist_ok=True)
        missed = []
        print(f"\n{'case':<14}{'metric':<20}{'ours':>10}{'theirs':>10}{'ratio':>8}{'must':>8}")
        with open(file, "a") as out:
            for row in self.rows():
                must, ratio = row["must"], row["ratio"]
                bad = must is not None and (ratio is None or ratio > must)
                if bad:
                    missed.append(row)
                print(
                    f"{row['case']:<14}{row['metric']:<20}{row['ours']:>10.2f}{row['theirs']:>10.2f}"
                    f"{'' if ratio is None else f'{ratio:.2f}':>8}{'' if must is None else f'{must:.2f}':>8}"
                    f"{'  MISSED' if bad else ''}"
                )
                out.write(json.dumps({**row, "date": stamp, "machine": here}) + "\n")
        print(f"\n{here}; appended to {os.path.relpath(file)}")
        return missed
