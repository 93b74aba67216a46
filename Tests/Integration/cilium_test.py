"""Calls to services that eBPF programs translate packet by packet, as Cilium's do: connection tracking knows
nothing of them, and Cilium's tables tell their backends.

PODWIRE names the binary. All tests share a test bed of their own, whose programs fill tables in Cilium's
layout.
"""

import collections
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from support.cluster import NETWORKS, Cluster, ClusterCase
from support.commands import output
from support.echo import SERVER
from support.endpoint import Endpoint
from support.frames import TCP, UDP
from support.namespace import run_in
from support.program import PODWIRE, Program
from support.waiting import wait_until

# Each service, the port behind it, and the pod; `high` has a port above those that clients get.
SOLO = ("10.96.0.11", "fd00:10:96::11", 8081, "a1")
HIGH = ("10.96.0.21", "fd00:10:96::21", 50052, "b1")
# Has the pods a1 and a2 behind it, at port 8080, over TCP.
WEB = "10.96.0.10"
ADDRESSES = {"a1": "10.244.1.2", "a2": "10.244.2.2", "b1": "10.244.1.3", "c1": "10.244.1.4"}
USED = "calls to services are looked up in Cilium's tables"
WARNING = "calls to services are unknown to connection tracking"
# What Cilium puts into the place of a pod that calls itself.
SUBSTITUTE = "169.254.42.1"
cluster = None


def setUpModule():
    global cluster
    cluster = CiliumTest.cluster = Cluster("ci", "ebpf-nat")
    unittest.addModuleCleanup(cluster.remove)


def folder_of(node):
    """Where a node's tables are pinned."""
    return f"/run/podwire-testbed/{cluster.prefix}/bpf/node{node}"


class CiliumTest(ClusterCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = pathlib.Path(self.folder.name, "sensor.pcapng")
        for pod, port in (("a1", 8081), ("b1", 50052), ("a1", 8080), ("a2", 8080)):
            self.serve(pod, SERVER, port, pod)

    def begin(self, folder=folder_of, **settings):
        self.collector = self.start_collector()
        self.agents = [self.start_agent(node, PODWIRE_CILIUM_TABLES=folder(node), **settings)
                       for node in (1, 2)]

    def call(self, pod, *calls, count=12):
        """Has a pod call (address, own port, text) over TCP and UDP; returns the texts that were sent."""
        done = subprocess.run(cluster.python(pod, CALLER, json.dumps(calls), count), check=True,
                              stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    def call_all(self):
        """Has pods of both nodes call, from ports above and below the servers'."""
        texts = []
        for pod in ("c1", "b2"):
            texts += self.call(pod, *((address, own, f"{pod} {address} {own}")
                                      for *addresses, _, _ in (SOLO, HIGH) for address in addresses
                                      for own in (0, 3000)))
        return texts

    def forms(self):
        """By text, how often it has come from whom to whom."""
        forms = collections.defaultdict(collections.Counter)
        for frame in self.frames():
            if frame.protocol in (TCP, UDP) and frame.payload.startswith((b"call ", b"answer ")):
                forms[bytes(frame.payload).decode()][str(frame.source), str(frame.destination)] += 1
        return forms

    def service_forms(self):
        return [frame for frame in self.frames() if frame.protocol in (TCP, UDP)
                and any(str(end).startswith(("10.96.0.", "fd00:10:96:"))
                        for end in (frame.source, frame.destination))]

    def doctor(self, node, **settings):
        done = run_in(cluster.name(f"node{node}"), PODWIRE, "doctor", "--json", check=False,
                      env={**os.environ, **NETWORKS, "EXTRAHOP_SENSOR_IP": "192.168.100.100", **settings})
        findings = json.loads(done.stdout)["findings"]
        return [(finding["grade"], " | ".join(finding[part] or "" for part in ("found", "meaning", "remedy")))
                for finding in findings if finding["check"] == "service-translation"]

    def check_once(self, texts):
        forms = self.forms()
        self.assertEqual(forms.keys(), set(texts))
        wrong = {text: dict(form) for text, form in forms.items() if form.total() != 1}
        self.assertEqual(wrong, {})
        self.assertEqual(self.service_forms(), [])
        # What opens and ends connections has no text.
        flags = collections.Counter(
            (frame.source, frame.source_port, frame.destination, frame.destination_port, frame.flags,
             frame.sequence, frame.acknowledgement)
            for frame in self.frames() if frame.protocol == TCP and not frame.payload)
        self.assertTrue(flags)
        self.assertEqual({key: count for key, count in flags.items() if count != 1}, {})

    def test_each_packet_comes_once_with_the_tables(self):
        self.begin()
        for agent in self.agents:
            agent.await_text(USED, 2)
        texts = self.call_all()
        for agent in self.agents:
            used = Endpoint(agent.namespace).fresh_metrics()
            self.assertEqual([used.sum("podwire_cilium_tables_used", family=family)
                              for family in ("ipv4", "ipv6")], [1, 1])
        self.assertEqual([grade for grade, _ in self.doctor(1, PODWIRE_CILIUM_TABLES=folder_of(1))], ["ok"])
        self.end(self.collector, *self.agents)
        self.check_once(texts)
        for agent in self.agents:
            self.assertEqual(agent.lines(WARNING), [])
            counts = agent.counts()
            self.assertGreater(counts["cilium_lookups"], 0)
            self.assertEqual((counts.get("cilium_lookup_failures", 0),
                              counts.get("service_calls_unexplained", 0)), (0, 0))

    def test_without_the_tables_packets_come_twice_and_that_is_said(self):
        self.begin(lambda _: "off")
        texts = self.call_all()
        for agent in self.agents:
            agent.await_text(WARNING)
        self.call_all()
        [(grade, text)] = self.doctor(1)
        self.assertEqual(grade, "warning")
        for part in ("unknown to connection tracking", "k8s/components/cilium-services", "CAP_BPF", "--services untracked"):
            self.assertIn(part, text)
        self.end(self.collector, *self.agents)
        forms = self.forms()
        # A server with the lower port has its edge report as well.
        doubled = [text for text in texts if any(f" {address} 0 " in text for address in SOLO[:2])]
        self.assertGreater(len(doubled), 100)
        self.assertEqual({text: len(forms[text]) for text in doubled}, dict.fromkeys(doubled, 2))
        for agent in self.agents:
            self.assertEqual(len(agent.lines(WARNING)), 1)
            self.assertIn("--services untracked", agent.lines(WARNING)[0])

    def test_explain_asks_the_tables(self):
        self.call("c1", (SOLO[0], 3000, "to be explained"))
        for folder, words in ((folder_of(1), f"{ADDRESSES['a1']} port 8081"),
                              ("off", "a call to a service that is not going on now")):
            done = run_in(cluster.name("node1"), PODWIRE, "explain", "tcp", f"{ADDRESSES['c1']}:3000",
                          f"{SOLO[0]}:80",
                          env={**os.environ, **NETWORKS, "PODWIRE_CILIUM_TABLES": folder})
            self.assertIn(words, " ".join(done.stdout.split()))

    def test_what_nothing_explains_can_be_left_out(self):
        self.begin(lambda _: "off", PODWIRE_SERVICES="untracked")
        texts = self.call("c1", *((address, 0, address) for address in SOLO[:2]))
        lost = self.call("c1", (SOLO[0], 3000, "from the lower port"))
        self.end(self.collector, *self.agents)
        self.check_once(texts)
        self.assertFalse(set(lost) & self.forms().keys())

    def test_a_pod_that_calls_itself_is_seen_as_what_takes_its_place(self):
        self.begin()
        texts = self.call("a1", (SOLO[0], 0, "to itself"))
        self.end(self.collector, *self.agents)
        self.check_once(texts)
        ends = {end for form in self.forms().values() for pair in form for end in pair}
        self.assertEqual(ends, {SUBSTITUTE, ADDRESSES["a1"]})

    def test_a_client_port_that_is_used_again_gets_another_backend(self):
        self.begin()
        endpoint = Endpoint(self.agents[0].namespace)
        answers = collections.Counter()

        def call():
            """One call from a port below the backends', at most one a second as clients may."""
            before = endpoint.fresh_metrics().sum("podwire_cilium_lookups_total")
            done = subprocess.run(
                cluster.python("b1", PORT_USER, WEB, 7000, f"{answers.total()}"), check=True,
                stdout=subprocess.PIPE, text=True)
            answers[done.stdout.strip()] += 1
            # It is looked up anew, which is so a second after the one before.
            return (len(answers) == 2
                    and endpoint.fresh_metrics().sum("podwire_cilium_lookups_total") > before)

        wait_until(call, lambda: f"only {answers}", interval=1.1)
        self.end(self.collector, *self.agents)
        forms = self.forms()
        for text, form in forms.items():
            self.assertEqual(form.total(), 1, text)
            if text.startswith("answer "):
                backend = ADDRESSES[text.split()[1]]
                self.assertEqual(dict(form), {(backend, ADDRESSES["b1"]): 1}, text)
        self.assertEqual(len([text for text in forms if text.startswith("answer ")]), answers.total())
        self.assertEqual(self.service_forms(), [])

    def test_tables_of_another_shape_are_refused_and_connection_tracking_goes_on(self):
        pins = tempfile.mkdtemp(dir=self.folder.name)
        output("mount", "-t", "bpf", "none", pins)
        self.addCleanup(output, "umount", "-l", pins)
        for name, key, value in (("ct4_global", 14, 64), ("ct_any4_global", 14, 56),
                                 ("lb4_backends_v3", 4, 12)):
            output("bpftool", "map", "create", f"{pins}/cilium_{name}", "type", "hash", "key", key, "value",
                   value, "entries", 8, "name", "table")
        agent = Program(cluster.name("node1"), "agent", **NETWORKS, EXTRAHOP_SENSOR_IP="192.168.100.100",
                        PODWIRE_CILIUM_TABLES=pins)
        self.addCleanup(agent.kill)
        collector = self.start_collector()
        agent.await_text("Cilium's tables cannot be used")
        [line] = agent.lines("Cilium's tables cannot be used")
        for part in ("cilium_ct4_global", "values of 64 bytes", "56 bytes", "--services untracked"):
            self.assertIn(part, line)
        [(grade, text)] = self.doctor(1, PODWIRE_CILIUM_TABLES=pins)
        self.assertEqual(grade, "warning")
        self.assertIn("values of 64 bytes", text)
        self.end(collector, agent)


# Calls over TCP and UDP, and waits for each answer; prints all texts that were sent.
CALLER = r"""
import json, socket, sys
texts = []
for number, (address, own, text) in enumerate(json.loads(sys.argv[1])):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        call = socket.socket(family, kind)
        call.settimeout(30)
        call.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        call.bind(("", own and own + number))
        call.connect((address, 80))
        for turn in range(int(sys.argv[2])):
            call.send(f"call {text} {kind.name} {turn}".encode())
            texts += [f"call {text} {kind.name} {turn}", call.recv(1000).decode()]
        call.close()
print(json.dumps(texts))
"""

# Calls from a port, ends the connection so that the port is free at once, and prints who has answered.
PORT_USER = r"""
import socket, struct, sys
address, own, text = sys.argv[1:]
call = socket.socket()
call.settimeout(30)
call.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
call.bind(("", int(own)))
call.connect((address, 80))
call.send(f"call {text}".encode())
print(call.recv(1000).decode().split()[1])
call.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
call.close()
"""

if __name__ == "__main__":
    unittest.main()
