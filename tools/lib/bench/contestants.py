"""Who is measured: the agent as it ships, two floors, a reference daemon where there is one, and what
people use instead of any of them."""

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time

from . import metrics, network, processes, sensor

# What the agent gives an edge that carries much, and what each edge begins with.
BUSY_RING_BYTES, IDLE_RING_BYTES = 64 << 20, 1 << 20
# The best block for a ring that carries much: it holds eight GSO packets, and fits a level 2 cache.
BUSY_BLOCK_BYTES, IDLE_BLOCK_BYTES = 512 << 10, 128 << 10
VXLAN_ID = 42


class Contestant:
    """Captures at a node's edges for as long as it is in a `with`, with a drain behind it."""

    name = ""
    # Whether it can capture at many edges at once.
    takes_all_edges = True
    # After so long without a packet there is none in a ring any more.
    silence_seconds = 0.2
    # The measures that it takes part in; none of them named for all.
    measures = ()
    # What it sends to the drain.
    data_format = "rpcap"

    def __init__(self, bed, tools, program=None, is_busy=True, sensor_count=1, slow=None,
                 arguments=()):
        self.bed, self.tools, self.program, self.is_busy = bed, tools, program, is_busy
        self.sensor_count, self.arguments = sensor_count, arguments
        # Bytes a second that the last sensor takes; as many as come without it.
        self.slow = slow

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.log = stack.enter_context(tempfile.TemporaryFile("a+"))
            # Otherwise a program would write where somebody has just begun to read.
            fcntl.fcntl(self.log, fcntl.F_SETFL, fcntl.fcntl(self.log, fcntl.F_GETFL) | os.O_APPEND)
            speeds = [0] * self.sensor_count
            speeds[-1] = self.slow or 0
            self.drains = [stack.enter_context(contextlib.closing(
                sensor.Drain(self.bed, self.tools, self.data_format, speed))) for speed in speeds]
            self.drain = self.drains[0]
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
        """Waits until nothing has arrived for a while, and answers what has at the first sensor."""
        deadline = time.monotonic() + seconds_max
        counts = [drain.ask() for drain in self.drains]
        while time.monotonic() < deadline:
            time.sleep(self.silence_seconds)
            before, counts = counts, [drain.ask() for drain in self.drains]
            if all(now["bytes"] == then["bytes"] for now, then in zip(counts, before)):
                break
        return counts[0]


class Agent(Contestant):
    """The agent, with as many sensors as wanted."""

    name = "podwire"

    def begin(self, stack):
        listeners = [stack.enter_context(sensor.listen(self.bed, index))
                     for index in range(self.sensor_count)]
        sensors = ",".join(f"{network.SENSOR_ADDRESS}:{sensor.SENSOR_PORT + index}"
                           for index in range(self.sensor_count))
        self.launch(stack, self.program, "agent", "--sensor", sensors,
                    "--pod-network", network.POD_NETWORK,
                    "--service-network", network.SERVICE_NETWORK, *self.arguments)
        for listener, drain in zip(listeners, self.drains):
            session = sensor.begin(listener.accept()[0], "any-eth", drain)
            stack.callback(session.close)


class TunnelAgent(Contestant):
    """The agent with a sensor at the end of a VXLAN tunnel, whose kernel drops what comes."""

    name = "podwire, VXLAN"
    measures = ("vxlan",)

    def begin(self, stack):
        self.sensor = f"vxlan://{network.SENSOR_ADDRESS}:{network.VXLAN_PORT}?vni=1"
        self.launch(stack, self.program, "agent", "--sensor", self.sensor,
                    "--pod-network", network.POD_NETWORK, *self.arguments)
        self.drain = self
        processes.await_true(self.is_capturing, what="the tunnel")

    def is_capturing(self):
        self.log.seek(0)
        return "capture started" in self.log.read()

    def ask(self):
        """The datagrams that the kernel has taken, as a drain counts packets."""
        page = metrics.Page(self.bed.node)

        def value(name):
            return int(sum(page.values(f"podwire_{name}_total", self.sensor).values()))

        return {"packets": value("datagrams_sent"), "lost": value("packets_lost")}

    def await_silence(self, seconds_max=30):
        """Waits until nothing has been sent for a while; a page is made four times a second."""
        deadline = time.monotonic() + seconds_max
        counts = self.ask()
        while time.monotonic() < deadline:
            time.sleep(0.6)
            before, counts = counts, self.ask()
            if counts == before:
                break
        return counts


class Floor(Contestant):
    """A loop from ring to TCP that decides nothing."""

    name = "floor"
    way = "copies"

    def begin(self, stack):
        edges = [pod.edge for pod in self.bed.pods]
        sizes = IDLE_RING_BYTES, IDLE_BLOCK_BYTES
        if self.is_busy:
            edges, sizes = [self.bed.pods[1].edge], (BUSY_RING_BYTES, BUSY_BLOCK_BYTES)
        self.launch(stack, self.tools / "floor", self.way, network.SENSOR_ADDRESS, self.drain.port,
                    *sizes, *edges, stdout=subprocess.PIPE, text=True)
        stack.callback(self.process.stdout.close)
        if self.process.stdout.readline() != "ready\n":
            self.process.wait()
            self.pid


class VectorFloor(Floor):
    """The same without a copy: frames go to the socket straight from the ring."""

    name = "floor, vectors"
    way = "vectors"
    measures = ("cpu", "gso")


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


class Dump(Contestant):
    """tcpdump into netcat: what many do at first. Its packets have no frame on the connection."""

    name = "tcpdump to nc"
    takes_all_edges = False
    silence_seconds = 1.2
    data_format = "pcap"

    def begin(self, stack):
        # With -U nothing stays in tcpdump's buffers.
        command = (f"tcpdump -i {self.bed.pods[1].edge} -U -s 0 -w -"
                   f" | nc {network.SENSOR_ADDRESS} {self.drain.port}")
        self.launch(stack, "bash", "-c", command)
        stack.callback(processes.kill_group, self.process)
        processes.await_true(self.is_listening, what="tcpdump")

    def is_listening(self):
        self.log.seek(0)
        return "listening on" in self.log.read()


class Mirror(Contestant):
    """The kernel's mirror of an edge into a VXLAN device, with no process. The sensor's device counts."""

    name = "mirror"
    takes_all_edges = False
    device = "mirror"

    def begin(self, stack):
        node, edge = self.bed.node, self.bed.pods[1].edge
        self.bed.ip(node, f"link add {self.device} type vxlan id {VXLAN_ID} remote "
                    f"{network.SENSOR_ADDRESS} dev uplink dstport {network.VXLAN_PORT} nolearning",
                    f"link set {self.device} up")
        stack.callback(self.bed.ip, node, f"link del {self.device}")
        for words in (("qdisc", "add", "dev", edge, "clsact"),
                      *(("filter", "add", "dev", edge, hook, "protocol", "all", "u32", "match",
                         "u32", "0", "0", "action", "mirred", "egress", "mirror", "dev",
                         self.device) for hook in ("ingress", "egress"))):
            processes.run("tc", "-n", node, *words)
            if words[0] == "qdisc":
                stack.callback(processes.run, "tc", "-n", node, "qdisc", "del", "dev", edge,
                               "clsact")
        self.process = None

    @property
    def pid(self):
        """No process: the senders pay for everything."""
        return None

    def await_silence(self, seconds_max=30):
        return {"packets": self.bed.mirrored(), "strangers": 0, "ended": False}


# Who competes for the CPU of a whole node.
OTHERS = (Dump, Mirror)
