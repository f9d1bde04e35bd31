"""The programs that work in restic repositories, each with a repository, a cache, and a tree to restore to of its own."""

import os
import shutil
import subprocess
import sys
import time

from common import Group, wait
from syncs import QUIET

PASSWORD = "open sesame"


class Side:
    """One of the programs."""

    def __init__(self, program, place, store, memory=None):
        """Everything is below `place`, but for the repository, of which the store tells where it is; `memory` as in Group."""
        self.program, self.memory = program, memory
        repository, keys = store(place)
        self.restored = os.path.join(place, "restored")
        self.environment = {
            **os.environ,
            **keys,
            "RESTIC_REPOSITORY": repository,
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": os.path.join(place, "cache"),
        }
        os.mkdir(self.restored)
        self.run("init")

    def run(self, *arguments, cwd=None):
        """What it cost."""
        group = Group("restic", self.memory)
        begin = time.monotonic()
        process = group.popen([*self.program, *arguments], cwd=cwd, env=self.environment, **QUIET)
        wait(process, " ".join(arguments))
        wall = time.monotonic() - begin
        cpu, rss = group.close()
        return {"cpu s": cpu, "wall s": wall, "rss MiB": rss}

    def check(self):
        return self.run("check", "--read-data")


class Restic(Side):
    """restic as VolSync's script calls it."""

    def backup(self, source):
        return self.run("backup", "--host", "volsync", "--exclude=lost+found", ".", cwd=source)

    def restore(self):
        return self.run("restore", "latest", "-t", ".", "--host", "volsync", cwd=self.restored)


class Doppel(Side):
    def backup(self, source):
        return self.run("backup", source)

    def restore(self):
        return self.run("restore", "latest", "--target", self.restored)


def programs(parser):
    """Adds the options that say which programs are run."""
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(os.path.dirname(here), "target"))
    parser.add_argument("--mover", default=os.path.join(target, "release", "doppel-mover"), help="the program [%(default)s]")
    parser.add_argument("--restic", default=os.environ.get("RESTIC_NEWEST", "restic"), help="restic 0.18 or newer [%(default)s]")


def version(options):
    """Which restic it is. Ends if one of the programs is not there."""
    if not os.access(options.mover, os.X_OK):
        sys.exit(f"{options.mover} is not there: cargo build --release -p doppel-mover")
    if not shutil.which(options.restic):
        sys.exit(f"{options.restic} is not there: go install github.com/restic/restic/cmd/restic@latest, and RESTIC_NEWEST with its path")
    return " ".join(subprocess.run([options.restic, "version"], capture_output=True, text=True, check=True).stdout.split()[:2])


def judge(options, side):
    """restic itself must find the repository whole."""
    subprocess.run([options.restic, "check", "--read-data", "--no-cache"], env=side.environment, check=True, **QUIET)
