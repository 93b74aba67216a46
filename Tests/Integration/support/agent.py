"""An agent on a bed's node, the sensor's side of its sessions, and clients that dial it."""

import signal
import socket
import struct
import time

from support import rpcap
from support.endpoint import Endpoint
from support.namespace import listener_in, socket_in
from support.program import Program
from support.waiting import PATIENCE_SECONDS

CLIENT_PORT = 2002
UDP, SERVER_OPENS = 2, 4


class Agent(Program):
    """An agent on a bed's node."""

    def __init__(self, bed, sensors="127.0.0.1", arguments=(), prefix=(), **variables):
        super().__init__(bed.node, "agent", *arguments, prefix=prefix, **{
            "EXTRAHOP_SENSOR_IP": sensors, "PODNET": "10.244.0.0/16", **variables})
        self.endpoint = Endpoint(bed.node)

    def stop(self, number=signal.SIGTERM):
        """Ends the agent, and returns its exit code and how many seconds that took."""
        begin = time.monotonic()
        code = super().stop(number)
        return code, time.monotonic() - begin


class SensorSession(rpcap.Session):
    """A sensor's side of a session, by hand."""

    def __init__(self, listener):
        super().__init__(listener.accept()[0])

    def start(self, bed, instructions=rpcap.KEEP_ALL, device=b"any-eth"):
        """Starts a capture over TCP, and returns the agent's reply."""
        self.ask(rpcap.LOGIN)
        self.ask(rpcap.LIST)
        self.ask(rpcap.open_device(device))
        self.listener = listener_in(bed.node, "127.0.0.1", 0)
        reply = self.ask(rpcap.start(self.listener.getsockname()[1], SERVER_OPENS, instructions))
        if reply[0] == 0x84:
            self.data = self.listener.accept()[0]
            self.data.settimeout(PATIENCE_SECONDS)
        return reply


class Client(rpcap.Session):
    """A client that has dialled the agent of a node; its sockets are in the node's namespace."""

    def __init__(self, node, source="127.0.0.1"):
        self.node, self.source = node, source
        control = self.socket()
        try:
            control.bind((source, 0))
            control.connect(("127.0.0.1", CLIENT_PORT))
        except OSError:
            control.close()
            raise
        super().__init__(control)

    def socket(self, kind=socket.SOCK_STREAM):
        made = socket_in(self.node, kind=kind)
        made.settimeout(PATIENCE_SECONDS)
        return made

    def log_in(self, device=b"any-eth"):
        assert self.ask(rpcap.LOGIN) == (0x88, 0, bytes.fromhex("00000000d4c3b2a1"))
        kind, _, payload = self.ask(rpcap.open_device(device))
        assert (kind, payload) == (0x83, bytes.fromhex("0000000100000000")), (kind, payload)

    def connect_data(self, port):
        self.data = self.socket()
        self.data.connect(("127.0.0.1", port))

    def start(self, **keywords):
        """Starts a capture over TCP, and returns the data port."""
        if self.data:
            self.data.close()
        kind, _, payload = self.ask(rpcap.start(**keywords))
        assert kind == 0x84, payload
        size, port, _ = struct.unpack("!IHH", payload)
        assert size == 0 and port > 0, payload
        self.connect_data(port)
        return port

    def start_udp(self):
        self.data = self.socket(socket.SOCK_DGRAM)
        self.data.bind((self.source, 0))
        kind, _, payload = self.ask(rpcap.start(self.data.getsockname()[1], UDP))
        assert kind == 0x84, payload
        # A large buffer, and no port.
        assert struct.unpack("!IHH", payload) == (8 << 20, 0, 0), payload
