"""A slow link, made by a TCP proxy."""

import collections
import contextlib
import socket
import threading
import time


class Link:
    """A link between a source and a destination: what one end sends arrives later at the other, and no faster than so many
    bytes a second in each direction. What does not fit on the link and into a small buffer before it has to wait."""

    BUFFER = 256 * 1024

    def __init__(self, delay, rate):
        self.delay, self.rate, self.carried = delay, rate, 0
        self.most = int(rate * delay) + self.BUFFER
        self.free = [0.0, 0.0]
        self.lock = threading.Lock()
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def to(self, port):
        """A port of the near end of the link, at whose far end this one is."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.sockets.append(listener)
        threading.Thread(target=self.accept, args=(listener, int(port)), daemon=True).start()
        return listener.getsockname()[1]

    def accept(self, listener, port):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.BUFFER)
                far.connect(("127.0.0.1", port))
                self.sockets += [near, far]
                for end in [near, far]:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # The handshake of TCP was with the near end: here is the round trip that it would have taken.
                time.sleep(2 * self.delay)
                for direction, (source, target) in enumerate([(near, far), (far, near)]):
                    threading.Thread(target=self.carry, args=(direction, source, target), daemon=True).start()

    def carry(self, direction, source, target):
        queue, room = collections.deque(), threading.Condition()
        waiting = 0

        def deliver():
            nonlocal waiting
            with contextlib.suppress(OSError):
                while True:
                    with room:
                        while not queue:
                            room.wait()
                        arrival, data = queue.popleft()
                    time.sleep(max(0.0, arrival - time.monotonic()))
                    if not data:
                        target.shutdown(socket.SHUT_WR)
                        return
                    target.sendall(data)
                    with room:
                        waiting -= len(data)
                        room.notify_all()

        threading.Thread(target=deliver, daemon=True).start()
        data = b"more"
        while data:
            try:
                data = source.recv(16 * 1024)
            except OSError:
                data = b""
            with self.lock:
                self.carried += len(data)
                # Connections share the link.
                begin = max(self.free[direction], time.monotonic())
                self.free[direction] = begin + len(data) / self.rate
                arrival = self.free[direction] + self.delay
            with room:
                while waiting > self.most:
                    room.wait()
                queue.append((arrival, data))
                waiting += len(data)
                room.notify_all()
