"""The network: a node with pods on a bridge, the world beyond, and a sensor, in namespaces.

Traffic goes from pod `a` to pod `b`, whose edge reports it if `b` has the lower port; or to the
address of a pod that is on no node of ours, out over a bridge port that is no edge. Who receives
discards at once: what is measured is the way there.
"""

import contextlib
import os
import pathlib

from . import processes

# Followed by the bench's process id, so that benches do not meet.
PREFIX = "bench"
NODE_ADDRESS, SENSOR_ADDRESS = "192.168.100.1", "192.168.100.100"
POD_NETWORK, SERVICE_NETWORK = "10.244.0.0/16", "10.96.0.0/16"
ELSEWHERE_ADDRESS = "10.244.200.2"
OUTSIDE_ADDRESS = "203.0.113.9"
# The pods that talk, and idle ones.
POD_COUNT = 10
FEW_COUNT = 30
VXLAN_PORT = 4789
CROWD_COUNT = 250

QUIET = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
DISCARD = """
table netdev bench {
    chain discard {
        type filter hook ingress device eth0 priority 0;
        udp sport 1-65535 drop;
        tcp dport { 8000, 40000 } drop;
    }
}
"""
DISCARD_MIRROR = f"""
table netdev bench {{
    chain discard {{ type filter hook ingress device eth0 priority 0; udp dport {VXLAN_PORT} drop; }}
}}
"""


class Pod:
    """A pod behind a veth: its namespace, its edge, its addresses. The first two are a and b."""

    def __init__(self, prefix, number):
        self.number = number
        self.namespace = f"{prefix}-pod{number}"
        self.edge = f"veth{number}"
        self.address = f"10.244.{1 + number // 200}.{2 + number % 200}"
        self.mac = f"02:00:0a:f4:{number >> 8:02x}:{number & 255:02x}"


class Network:
    def __init__(self):
        self.prefix = prefix = f"{PREFIX}{os.getpid()}"
        self.node, self.sensor = f"{prefix}-node", f"{prefix}-sensor"
        self.elsewhere = f"{prefix}-elsewhere"
        self.elsewhere_mac = "02:00:0a:f4:ff:ff"
        self.pods = []

    @contextlib.contextmanager
    def made(self):
        try:
            remove_abandoned()
            self.make()
            yield self
        finally:
            self.remove()

    def make(self):
        for name in (self.node, self.sensor, self.elsewhere):
            self.add_namespace(name)
        self.ip(self.node,
                "link add name pods type bridge",
                "link set pods up",
                "addr add 10.244.0.1/16 dev pods",
                f"link add uplink type veth peer name eth0 netns {self.sensor}",
                f"addr add {NODE_ADDRESS}/24 dev uplink",
                "link set uplink up",
                f"link add elsewhere type veth peer name eth0 netns {self.elsewhere}",
                "link set elsewhere master pods up")
        self.ip(self.sensor, f"addr add {SENSOR_ADDRESS}/24 dev eth0", "link set eth0 up")
        processes.run("ip", "netns", "exec", self.sensor, "nft", "-f", "-", input=DISCARD_MIRROR)
        # A veth with the default route is the node's uplink, and not an edge.
        self.ip(self.node, f"route add default via {SENSOR_ADDRESS}")
        # Without any address it might be a pod that has none yet, and so an edge.
        self.ip(self.elsewhere, f"link set eth0 address {self.elsewhere_mac} up",
                f"addr add {OUTSIDE_ADDRESS}/24 dev eth0")
        self.learn("elsewhere", self.elsewhere_mac)
        self.add_pods(POD_COUNT)
        for namespace in (self.elsewhere, self.pods[1].namespace):
            self.discard_in(namespace)
        for near, far in (self.pods[:2], self.pods[1::-1]):
            self.ip(near.namespace, f"neigh add {far.address} lladdr {far.mac} dev eth0")

    def add_namespace(self, name):
        processes.run("ip", "netns", "add", name)
        processes.run("ip", "netns", "exec", name, "sysctl", "-qw", *QUIET)
        self.ip(name, "link set lo up")

    def grow(self, pod_count):
        """Adds pods until there are so many."""
        self.add_pods(max(0, pod_count - len(self.pods)))

    def add_pods(self, count):
        new = [Pod(self.prefix, len(self.pods) + index) for index in range(count)]
        for pod in new:
            self.add_namespace(pod.namespace)
            self.pods.append(pod)
            self.ip(self.node,
                    f"link add {pod.edge} type veth peer name eth0 netns {pod.namespace}",
                    f"link set {pod.edge} master pods up")
            self.ip(pod.namespace, f"link set eth0 address {pod.mac} up",
                    f"addr add {pod.address}/16 dev eth0", "route add default via 10.244.0.1")
            self.learn(pod.edge, pod.mac)

    def discard_in(self, namespace):
        processes.run("ip", "netns", "exec", namespace, "nft", "-f", "-", input=DISCARD)

    def ip(self, namespace, *commands):
        processes.run("ip", "-n", namespace, "-batch", "-", input="\n".join(commands) + "\n")

    def learn(self, port, mac):
        """Who only receives would be forgotten by the bridge, and its frames flooded."""
        processes.run("bridge", "-n", self.node, "fdb", "replace", mac, "dev", port, "master",
                      "static")

    def sent_to(self, pod):
        """Frames and bytes that the node has handed to a pod."""
        return self.count(pod, "tx_packets"), self.count(pod, "tx_bytes")

    def sent_by(self, pod):
        return self.count(pod, "rx_packets"), self.count(pod, "rx_bytes")

    def sent_by_all(self, pods):
        """Frames that the node has got from several pods together."""
        words = [f"/sys/class/net/{pod.edge}/statistics/rx_packets" for pod in pods]
        return sum(map(int, processes.run("ip", "netns", "exec", self.node, "cat", *words).split()))

    def mirrored(self):
        """Packets that the kernel's mirror has sent to the sensor."""
        return self.device_count("mirror", "tx_packets")

    def count(self, pod, name):
        return self.device_count(pod.edge, name)

    def device_count(self, device, name):
        # sysfs shows the namespace in which it was mounted, and `ip netns exec` mounts it anew.
        return int(processes.run("ip", "netns", "exec", self.node, "cat",
                                 f"/sys/class/net/{device}/statistics/{name}"))

    def remove(self):
        remove_namespaces(self.prefix)


def remove_namespaces(prefix):
    """Ends what runs in them first: a namespace lasts as long as its processes."""
    names = [path.name for path in pathlib.Path("/run/netns").glob(f"{prefix}-*")]
    for name in names:
        with contextlib.suppress(RuntimeError):
            for pid in processes.run("ip", "netns", "pids", name).split():
                processes.run("kill", "-KILL", pid)
    for name in names:
        with contextlib.suppress(RuntimeError):
            processes.run("ip", "netns", "del", name)


def remove_abandoned():
    """What a bench has left that was killed before it could clean up."""
    for path in pathlib.Path("/run/netns").glob(f"{PREFIX}*-node"):
        prefix = path.name.removesuffix("-node")
        pid = prefix.removeprefix(PREFIX)
        if pid.isdigit() and not pathlib.Path(f"/proc/{pid}").exists():
            remove_namespaces(prefix)
