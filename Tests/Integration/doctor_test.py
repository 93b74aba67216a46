"""What the doctor finds, on nodes that have each of the faults it knows.

PODWIRE names the binary. All tests share a node with two pods and a world outside.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from support import bypass, commands
from support.commands import make_certificate, output
from support.namespace import (add_namespace, add_wire, await_listener, command_in, in_namespace,
                               ip_in, listener_in, remove_namespaces, run_in)
from support.packet_sizes import set_packet_size
from support.program import PODWIRE, Program
from support.scarcity import Scarcity
from support.waiting import wait_until

PREFIX = f"dt{os.getpid()}"
SENSOR = "192.168.100.100"
SETTINGS = {"EXTRAHOP_SENSOR_IP": SENSOR, "PODNET": "10.244.0.0/16", "SVCNET": "10.96.0.0/12",
            "RES_OPTIONS": "timeout:1 attempts:1"}


def name_of(name):
    return f"{PREFIX}-{name}"


def inside(name, *words, **keywords):
    return run_in(name_of(name), *words, **keywords).stdout


def ip(name, *words):
    return ip_in(name_of(name), *words).stdout


def add_pod(name, address):
    """As ptp plug-ins make them: a route for each pod, and the same gateway for all."""
    add_namespace(name_of(name), ipv6=False)
    add_wire(name_of("node"), name, name_of(name))
    ip("node", "route", "add", address, "dev", name)
    ip(name, "addr", "add", f"{address}/32", "dev", "eth0")
    ip(name, "route", "add", "169.254.1.1", "dev", "eth0")
    ip(name, "route", "add", "default", "via", "169.254.1.1")
    inside("node", "sysctl", "-qw", f"net.ipv4.conf.{name}.proxy_arp=1",
           f"net.ipv4.neigh.{name}.proxy_delay=0")


def setUpModule():
    unittest.addModuleCleanup(remove_namespaces, f"{PREFIX}-")
    for name in ("node", "outside"):
        add_namespace(name_of(name), ipv6=False)
    add_wire(name_of("node"), "uplink", name_of("outside"))
    ip("node", "addr", "add", "192.168.100.1/24", "dev", "uplink")
    ip("outside", "addr", "add", f"{SENSOR}/24", "dev", "eth0")
    ip("node", "route", "add", "default", "via", SENSOR)
    inside("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    add_pod("p1", "10.244.1.2")
    add_pod("p2", "10.244.1.3")


def without(*capabilities):
    """What has a command run without some capabilities."""
    return ["capsh", f"--drop={','.join(capabilities)}", "--shell=/bin/sh", "--", "-c",
            'exec "$0" "$@"']


class Report:
    def __init__(self, result):
        self.code, self.error = result.returncode, result.stderr
        self.findings = json.loads(result.stdout)["findings"] if result.stdout else []

    def of(self, check):
        """The grades and texts of a check's findings."""
        return [(finding["grade"], " | ".join(
            finding[part] or "" for part in ("found", "meaning", "remedy")))
            for finding in self.findings if finding["check"] == check]

    def grades(self):
        return {finding["grade"] for finding in self.findings}


class DoctorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sensor = cls.listener(2003)

    @classmethod
    def tearDownClass(cls):
        cls.sensor.close()

    @staticmethod
    def listener(port, name="outside"):
        return listener_in(name_of(name), "", port)

    def run_doctor(self, *arguments, name="node", prefix=(), binary=PODWIRE, **variables):
        # Which leaves /sys as it is, where control groups are, as `ip netns exec` does not.
        enter = ["nsenter", f"--net=/run/netns/{PREFIX}-{name}"]
        return commands.run(*enter, *prefix, binary, "doctor", *arguments, check=False,
                            env={**os.environ, **SETTINGS, **variables})

    def examine(self, *arguments, **keywords):
        report = Report(self.run_doctor("--json", *arguments, **keywords))
        if report.findings:
            # What counts as failed is the same for people and for scripts.
            self.assertEqual(report.code, 1 if "failed" in report.grades() else 0, report.findings)
            for finding in report.findings:
                isComplete = finding["grade"] == "ok" or finding["meaning"] and finding["remedy"]
                self.assertTrue(isComplete, finding)
        return report

    def assert_found(self, report, check, grade, *texts):
        """There is such a finding, with these texts in it."""
        found = report.of(check)
        matches = [text for other, text in found
                   if other == grade and all(part in text for part in texts)]
        self.assertTrue(matches, f"no {grade} with {texts} in {found} of {check}")

    def assert_ok(self, report, check, *texts):
        self.assertEqual({grade for grade, _ in report.of(check)}, {"ok"}, report.of(check))
        self.assert_found(report, check, "ok", *texts)

    # All is well

    def test_a_node_where_all_is_well(self):
        report = self.examine()
        # Who keeps this machine's clock right is nobody's business here.
        others = [finding for finding in report.findings
                  if finding["grade"] != "ok" and finding["check"] != "clock"]
        self.assertEqual((report.code, others), (0, []))
        for check, text in (("capabilities", "CAP_NET_RAW and CAP_NET_ADMIN"), ("kernel", "Linux"),
                            ("rings", "256 KiB"), ("ring-memory", "up to 256 MiB"),
                            ("large-packets", "up to 64 KiB"),
                            ("queue-memory", "up to 64 MiB"), ("descriptors", "up to"),
                            ("netlink", "interfaces"), ("edges", "2; the addresses of all their pods are known"),
                            ("pod-networks", "10.244.0.0/16"), ("data-path", "2 pods"),
                            ("other-captures", "none"), ("connection-tracking", "available"),
                            ("service-networks", "10.96.0.0/12"),
                            ("sensor", f"{SENSOR}:2003 accepts connections")):
            self.assert_ok(report, check, text)

    def test_what_people_read(self):
        result = self.run_doctor("--sensor", f"{SENSOR}:2044", "--edges", "all")
        lines = result.stdout.splitlines()
        self.assertRegex(lines[0], r"^ok       settings +4 given, the others have their defaults$")
        self.assertRegex(lines[1], r"^ok       capabilities +CAP_NET_RAW and CAP_NET_ADMIN(;|$)")
        sensor = [line for line in lines if line.startswith("warning  sensor")]
        self.assertEqual(len(sensor), 1, result.stdout)
        following = lines[lines.index(sensor[0]) + 1:]
        column = len("warning  ")
        for label in ("means: ", "do: "):
            self.assertTrue(any(line.startswith(" " * column + label) for line in following[:6]),
                            result.stdout)
        self.assertRegex(lines[-1], r"^0 failed, 1 warning, \d notes?, \d+ ok$", result.stdout)
        self.assertLessEqual(max(map(len, lines)), 80, result.stdout)

    def test_exit_codes(self):
        closed = ("--sensor", f"{SENSOR}:2044")
        self.assertEqual(self.run_doctor(*closed).returncode, 0)
        self.assertEqual(self.run_doctor(*closed, "--strict").returncode, 1)
        self.assertEqual(self.run_doctor("--sensor", SENSOR, "--strict").returncode, 0)
        self.assertEqual(self.run_doctor("--no-such-option").returncode, 64)

    # What is set

    def test_nothing_is_set(self):
        """As a newcomer calls it: all else is examined, and what to set is ready to paste."""
        unset = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        node = ("nsenter", f"--net=/run/netns/{PREFIX}-node")
        done = commands.run(*node, PODWIRE, "doctor", "--json", check=False, env=unset)
        report = Report(done)
        self.assertEqual((report.code, report.error), (1, ""))
        failed = {finding["check"] for finding in report.findings if finding["grade"] == "failed"}
        self.assertEqual(failed, {"pod-networks", "sensor"})
        self.assert_found(report, "pod-networks", "failed", "none given", "10.244.1.2 (p1)",
                          "PODNET=10.244.1.0/24: it covers 2 pods of this node; no route shows")
        self.assert_ok(report, "edges", "2; the addresses of all their pods are known")
        ip("node", "route", "add", "10.244.2.0/24", "via", "192.168.100.2")
        try:
            report = Report(commands.run(*node, PODWIRE, "doctor", "--json", check=False, env=unset))
            self.assert_found(report, "pod-networks", "failed",
                              "PODNET=10.244.0.0/16: it covers 2 pods of this node and 1 route")
            # What it proposes is what makes the failure go.
            report = self.examine(PODNET="10.244.0.0/16")
            self.assert_ok(report, "pod-networks", "10.244.0.0/16")
            self.check_manifest(commands.run(
                *node, PODWIRE, "doctor", "--manifest", check=False,
                env={**unset, "EXTRAHOP_SENSOR_IP": SENSOR, "KUBERNETES_SERVICE_HOST": "10.43.0.1"}))
        finally:
            ip("node", "route", "del", "10.244.2.0/24")

    def check_manifest(self, done):
        """Nothing but the list is on standard output, and says where each value comes from."""
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "env:")
        for comment, name, value in (
                ("set here by EXTRAHOP_SENSOR_IP", "EXTRAHOP_SENSOR_IP", SENSOR),
                ("proposed: it covers 2 pods of this node and 1 route to other nodes", "PODNET",
                 "10.244.0.0/16"), ("proposed: 10.43.0.1 is a service", "SVCNET", "10.43.0.0/16")):
            at = lines.index(f"  - name: {name}")
            self.assertEqual(lines[at - 1:at + 2],
                             [f"  # {comment}", f"  - name: {name}", f'    value: "{value}"'])
        self.assertEqual(len(lines), 10)

    def test_settings_that_cannot_be_understood(self):
        """Each has its finding, and the others are examined."""
        for variable, value, check in (("PODNET", "10.244.0.0/33", "pod-networks"),
                                       ("PODWIRE_NICE", "very", "settings"),
                                       ("EXTRAHOP_SENSOR_IP", "a b/c", "settings")):
            with self.subTest(variable):
                report = self.examine(**{variable: value})
                self.assert_found(report, check, "failed", f"{variable}={value} cannot be understood")
                others = {finding["check"] for finding in report.findings
                          if finding["grade"] == "failed"}
                self.assertEqual(others, {check})
                self.assert_ok(report, "edges", "2;")
        report = self.examine(PODWIRE_DEDUPE="off", PODWIRE_QQQ="1")
        self.assertEqual(report.code, 0)
        self.assert_found(report, "settings", "warning", "PODWIRE_DEDUPE is no setting",
                          "did you mean PODWIRE_DEDUP?", "rename it")
        self.assert_found(report, "settings", "warning", "PODWIRE_QQQ is no setting")

    def test_an_empty_podnet(self):
        """It stands for the on-link networks of the default route's interface, where no pods are."""
        report = self.examine(PODNET="")
        self.assert_found(report, "pod-networks", "failed", "192.168.100.0/24 of uplink",
                          "10.244.1.2 (p1), 10.244.1.3 (p2) lie outside",
                          "nothing of them is taken for a pod", "PODNET=10.244.1.0/24")
        self.assertEqual(
            [finding["check"] for finding in report.findings].count("pod-networks"), 1)

    # Capturing inside pods

    def test_pods_cannot_be_captured_inside(self):
        """No folder, no opener, and then files that are no namespaces; a folder without the pods."""
        with tempfile.TemporaryDirectory() as folder:
            opener = pathlib.Path(folder, "opener")
            tap = ("--tap", "pod", "--opener", opener)
            report = self.examine(*tap, "--netns", f"{folder}/none")
            self.assert_found(report, "pod-taps", "warning", f"{folder}/none cannot be read",
                              "PODWIRE_NETNS")
            self.assert_found(report, "pod-taps", "warning", f"there is no opener at {opener}",
                              "k8s/components/pod-taps")
            process = Program(name_of("node"), "opener", "--opener", opener)
            self.addCleanup(process.kill)
            process.await_text("opener listening")
            report = self.examine(*tap)
            self.assert_ok(report, "pod-taps", "the network namespaces of 2 edges are found")
            files = pathlib.Path(folder, "files")
            files.mkdir()
            self.assert_found(self.examine(*tap, "--netns", files), "pod-taps", "warning",
                              "of 2 in 2 edges the network namespace has no file", "--netns")
            (files / "p1").touch()
            self.assert_found(self.examine(*tap, "--netns", files), "pod-taps", "warning",
                              f"such as {files}/p1 should be network namespaces", "HostToContainer")
            self.assertEqual(self.examine().of("pod-taps"), [])

    # What the agent may do

    def test_without_net_raw(self):
        report = self.examine(prefix=without("cap_net_raw"))
        self.assert_found(report, "capabilities", "failed", "CAP_NET_RAW is missing", "exits with 77",
                          "add NET_RAW under the container's securityContext.capabilities")
        self.assertEqual(report.of("rings"), [])

    def test_without_net_admin(self):
        report = self.examine(prefix=without("cap_net_admin", "cap_sys_admin"))
        self.assert_found(report, "capabilities", "warning", "CAP_NET_ADMIN is missing",
                          "flooded frames", "add NET_ADMIN")
        self.assert_found(report, "connection-tracking", "warning", "unavailable",
                          "Operation not permitted", "CAP_NET_ADMIN")
        self.assert_found(report, "pod-networks", "note", "cannot be compared")
        self.assertEqual(report.of("data-path"), [])
        report = self.examine(SVCNET="", prefix=without("cap_net_admin", "cap_sys_admin"))
        self.assert_found(report, "service-networks", "note", "none given", "unavailable")

    def test_without_net_broadcast(self):
        report = self.examine(prefix=without("cap_net_broadcast", "cap_sys_admin"))
        self.assert_found(report, "capabilities", "note", "CAP_NET_BROADCAST is missing",
                          "k8s/podwire.yaml does without")
        self.assert_found(report, "capabilities", "ok", "CAP_NET_RAW")

    def test_threads_that_cannot_be_placed(self):
        report = self.examine("--nice", "-5", prefix=without("cap_sys_nice"))
        self.assert_found(report, "threads", "failed", "niceness -5", "CAP_SYS_NICE")
        self.assert_found(self.examine("--cpus", "8191"), "threads", "failed", "CPUs 8191")
        self.assert_ok(self.examine("--cpus", "0", "--nice", "5"), "threads", "CPUs 0, niceness 5")

    # What there is of memory

    def test_a_kernel_that_has_no_memory_for_a_ring(self):
        with tempfile.TemporaryDirectory() as folder:
            scarcity = Scarcity(folder)
            scarcity.is_on = True
            try:
                report = self.examine(prefix=scarcity.prefix)
            finally:
                scarcity.close()
        self.assert_found(report, "rings", "failed", "PACKET_RX_RING", "Cannot allocate memory",
                          "captures nothing", "leave the node more memory")

    def test_packets_that_do_not_fit_the_ring_memory(self):
        """The size is that of a pod's device, of which the node has no event."""
        self.addCleanup(set_packet_size, name_of("p1"), 65_536, "eth0")
        set_packet_size(name_of("p1"), 524_280, "eth0")
        self.assert_ok(self.examine(), "large-packets", "up to 511 KiB")
        report = self.examine("--ring-memory", "2MiB")
        self.assert_found(report, "large-packets", "warning", "up to 511 KiB", "1 edge: p1",
                          "are lost", "raise --ring-memory")

    def test_rings_beyond_the_nodes_memory(self):
        report = self.examine("--ring-memory", "1024GiB")
        self.assert_found(report, "ring-memory", "warning", "up to 1 TiB", "the node has",
                          "not counted against a container's limit", "lower --ring-memory")
        report = self.examine("--sensor", f"{SENSOR},{SENSOR}:2004")
        self.assert_ok(report, "ring-memory", "up to 256 MiB; ")
        self.assert_ok(report, "queue-memory", "64 MiB for each of 2 sessions")

    def test_queues_beyond_the_containers_limit(self):
        with self.memory_limit(64 << 20) as prefix:
            report = self.examine(prefix=prefix)
            self.assert_found(report, "queue-memory", "warning", "up to 64 MiB",
                              "limit is 64 MiB", "kills the agent", "to 80 MiB or more")
            report = self.examine("--queue-memory", "16MiB", prefix=prefix)
            self.assert_ok(report, "queue-memory", "limit is 64 MiB")

    @contextlib.contextmanager
    def memory_limit(self, byte_count):
        """What has a command run in a control group with a limit, of the version that is here."""
        root = pathlib.Path("/sys/fs/cgroup")
        if (root / "cgroup.controllers").exists():
            with contextlib.suppress(OSError):
                (root / "cgroup.subtree_control").write_text("+memory")
            group, file = root / PREFIX, "memory.max"
        else:
            group, file = root / "memory" / PREFIX, "memory.limit_in_bytes"
        group.mkdir()
        try:
            # A child does not have to set its own: what is around it counts, too.
            (group / "inner").mkdir()
            (group / file).write_text(str(byte_count))
            yield ["sh", "-c", f'echo $$ > {group}/inner/cgroup.procs; exec "$0" "$@"']
        finally:
            for folder in (group / "inner", group):
                if folder.exists():
                    folder.rmdir()

    def test_few_descriptors(self):
        report = self.examine(prefix=["sh", "-c", 'ulimit -n 64; exec "$0" "$@"'])
        self.assert_found(report, "descriptors", "warning", "up to 64 open files, but 70 may be needed",
                          "LimitNOFILE")

    # What the node's network is like

    def test_a_node_without_pods(self):
        add_namespace(name_of("empty"), ipv6=False)
        report = self.examine(name="empty")
        self.assert_found(report, "edges", "note", "none", "hostNetwork: true")
        self.assert_ok(report, "pod-networks")

    def test_an_agent_in_a_pods_network(self):
        report = self.examine(name="p1", EXTRAHOP_SENSOR_IP="127.0.0.1")
        self.assert_found(report, "edges", "failed", "own address 10.244.1.2 is a pod's",
                          "set hostNetwork: true")

    def test_pod_networks_of_others(self):
        report = self.examine(PODNET="10.42.0.0/16")
        self.assert_found(report, "edges", "note", "none among 3 veths", "podwire edges")
        self.assert_found(report, "pod-networks", "failed", "none of 2 pods", "captures nothing",
                          "10.244.1.2 (p1), 10.244.1.3 (p2)", "set PODNET=10.244.1.0/24")
        report = self.examine("--edges", "all", PODNET="10.42.0.0/16")
        self.assert_found(report, "pod-networks", "warning", "none of 2 pods", "twice")

    def test_pods_with_other_addresses(self):
        ip("p1", "addr", "add", "172.31.7.7/32", "dev", "eth0")
        try:
            report = self.examine()
            self.assert_found(report, "pod-networks", "warning", "172.31.7.7 (p1)", "--pod-network")
            report = self.examine(PODNET="172.31.0.0/16")
            self.assert_found(report, "pod-networks", "note", "1 veth left out: 10.244.1.3 (p2)")
            report = self.examine(PODNET="10.244.0.0/16,172.31.0.0/16,10.9.0.0/16")
            self.assert_found(report, "pod-networks", "note", "no pod of this node is in 10.9.0.0/16")
        finally:
            ip("p1", "addr", "del", "172.31.7.7/32", "dev", "eth0")

    def test_pod_networks_with_other_things_in_them(self):
        networks = "10.244.0.0/16,192.168.100.0/24"
        report = self.examine(PODNET=networks)
        self.assert_found(report, "pod-networks", "warning", "own address", "192.168.100.1",
                          "--uncovered")
        report = self.examine("--uncovered", "192.168.100.0/24", PODNET=networks)
        self.assertNotIn("warning", [grade for grade, _ in report.of("pod-networks")])
        report = self.examine(SVCNET="10.244.128.0/17")
        self.assert_found(report, "pod-networks", "warning", "10.244.0.0/16", "overlap")
        report = self.examine(PODNET="10.244.1.2,10.244.1.3/32")
        self.assert_found(report, "pod-networks", "warning", "10.244.1.2/32", "one address")

    def test_packets_that_bypass_their_veths(self):
        """An eBPF program that gives packets to the pod's device is found by what it does, and one
        that forwards them as usual is not."""
        self.addCleanup(self.renew_pod)
        index = inside("node", "cat", "/sys/class/net/p2/ifindex").strip()
        mac = inside("p2", "cat", "/sys/class/net/eth0/address").strip()
        for helper, isFound in ((bypass.BPF_FUNC_redirect, False),
                                (bypass.BPF_FUNC_redirect_peer, True)):
            bypass.attach(name_of("node"), "uplink", helper, int(index))
            before = self.received("p2")
            inside("outside", sys.executable, "-c", SENDER, mac)
            wait_until(lambda: self.received("p2") - before >= 100, "packets do not come")
            report = self.examine(EXTRAHOP_SENSOR_IP="127.0.0.1")
            if isFound:
                self.assert_found(report, "data-path", "warning", "bypass", "p2 (", "no agent")
                self.assertNotIn("p1 (", report.of("data-path")[0][1])
            else:
                self.assert_ok(report, "data-path")

    @staticmethod
    def renew_pod():
        """Without the program, and with counters that begin anew."""
        commands.run("tc", "-n", name_of("node"), "qdisc", "del", "dev", "uplink", "clsact",
                     check=False)
        ip("node", "link", "del", "p2")
        commands.run("ip", "netns", "del", name_of("p2"))
        add_pod("p2", "10.244.1.3")

    @staticmethod
    def received(name):
        """How many packets have come to a pod."""
        return json.loads(ip(name, "-j", "-s", "link", "show", "eth0"))[0]["stats64"]["rx"]["packets"]

    def test_somebody_else_captures(self):
        sniffer = in_namespace(
            name_of("node"), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        with sniffer:
            sniffer.bind(("uplink", 3))
            self.assert_ok(self.examine(), "other-captures")
            sniffer.bind(("p1", 3))
            self.assert_found(self.examine(), "other-captures", "note", "1 packet socket of others",
                              "rpcapd")
        with self.sniffer_of_all():
            self.assert_found(self.examine(), "other-captures", "warning", "at every edge", "rpcapd")

    @staticmethod
    def sniffer_of_all():
        return in_namespace(name_of("node"), lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))

    def test_somebody_else_captures_beside_an_agent(self):
        with tempfile.TemporaryDirectory() as folder:
            collector = Program(name_of("outside"), "collect", "--listen", f"{SENSOR}:2010",
                                "--output", f"{folder}/a.pcapng")
            self.addCleanup(collector.kill)
            agent = self.agent(EXTRAHOP_SENSOR_IP=f"{SENSOR}:2010")
            collector.await_text("capture started")
            agent.await_text("serving metrics and probes")
            self.check_captures_beside_an_agent()
            second = self.agent(EXTRAHOP_SENSOR_IP=f"{SENSOR}:2010", PODWIRE_HTTP="9465")
            second.await_text("agent started")
            self.assert_found(self.examine(), "other-captures", "warning", "2 agents run here",
                              f"{agent.pid}", f"{second.pid}", "a second time", "end one of them")
            self.assertEqual((second.stop(), agent.stop()), (0, 0))

    def check_captures_beside_an_agent(self):
        own = "the 2 packet sockets of the agent that runs here"
        self.assert_ok(self.examine(), "other-captures", own)
        # Where processes are not seen, it may be anybody; that an agent answers is known.
        apart = ["unshare", "--pid", "--fork", "--mount-proc"]
        self.assert_found(self.examine(prefix=apart), "other-captures", "note",
                          "2 packet sockets at the edges, and an agent runs here; their owner",
                          "kubectl exec")
        self.assert_ok(self.examine(prefix=apart), "http", "an agent answers there")
        self.assert_found(self.examine("--http", "off", prefix=apart), "other-captures", "warning",
                          "2 packet sockets of others, at every edge")
        sniffer = in_namespace(
            name_of("node"), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        with sniffer:
            sniffer.bind(("p1", 3))
            self.assert_found(self.examine(), "other-captures", "note",
                              "1 packet socket of others at the edges, beside the agent")
        with self.sniffer_of_all():
            self.assert_found(self.examine(), "other-captures", "warning",
                              "1 packet socket of others, at every edge, beside the agent",
                              "a second time", "end one of them")
        self.assert_ok(self.examine(), "other-captures", own)
        # An agent in another network is none of this one's.
        self.assert_ok(self.examine(name="p2"), "other-captures", "none at the edges")

    # Services

    def test_service_networks_that_are_missing(self):
        inside("node", "iptables", "-t", "nat", "-A", "PREROUTING", "-d", "10.96.0.10", "-p", "udp",
               "-j", "DNAT", "--to-destination", "10.244.1.3:5353")
        inside("node", "iptables", "-t", "nat", "-A", "PREROUTING", "-d", "203.0.113.9", "-p", "udp",
               "-j", "DNAT", "--to-destination", "10.244.1.3:5353")
        try:
            report = self.examine(SVCNET="")
            self.assert_found(report, "service-networks", "note", "none given",
                              "--service-cluster-ip-range")
            self.call("10.96.0.10")
            report = self.examine(SVCNET="")
            self.assert_found(report, "service-networks", "warning",
                              "none given, but pods call 10.96.0.10", "perhaps 10.96.0.0/12:")
            self.assert_ok(self.examine(), "service-networks", "10.96.0.0/12")
            # Such as a load balancer's address, which pods call, too.
            self.call("203.0.113.9")
            self.assert_ok(self.examine(), "service-networks", "10.96.0.0/12",
                           "pods also call 203.0.113.9", "once, in pod form")
            self.assert_found(self.examine(SVCNET="fd00:10:96::/112"), "service-networks", "warning",
                              "but pods call 10.96.0.10, 203.0.113.9")
            for report in (self.examine(SVCNET="10.96.0.0/12,203.0.113.0/24"),
                           self.examine("--dedup", "off", SVCNET="")):
                self.assert_ok(report, "service-networks")
        finally:
            inside("node", "iptables", "-t", "nat", "-F")
            inside("node", "conntrack", "-F", check=False)

    def test_more_addresses_called_than_an_agent_learns(self):
        inside("node", "iptables", "-t", "nat", "-A", "PREROUTING", "-d", "203.0.113.0/24", "-p", "udp",
               "-j", "DNAT", "--to-destination", "10.244.1.3:5353")
        try:
            self.call(*(f"203.0.113.{number}" for number in range(1, 130)))
            self.assert_found(self.examine(), "service-networks", "warning",
                              "10.96.0.0/12, but pods call 129 addresses and ports besides",
                              "learns at most 128", "perhaps 203.0.113.0/24")
        finally:
            inside("node", "iptables", "-t", "nat", "-F")
            inside("node", "conntrack", "-F", check=False)

    @staticmethod
    def call(*addresses):
        inside("p1", sys.executable, "-c", f"""
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for address in {addresses}:
    out.sendto(b"a call", (address, 53))""")
        wait_until(lambda: inside("node", "conntrack", "-L", "-d", addresses[-1]),
                   f"the call of {addresses[-1]} is not tracked")

    def test_connection_tracking_without_events(self):
        inside("node", "sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")
        try:
            self.assert_found(self.examine(), "connection-tracking", "warning", "events are off",
                              "sysctl net.netfilter.nf_conntrack_events=1")
            self.assert_ok(self.examine("--dedup", "off"), "connection-tracking", "not needed")
        finally:
            inside("node", "sysctl", "-qw", "net.netfilter.nf_conntrack_events=1")

    # Sensors and clients

    def test_sensors_that_cannot_be_reached(self):
        inside("outside", "iptables", "-A", "INPUT", "-p", "tcp", "--dport", "2005", "-j", "DROP")
        ip("node", "route", "add", "unreachable", "203.0.113.77")
        begin = time.monotonic()
        report = self.examine(
            "--sensor", f"{SENSOR}:2044,{SENSOR}:2005,203.0.113.77,no-such-host.invalid,{SENSOR}")
        self.assertLess(time.monotonic() - begin, 5 * 10, "one after the other")
        self.assertEqual(report.code, 0)
        self.assertEqual(len(report.of("sensor")), 5)
        for texts in ((f"{SENSOR}:2044", "Connection refused", "nothing listens at port 2044"),
                      (f"{SENSOR}:2005", "timed out", "firewalls"),
                      ("203.0.113.77:2003", "No route to host", "no route leads there"),
                      ("no-such-host.invalid:2003 has no address", "dnsPolicy")):
            self.assert_found(report, "sensor", "warning", *texts)
        self.assert_found(report, "sensor", "ok", f"{SENSOR}:2003")
        ip("node", "route", "del", "unreachable", "203.0.113.77")

    def test_nobody_to_forward_to(self):
        report = self.examine(EXTRAHOP_SENSOR_IP="")
        self.assert_found(report, "sensor", "failed", "none given", "EXTRAHOP_SENSOR_IP")

    def test_where_clients_are_listened_for(self):
        passive = {"PODWIRE_LISTEN": "127.0.0.1:2002", "PODWIRE_ALLOW_NULL_LOGIN": "on",
                   "EXTRAHOP_SENSOR_IP": ""}
        self.assert_ok(self.examine(**passive), "listener", "127.0.0.1:2002 is free")
        report = self.examine(**{**passive, "PODWIRE_LISTEN": "10.77.0.1:2002"})
        self.assert_found(report, "listener", "failed", "an address of this node")
        with self.listener(2002, "node"):
            report = self.examine(**passive)
            self.assert_found(report, "listener", "failed", "Address already in use", "ss -ltnp")
        agent = Program(name_of("node"), "agent", **SETTINGS | passive)
        self.addCleanup(agent.kill)
        agent.await_text("listening for clients")
        self.assert_ok(self.examine(**passive), "listener", "in use, and an agent runs here")
        with self.listener(2004, "node"):
            report = self.examine(**{**passive, "PODWIRE_LISTEN": "127.0.0.1:2004"})
            self.assert_found(report, "listener", "failed", "Address already in use", "ss -ltnp")
        self.assertEqual(agent.stop(), 0)

    def test_where_probes_are_answered(self):
        self.assert_ok(self.examine(), "http", "127.0.0.1:9464 is free")
        self.assertEqual(self.examine("--http", "off").of("http"), [])
        taken = ("http", "warning", "Address already in use", "--http another port")
        with self.listener(9464, "node"):
            # Nobody waits for ever for one who says nothing.
            report = self.examine()
        self.assertEqual(report.code, 0)
        self.assert_found(report, *taken)

    def test_who_answers_probes(self):
        """A stranger that holds the port is found, also while an agent runs; an agent is known by its
        answers, wherever it listens."""
        server = subprocess.Popen(
            command_in(name_of("node"), sys.executable, "-m", "http.server", "9464"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        await_listener(name_of("node"), 9464)
        agent = self.agent()
        agent.await_text("cannot serve metrics and probes")
        self.assert_found(self.examine(), "http", "warning", "Address already in use",
                          "--http another port")
        server.kill()
        server.wait()
        agent.await_text("serving metrics and probes")
        self.assert_ok(self.examine(), "http", "127.0.0.1:9464 is in use, and an agent answers there")
        self.assertEqual(agent.stop(), 0)
        agent = self.agent(PODWIRE_HTTP="9465")
        agent.await_text("serving metrics and probes")
        for place in ("9465", "0.0.0.0:9465"):
            self.assert_ok(self.examine("--http", place), "http", "and an agent answers there")
        self.assertEqual(agent.stop(), 0)

    def agent(self, **variables):
        agent = Program(name_of("node"), "agent", **SETTINGS | variables)
        self.addCleanup(agent.kill)
        return agent

    def test_files_that_cannot_be_used(self):
        with tempfile.TemporaryDirectory() as folder:
            users = pathlib.Path(folder, "users")
            passive = ("--listen", "127.0.0.1:2002", "--password-file", users)
            report = self.examine(*passive)
            self.assert_found(report, "password-file", "failed", str(users), "No such file")
            users.write_text("eve:nonsense\n")
            users.chmod(0o600)
            self.assert_found(self.examine(*passive), "password-file", "failed", str(users))
            users.write_text("# nobody yet\n")
            self.assert_found(self.examine(*passive), "password-file", "warning", "has no users")
            users.write_text(output(PODWIRE, "password", "eve", input="secret\n"))
            self.assert_ok(self.examine(*passive), "password-file", "1 user")
            key, certificate = f"{folder}/key", f"{folder}/certificate"
            tls = ("--tls-certificate", certificate, "--tls-key", key)
            self.assert_found(self.examine(*tls), "tls", "failed", "No such file")
            # Into which nobody writes.
            os.mkfifo(certificate)
            self.assert_found(self.examine(*tls), "tls", "failed", "not a regular file")
            os.unlink(certificate)
            make_certificate(key, certificate)
            self.assert_ok(self.examine(*tls), "tls", certificate)

    # The clock

    def test_a_clock_before_the_programs_own_time(self):
        with tempfile.TemporaryDirectory() as folder:
            binary = shutil.copy(PODWIRE, folder)
            self.assertNotIn("warning", dict(self.examine(binary=binary).of("clock")))
            os.utime(binary, times=(time.time() + 3.5 * 86_400,) * 2)
            report = self.examine(binary=binary)
        self.assert_found(report, "clock", "warning", "far off", "3 days", "chronyd")


# Sends packets to a MAC address.
SENDER = r"""
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind(("eth0", 0))
for _ in range(100):
    out.send(bytes.fromhex(sys.argv[1].replace(":", "")) + bytes(6) + b"\x08\0" + bytes(60))
"""


if __name__ == "__main__":
    unittest.main()
