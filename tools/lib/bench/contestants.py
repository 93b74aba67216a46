"""Who is measured: the agent as it ships, the floor, and a reference daemon where there is one."""

import contextlib
import subprocess
import tempfile
import time

from . import network, processes, sensor

# What the agent gives an edge that carries much, and what each edge begins with.
BUSY_RING_BYTES, IDLE_RING_BYTES = 64 << 20, 1 << 20


class Contestant:
    """Captures at a node's edges for as long as it is in a `with`, with a drain behind it."""

    name = ""
    # Whether it can capture at many edges at once.
    takes_all_edges = True
    # After so long without a packet there is none in a ring any more.
    silence_seconds = 0.2

    def __init__(self, bed, tools, program=None, is_busy=True, arguments=()):
        self.bed, self.tools, self.program, self.is_busy = bed, tools, program, is_busy
        self.arguments = arguments

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.log = stack.enter_context(tempfile.TemporaryFile("w+"))
            self.drain = stack.enter_context(contextlib.closing(sensor.Drain(self.bed, self.tools)))
            self.begin(stack)
            self.started_ns = time.time_ns()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self.stack.close()

    def launch(self, stack, *words, **keywords):
        self.launched_ns = time.time_ns()
        self.process = processes.start(self.bed.node, *words, stderr=self.log, **keywords)
        stack.callback(processes.end, self.process)

    @property
    def pid(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} has ended: {self.log.read()[-2000:]}")
        return self.process.pid

    def await_silence(self, seconds_max=30):
        """Waits until nothing has arrived for a while, and answers what has until then."""
        deadline = time.monotonic() + seconds_max
        counts = self.drain.ask()
        while time.monotonic() < deadline:
            time.sleep(self.silence_seconds)
            before, counts = counts, self.drain.ask()
            if counts["bytes"] == before["bytes"]:
                break
        return counts


class Agent(Contestant):
    name = "podwire"

    def begin(self, stack):
        listener = stack.enter_context(sensor.listen(self.bed))
        self.launch(stack, self.program, "agent", "--sensor", network.SENSOR_ADDRESS,
                    "--pod-network", network.POD_NETWORK,
                    "--service-network", network.SERVICE_NETWORK, *self.arguments)
        session = sensor.begin(listener.accept()[0], "any-eth", self.drain)
        stack.callback(session.close)


class Floor(Contestant):
    name = "floor"

    def begin(self, stack):
        edges = [pod.edge for pod in self.bed.pods]
        size = IDLE_RING_BYTES
        if self.is_busy:
            edges, size = [self.bed.pods[1].edge], BUSY_RING_BYTES
        self.launch(stack, self.tools / "floor", network.SENSOR_ADDRESS, self.drain.port, size,
                    *edges, stdout=subprocess.PIPE, text=True)
        stack.callback(self.process.stdout.close)
        if self.process.stdout.readline() != "ready\n":
            self.process.wait()
            self.pid


class Reference(Contestant):
    """libpcap's daemon or one made from it, which captures at one interface."""

    name = "rpcapd"
    takes_all_edges = False
    # It keeps packets for as long as the client's timeout says, which is 500 ms.
    silence_seconds = 0.6
    PORT = 2002

    def begin(self, stack):
        self.launch(stack, self.program, "-4", "-n", "-p", self.PORT, stdout=self.log)
        session = sensor.begin(self.dial(stack), self.bed.pods[1].edge, self.drain)
        stack.callback(session.close)

    def dial(self, stack):
        deadline = time.monotonic() + 10
        while True:
            control = processes.socket_in(self.bed.sensor)
            try:
                control.connect((network.NODE_ADDRESS, self.PORT))
                return stack.enter_context(control)
            except ConnectionRefusedError:
                control.close()
                # One that has ended says why.
                if self.pid and time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
