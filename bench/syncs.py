"""The programs that are compared: each copies a source to a destination, and is measured while it does.

Counted: CPU seconds of both ends together (control groups), wall seconds from the start of the source to the end of both,
and the most memory that the processes of each end held at a time.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time

from common import Group, wait


GENERATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen_dataset.py")


def write_key(directory):
    """A file with a pre-shared key, as both kinds of movers read it."""
    path = os.path.join(directory, "psk.txt")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f"volsync:{secrets.token_hex(64)}\n")
    return path


def direct(port):
    """The way from a source to a destination that listens on this port: none but loopback."""
    return port


def doppel(mover, source, destination, key, memory=None, way=direct):
    """One sync with two movers; `memory` as in Group."""
    port = str(free_port())
    near, far = Group("source", memory), Group("destination", memory)
    common = ["--key-file", key, "--volume"]
    receiver = far.popen([mover, "rsync-tls", "destination", "--port", port, *common, destination], **QUIET)
    wait_for_port(port)
    begin = time.monotonic()
    address = ["--address", "127.0.0.1", "--port", str(way(port))]
    sender = near.popen([mover, "rsync-tls", "source", *address, *common, source], **QUIET)
    wait(sender, "the source")
    wait(receiver, "the destination")
    return measured(time.monotonic() - begin, near, far)


def volsync(work, source, destination, key, way=direct):
    """One sync as VolSync's scripts do it, without their sleeps."""
    near, far = Group("source"), Group("destination")
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        control = os.path.join(scratch, "control")
        os.mkdir(control)
        rsyncd = write(scratch, "rsyncd.conf", RSYNCD.format(scratch=scratch, volume=destination, control=control))
        back, front = free_port(), free_port()
        server = write(scratch, "server.conf", SERVER.format(port=back, key=key, rsyncd=rsyncd))
        client = write(scratch, "client.conf", CLIENT.format(port=front, key=key, back=way(back)))
        server = far.popen(["stunnel", server], **QUIET)
        wait_for_port(back)
        begin = time.monotonic()
        client = near.popen(["stunnel", client], **QUIET)
        wait_for_port(front)
        url = f"rsync://127.0.0.1:{front}"
        names = write(scratch, "names", "".join(f"/{name}\n" for name in os.listdir(source)))
        itemize = ["--itemize-changes", "--info=stats2,misc2"]
        copy = ["rsync", "-aAhHSxz", "-r", "--exclude=lost+found", *itemize, f"--files-from={names}"]
        delete = ["rsync", "-rx", "--exclude=lost+found", "--ignore-existing", "--ignore-non-existing", "--delete", *itemize]
        for command in [copy, delete]:
            wait(near.popen([*command, f"{source}/", f"{url}/data"], **QUIET), "rsync")
        wait(near.popen(["rsync", names, f"{url}/control/complete"], **QUIET), "rsync")
        if not os.path.exists(os.path.join(control, "complete")):
            sys.exit("VolSync's destination was not told that it is complete")
        for stunnel in [client, server]:
            stunnel.terminate()
            wait(stunnel, "stunnel", expected=None)
        wait(far.popen(["sync", "-f", destination], **QUIET), "sync")
        wall = time.monotonic() - begin
    return measured(wall, near, far)


def cp(source, destination):
    """No network, no checksums, one process."""
    group = Group("cp")
    begin = time.monotonic()
    wait(group.popen(["cp", "-a", f"{source}/.", destination]), "cp")
    wall = time.monotonic() - begin
    return {"cpu s": group.close()[0], "wall s": wall}


def tar(source, destination):
    """Two processes and a pipe: the least that a copy by stream costs."""
    group = Group("tar")
    begin = time.monotonic()
    packer = group.popen(["tar", "-C", source, "--sparse", "-cf", "-", "."], stdout=subprocess.PIPE)
    unpacker = group.popen(["tar", "-C", destination, "-xpf", "-"], stdin=packer.stdout)
    packer.stdout.close()
    wait(packer, "tar")
    wait(unpacker, "tar")
    wall = time.monotonic() - begin
    return {"cpu s": group.close()[0], "wall s": wall}


def measured(wall, near, far):
    (near_cpu, near_rss), (far_cpu, far_rss) = near.close(), far.close()
    return {"cpu s": near_cpu + far_cpu, "wall s": wall, "rss source MiB": near_rss, "rss dest. MiB": far_rss}


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

RSYNCD = """address = 127.0.0.1
max verbosity = 10
use chroot = false
numeric ids = true
munge symlinks = true
open noatime = true
reverse lookup = false
transfer logging = true
read only = false
log file = {scratch}/rsyncd.log
uid = 0
gid = *
[data]
path = {volume}
[control]
path = {control}
"""

SERVER = """foreground = yes
pid =
syslog = no
socket = l:SO_KEEPALIVE=1
[rsync]
ciphers = kPSK
sslVersionMin = TLSv1.3
PSKsecrets = {key}
accept = 127.0.0.1:{port}
exec = /usr/bin/rsync
execArgs = rsync --server --daemon --config={rsyncd} .
"""

CLIENT = """foreground = yes
pid =
syslog = no
socket = r:SO_KEEPALIVE=1
[rsync]
client = yes
ciphers = PSK
PSKsecrets = {key}
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{back}
"""


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port):
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", int(port))).close()
            return
        except OSError:
            time.sleep(0.005)
    sys.exit(f"nobody listens on port {port}")


def generate(kind, root, scale, mutate=None):
    command = [sys.executable, GENERATOR, kind, root, "--scale", str(scale)]
    subprocess.run(command + (["--mutate", str(mutate)] if mutate else []), check=True)


def digest(root):
    command = [sys.executable, GENERATOR, "digest", root]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
