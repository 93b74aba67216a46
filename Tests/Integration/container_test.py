"""The image, and the agent in it as a Kubernetes node would run it.

tools/image makes the image, without an engine. PODWIRE names the binary that is the sensor.
"""

import json
import pathlib
import re
import struct
import subprocess
import tempfile
import unittest

from support import ROOT, captures
from support.cluster import OUTSIDE, Cluster
from support.commands import output
from support.container import Bundle, Container, own_capabilities
from support.endpoint import Endpoint
from support.image import make_image
from support.manifests import FOLDER, build, environment
from support.namespace import await_listener, command_in
from support.program import Program
from support.waiting import PATIENCE_SECONDS
from places import as_bytes

NODES = ("node1", "node2")
COMPRESSED_BYTES_MAX = 15_000_000
# As bits (capabilities(7)).
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
# The tables in which Cilium notes the backends of calls: name, length of key and of value.
CILIUM_TABLES = [(f"cilium_{name}", key, value) for name, key, value in (
    ("ct4_global", 14, 56), ("ct_any4_global", 14, 56), ("lb4_backends_v3", 4, 12))]
SYS_ADMIN = {"CAP_SYS_ADMIN": 21}
# What a kubelet's words for the propagation of mounts are to a runtime.
PROPAGATION = {None: "rprivate", "HostToContainer": "rslave"}

# Who sends to which address and port, and which the sensor is to see: that of a pod of the same node,
# of the other one, of none, and a service's backend.
FLOWS = (("a1", ("10.244.1.3", 9999), ("10.244.1.3", 9999)),
         ("b1", ("10.244.2.2", 9999), ("10.244.2.2", 9999)),
         ("b2", (OUTSIDE, 9999), (OUTSIDE, 9999)),
         ("c2", ("10.96.0.11", 80), ("10.244.1.2", 8081)))
COUNT = 200

# Sends numbered datagrams, some of them in pieces.
SENDER = r"""
import socket, struct, sys, time
flow, address, port, count = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(count):
    length = 3000 if number % 20 == 19 else 100
    out.sendto(struct.pack("!II", flow, number).ljust(length, b"."), (address, port))
    time.sleep(0.001)
"""


def arrivals(path):
    """By flow and where it went to, how many of its datagrams are in a file, and the most often that
    one of them is."""
    counts = {}
    for packet in captures.packets(captures.read(path)):
        if packet.form and packet.form[0] == 17:
            flow, number = struct.unpack_from("!II", packet.data, 42)
            numbers = counts.setdefault((flow, packet.form[2], *packet.form[4:]), {})
            numbers[number] = numbers.get(number, 0) + 1
    return {key: (len(numbers), max(numbers.values())) for key, numbers in counts.items()}


class ContainerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.archive = f"{cls.folder.name}/image.tar"
        make_image(cls.archive)
        cls.cluster = Cluster("ct", "ptp")
        cls.addClassCleanup(cls.cluster.remove)

    def setUp(self):
        self.bundle = Bundle(self.archive)
        self.addCleanup(self.bundle.folder.cleanup)
        self.capture = f"{self.bundle.folder.name}/sensor.pcapng"
        self.collector = Program(self.cluster.name("outside"), "collect", "--output", self.capture)
        self.addCleanup(self.collector.kill)
        self.collector.await_text("listening")

    def file(self, name, text):
        path = pathlib.Path(self.bundle.folder.name, name)
        path.write_text(text)
        return path

    def start(self, capabilities, files, **options):
        containers = []
        for node in NODES:
            containers.append(
                Container(self.bundle, self.cluster.name(node), capabilities, files, **options))
            self.addCleanup(containers[-1].kill)
        for container in containers:
            container.await_text("capture started")
        return containers

    def check_rights(self, container, capabilities):
        """It has these capabilities, as a root that is confined."""
        status = container.status()
        mask = f"{sum(1 << bit for bit in capabilities.values()):016x}"
        for name in ("CapPrm", "CapEff", "CapBnd"):
            self.assertEqual(status[name], mask, name)
        for name in ("CapInh", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual((status["Uid"].split()[0], status["NSpid"].split()[-1]), ("0", "1"))
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def start_as(self, pod, container, node, shared, **variables):
        """Starts a container of a manifest on a node, with what the manifest gives it and no more.
        `shared` stands for its empty volume."""
        context, sources = container["securityContext"], {}
        self.assertIs(context["readOnlyRootFilesystem"], True)
        self.assertIs(context["allowPrivilegeEscalation"], False)
        for volume in pod["spec"]["volumes"]:
            sources[volume["name"]] = volume["hostPath"]["path"] if "hostPath" in volume else shared
        folders = [(mount["mountPath"], sources[mount["name"]],
                    ["rbind", PROPAGATION[mount.get("mountPropagation")],
                     "ro" if mount.get("readOnly") else "rw"])
                   for mount in container["volumeMounts"]]
        started = Container(
            self.bundle, self.cluster.name(node),
            [f"CAP_{name}" for name in context["capabilities"]["add"]], {}, folders=folders,
            arguments=container["args"], **{**environment(container), **variables})
        self.addCleanup(started.kill)
        return started

    def name_server(self):
        """Starts one that knows the sensor, and returns what a kubelet tells a container about it."""
        server = subprocess.Popen(
            command_in(self.cluster.name("outside"), "dnsmasq", "--keep-in-foreground",
                       "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
                       "--pid-file", f"--listen-address={OUTSIDE}", "--bind-interfaces",
                       "--local=/test/", f"--host-record=sensor.site.test,{OUTSIDE}"))
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        await_listener(self.cluster.name("outside"), 53, "udp")
        return self.file("resolv.conf", f"search pods.test site.test\nnameserver {OUTSIDE}\n"
                                        "options ndots:5\n")

    def talk(self):
        """Has the pods send, all at once."""
        senders = [subprocess.Popen(self.cluster.python(pod, SENDER, flow, address, port, COUNT))
                   for flow, (pod, (address, port), _) in enumerate(FLOWS)]
        self.assertEqual([sender.wait(PATIENCE_SECONDS) for sender in senders], [0] * len(FLOWS))

    def check_feed(self, containers):
        """Ends all, and sees that every datagram has come once, in its form."""
        for container in containers:
            Endpoint(container.namespace).settled()
            self.assertEqual(container.stop(), 0, container.text())
        self.collector.await_text("agent gone", len(containers))
        self.assertEqual(self.collector.stop(), 0)
        self.assertEqual(
            arrivals(self.capture),
            {(flow, as_bytes(address), port): (COUNT, 1)
             for flow, (_, _, (address, port)) in enumerate(FLOWS)})

    def test_with_two_capabilities_and_nothing_else(self):
        """What our manifest asks for: and the sensor is a name, which only DNS knows."""
        containers = self.start(
            list(CAPABILITIES), {"/etc/resolv.conf": self.name_server()},
            EXTRAHOP_SENSOR_IP="sensor", PODNET="10.244.0.0/16,fd00:10:244::/56",
            SVCNET="10.96.0.0/16,fd00:10:96::/112")
        for container in containers:
            self.check_rights(container, CAPABILITIES)
        edges = json.loads(containers[0].execute("/usr/bin/podwire", "edges", "--json"))
        self.assertEqual([edge["captured"] for edge in edges].count(True), 3, edges)
        report = json.loads(containers[0].execute("/usr/bin/podwire", "doctor", "--json"))
        self.assertEqual((report["failed"], report["warning"]), (0, 0), report)
        self.talk()
        # What is missing or must not be done would be said at these levels, or by the runtime.
        for container in containers:
            for line in container.text().splitlines():
                self.assertIn(line.split()[1], ("info", "notice"), container.text())
        self.check_feed(containers)

    def test_cilium_s_tables_are_read_with_one_capability_more(self):
        """What components/cilium-services adds: BPF, and the folder of the pins, to be read only."""
        pins = tempfile.mkdtemp(dir=self.bundle.folder.name)
        output("mount", "-t", "bpf", "none", pins)
        self.addCleanup(output, "umount", "-l", pins)
        pathlib.Path(pins, "tc/globals").mkdir(parents=True)
        for name, key, value in CILIUM_TABLES:
            output("bpftool", "map", "create", f"{pins}/tc/globals/{name}", "type", "hash", "key", key,
                   "value", value, "entries", 16, "name", "table")
        settings = {"EXTRAHOP_SENSOR_IP": OUTSIDE, "PODNET": "10.244.0.0/16", "SVCNET": "10.96.0.0/16"}
        for more, grade, text in (
                (["CAP_BPF"], "ok", "calls to services are looked up in Cilium's tables"),
                ([], "warning", "needs CAP_BPF: start it with that capability, or in Kubernetes add it under securityContext.capabilities")):
            with self.subTest(more):
                container = Container(self.bundle, self.cluster.name("node1"), [*CAPABILITIES, *more],
                                      {"/sys/fs/bpf": pins}, **settings)
                self.addCleanup(container.kill)
                container.await_text(text)
                report = json.loads(container.execute("/usr/bin/podwire", "doctor", "--json"))
                [found] = [one for one in report["findings"] if one["check"] == "service-translation"]
                self.assertEqual(found["grade"], grade, found)
                mounts = pathlib.Path(f"/proc/{container.pid}/mountinfo").read_text()
                [options] = re.findall(r" /sys/fs/bpf (\S+) ", mounts)
                self.assertIn("ro", options.split(","))
                self.assertEqual(container.stop(), 0, container.text())

    def test_taps_inside_pods(self):
        """With what components/pod-taps asks for: two containers, and in between them a socket."""
        pod = build(FOLDER / "overlays/pod-taps")["DaemonSet", "extrahop-rpcapd"]["spec"]["template"]
        agent, opener = pod["spec"]["containers"]
        agents, openers = [], []
        for node in NODES:
            shared = pathlib.Path(self.bundle.folder.name, node)
            shared.mkdir(mode=0o777)
            openers.append(self.start_as(pod, opener, node, shared))
            openers[-1].await_text("opener listening")
            # As its probes do, which succeed or raise.
            probe = opener["startupProbe"]["exec"]["command"]
            openers[-1].execute(*probe)
            agents.append(self.start_as(
                pod, agent, node, shared, EXTRAHOP_SENSOR_IP=OUTSIDE, PODNET="10.244.0.0/16,fd00:10:244::/56",
                SVCNET="10.96.0.0/16,fd00:10:96::/112"))
            agents[-1].await_text("capture started")
        for container in agents:
            self.check_rights(container, CAPABILITIES)
        for container in openers:
            self.check_rights(container, SYS_ADMIN | {"CAP_NET_RAW": CAPABILITIES["CAP_NET_RAW"]})
        edges = json.loads(agents[0].execute("/usr/bin/podwire", "edges", "--json"))
        self.assertEqual([edge["tap"] for edge in edges if edge["captured"]], ["pod"] * 3, edges)
        report = json.loads(agents[0].execute("/usr/bin/podwire", "doctor", "--json"))
        self.assertEqual((report["failed"], report["warning"]), (0, 0), report)
        [taps] = [one for one in report["findings"] if one["check"] == "pod-taps"]
        self.assertEqual(taps["found"],
                         "the opener answers, and the network namespaces of 3 edges are found")
        self.talk()
        for container in agents + openers:
            for line in container.text().splitlines():
                self.assertIn(line.split()[1], ("info", "notice"), container.text())
        self.check_feed(agents)
        for container in openers:
            self.assertEqual(container.stop(), 0, container.text())
            self.assertRegex(container.text(), r"agent disconnected .*failed=0 opened=3 ")

    def test_in_the_place_of_rpcapd(self):
        """ExtraHop's manifest with another image: privileged, the node's processes, these variables;
        with all that a kubelet mounts. The root can be written to, and is not."""
        secret = pathlib.Path(self.bundle.folder.name, "secret")
        secret.mkdir()
        files = {"/etc/hosts": self.file("hosts", f"127.0.0.1 localhost\n{OUTSIDE} eda\n"),
                 "/etc/hostname": self.file("hostname", "node\n"),
                 "/etc/resolv.conf": self.file("resolv.conf", "nameserver 127.0.0.1\n"),
                 "/dev/termination-log": self.file("termination-log", ""),
                 "/var/run/secrets/kubernetes.io/serviceaccount": secret}
        containers = self.start(
            own_capabilities(), files, privileged=True, EXTRAHOP_SENSOR_IP="eda",
            RPCAPD_TARGET_PORT="2003", PODNET="10.244.0.0/16", SVCNET="10.96.0.0/16", INTERFACE="eth0")
        self.assertIn("capture started data=TCP device=eth0 ", containers[0].text())
        before = self.bundle.files()
        # Of all that it is given it keeps what an agent can use.
        kept = {"NET_BROADCAST": 11, "NET_ADMIN": 12, "NET_RAW": 13, "BPF": 39}
        held = {name: bit for name, bit in kept.items() if f"CAP_{name}" in own_capabilities()}
        for container in containers:
            self.assertEqual(int(container.status()["CapEff"], 16),
                             sum(1 << bit for bit in held.values()))
        self.talk()
        self.check_feed(containers)
        self.assertEqual(self.bundle.files(), before)

    def test_what_it_says_about_itself(self):
        for transport in ("oci-archive", "docker-archive"):
            image = json.loads(output("skopeo", "inspect", "--config", f"{transport}:{self.archive}"))
            self.assertEqual(image["config"]["Entrypoint"], ["/usr/bin/podwire"])
            self.assertEqual(image["config"]["Cmd"], ["agent"])
        manifest = json.loads(output("skopeo", "inspect", "--raw", f"oci-archive:{self.archive}"))
        self.assertEqual(manifest["annotations"], image["config"]["Labels"])
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
        revision = head.stdout.strip() or "unknown"
        labels = {name.removeprefix("org.opencontainers.image."): value
                  for name, value in manifest["annotations"].items()}
        # The second where files of the commit are changed.
        self.assertIn(labels["revision"], (revision, f"{revision}-modified"))
        self.assertTrue(labels.keys() >= {"title", "description", "version", "created"}, labels)
        size = sum(part["size"] for part in [manifest["config"], *manifest["layers"]])
        self.assertLess(size, COMPRESSED_BYTES_MAX)

    def test_it_has_its_man_page_and_completions(self):
        for name in ("man/man1/podwire.1", "bash-completion/completions/podwire",
                     "zsh/site-functions/_podwire", "fish/vendor_completions.d/podwire.fish"):
            self.assertTrue((self.bundle.rootfs / "usr/share" / name).is_file(), name)


if __name__ == "__main__":
    unittest.main()
