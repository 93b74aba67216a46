"""The sensor: a drain for the data, and a session for the control connection, by hand."""

import json
import pathlib
import subprocess
import sys

from . import network, processes

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "Tests" / "Integration"))
from support import rpcap  # noqa: E402

SENSOR_PORT = 2003
SERVER_OPENS_DATA = 4


class Drain:
    """Where a contestant's packets end. It counts them, and how long they took.

    A slow one takes so many bytes a second at most."""

    def __init__(self, bed, tools, data_format="rpcap", bytes_per_second=0):
        self.process = processes.start(bed.sensor, tools / "drain", network.SENSOR_ADDRESS,
                                       data_format, bytes_per_second, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def ask(self, then=""):
        """The counts since it began, and the delays since it was to forget them."""
        print(then, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    @property
    def pid(self):
        return self.process.pid

    def close(self):
        self.process.kill()
        self.process.communicate()


def listen(bed, index=0):
    """The listener of one of the sensors, for agents that dial it."""
    listener = processes.socket_in(bed.sensor)
    listener.bind((network.SENSOR_ADDRESS, SENSOR_PORT + index))
    listener.listen()
    return listener


def begin(control, device, drain):
    """Has the other side capture, and send what it captures to the drain."""
    session = rpcap.Session(control)
    for request in (rpcap.LOGIN, rpcap.open_device(device.encode()),
                    rpcap.start(drain.port, SERVER_OPENS_DATA)):
        kind, value, payload = session.ask(request)
        if kind == 1:
            session.close()
            raise RuntimeError(f"error {value} from the other side: {payload.decode()}")
    return session
