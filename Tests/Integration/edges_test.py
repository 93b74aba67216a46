"""Edges that come and go while an agent captures, with pods made by the real CNI plug-in.

PODWIRE names the binary. CHURN_PODS says how many pods are made and deleted in a row.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from support import commands
from support.endpoint import Endpoint
from support.namespace import (add_namespace, add_wire, command_in, ip_in, python_in, remove_namespaces, run_in)
from support.numbers import numbers_by_pod
from support.program import PODWIRE, Program
from support.waiting import PATIENCE_SECONDS, wait_until

CHURN_PODS = int(os.environ.get("CHURN_PODS", 60))
ALIVE = 25
# What comes and goes may leave so many bytes in the process.
MEMORY_GROWTH_MAX = 4 << 20
PREFIX = f"et{os.getpid()}"
NODE, OUTSIDE = f"{PREFIX}-node", f"{PREFIX}-outside"
GATEWAY, SENSOR = "10.244.0.1", "192.168.100.100"


def in_node(*words, **keywords):
    return run_in(NODE, *words, **keywords).stdout


def make_node():
    """A node with a bridge, and the world outside with the sensor."""
    for name in (NODE, OUTSIDE):
        add_namespace(name, ipv6=False)
    add_wire(NODE, "uplink", OUTSIDE)
    ip_in(NODE, "addr", "add", "192.168.100.1/24", "dev", "uplink")
    ip_in(OUTSIDE, "addr", "add", f"{SENSOR}/24", "dev", "eth0")
    ip_in(NODE, "route", "add", "default", "via", SENSOR)


class Pod:
    """A pod with an address of its own, by its number."""

    def __init__(self, number):
        self.number = number
        self.name = f"{PREFIX}-p{number}"
        self.address = f"10.244.{1 + number // 200}.{2 + number % 200}"

    def cni(self, verb):
        configuration = {
            "cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "cni0",
            "isGateway": True, "hairpinMode": True,
            "ipam": {"type": "static",
                     "addresses": [{"address": f"{self.address}/16", "gateway": GATEWAY}],
                     "routes": [{"dst": "0.0.0.0/0"}]}}
        in_node("env", f"CNI_COMMAND={verb}", f"CNI_CONTAINERID={self.name}",
                f"CNI_NETNS=/run/netns/{self.name}", "CNI_IFNAME=eth0", "CNI_PATH=/usr/lib/cni",
                "/usr/lib/cni/bridge", input=json.dumps(configuration))

    def add(self):
        commands.run("ip", "netns", "add", self.name)
        self.cni("ADD")

    def delete(self):
        self.cni("DEL")
        self.vanish()

    def vanish(self):
        """Without a word to the plug-in: the interface goes with its namespace."""
        commands.run("ip", "netns", "del", self.name)

    def command(self, program, *arguments):
        return python_in(self.name, program, *arguments)

    def send(self, *arguments):
        """Has it send numbered datagrams to the gateway: see SENDER."""
        subprocess.run(self.command(SENDER, self.number, *arguments), check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def prepare(self, *arguments):
        """The same, as a process that waits for a line to begin."""
        sender = subprocess.Popen(self.command(SENDER, self.number, *arguments),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert sender.stdout.readline() == b"ready\n"
        return sender


def finish(senders):
    """Has senders that wait begin, and waits until each has sent all."""
    for sender in senders:
        sender.stdin.close()
    codes = [sender.wait(PATIENCE_SECONDS) for sender in senders]
    for sender in senders:
        sender.stdout.close()
    assert set(codes) == {0}, codes


# What is sent only to see whether it arrives has this number.
PROBES = 1_000_000
# Sends numbered datagrams to the gateway: how many, of which size, how long between them, and how many
# with one call; as soon as there is a line on standard input, or nothing any more.
SENDER = r"""
import os, socket, struct, sys, time
pod, first, count, size, pause = int(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5])
at_once = int(sys.argv[6]) if len(sys.argv) > 6 else 1
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
if at_once > 1:
    out.setsockopt(socket.IPPROTO_UDP, 103, size)  # UDP_SEGMENT
    # At once is not when others are done.
    os.nice(-20)
print("ready", flush=True)
sys.stdin.readline()
begin = time.monotonic()
for index in range(0, count, at_once):
    some = range(first + index, first + min(index + at_once, count))
    out.sendto(b"".join(struct.pack("!II", pod, number).ljust(size, b".") for number in some),
               ("10.244.0.1", 9999))
    if pause:
        time.sleep(max(0, begin + (index + 1) * pause - time.monotonic()))
"""


class EdgesTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(remove_namespaces, f"{PREFIX}-")
        make_node()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = f"{self.folder.name}/sensor.pcapng"
        self.endpoint = Endpoint(NODE)

    def start(self, **variables):
        collector = Program(OUTSIDE, "collect", "--output", self.file)
        self.addCleanup(collector.kill)
        collector.await_text("listening")
        agent = Program(NODE, "agent", EXTRAHOP_SENSOR_IP=SENSOR, PODNET="10.244.0.0/16",
                        **variables)
        self.addCleanup(agent.kill)
        agent.await_text("capture started")
        return collector, agent

    def await_rings(self, agent, pods):
        """Waits until each pod's edge has a ring of its own."""
        wait_until(lambda: len(agent.rings()) == len(pods), lambda: f"rings of {agent.rings()} bytes")

    def await_tap(self, agent, pod):
        """Waits until the pod's edge has a packet socket, which may be some time after the log names
        the edge."""
        text = f"addresses={pod.address} "
        agent.await_text(text)
        index = re.search(r" index=(\d+)", agent.lines(text)[0])[1]
        wait_until(lambda: any(line.split()[4] == index for line in
                               in_node("cat", "/proc/net/packet").splitlines()),
                   f"{pod.address} is not captured")

    def numbers(self, collector, agent):
        """Ends both, and returns how often each numbered datagram has come, by pod."""
        return numbers_by_pod(self, collector, agent, self.endpoint, self.file)

    def test_pods_that_come_and_go(self):
        """Each pod's first packet, as soon as its edge is captured, and its last, right before it goes,
        arrive once; and nothing of it is left."""
        collector, agent = self.start()
        self.churn(agent, range(ALIVE))
        agent.await_text("edge gone", ALIVE)
        wait_until(lambda: agent.ring_bytes() == 0, "rings are left")
        count, growths = ALIVE, []
        # A busy machine needs more memory at some moment. What is lost each time grows each time.
        while not growths or growths[-1] >= MEMORY_GROWTH_MAX and len(growths) < 4:
            before = agent.uses()
            self.churn(agent, range(count, count + CHURN_PODS))
            count += CHURN_PODS
            agent.await_text("edge gone", count)
            wait_until(lambda: agent.ring_bytes() == 0, "rings are left")
            # Who asked for a page may still be connected; a thread of before may be gone.
            agent.await_uses(before)
            growths.append(agent.uses()[2] - before[2])
        self.assertLess(growths[-1], MEMORY_GROWTH_MAX, f"memory: {growths}")
        lines = agent.lines(" info edge ")
        self.assertLessEqual(len(lines), 2 * count)
        numbers = self.numbers(collector, agent)
        wrong = {pod: numbers.get(pod) for pod in range(count)
                 if numbers.get(pod) != {0: 1, 1: 1, 2: 1}}
        self.assertEqual(wrong, {}, agent.text()[-4000:])

    def churn(self, agent, numbers):
        """Makes pods, ALIVE of them at a time, and deletes each when it has spoken."""
        slots = threading.Semaphore(ALIVE)
        cni = threading.Lock()
        failures = []

        def live(pod):
            try:
                with cni:
                    pod.add()
                self.await_tap(agent, pod)
                pod.send(0, 2, 64, 0.05)
                pod.send(2, 1, 64, 0)
                pod.vanish()
            except Exception as error:
                failures.append(f"pod {pod.number}: {error}")
            finally:
                slots.release()

        threads = []
        for number in numbers:
            slots.acquire()
            threads.append(threading.Thread(target=live, args=(Pod(number),)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_more_edges_than_memory(self):
        """A mebibyte is four of the smallest rings; the rest of the edges share one of them."""
        for number in range(6):
            Pod(number).add()
        collector, agent = self.start(PODWIRE_RING_MEMORY="1MiB", PODWIRE_NICE="-20")
        for number in range(6, 8):
            Pod(number).add()
        agent.await_text("edge captured", 2)
        self.endpoint.await_metrics(lambda metrics: metrics.sum("podwire_edges") == 8)
        agent.await_text("the ring memory is used up")
        self.assertIn("raise --ring-memory", agent.text())
        self.assertLessEqual(agent.ring_bytes(), 1 << 20)
        before = self.passed()
        for number in range(8):
            Pod(number).send(0, 20, 200, 0.01)
        passed = self.passed() - before
        for number in (0, 7):
            Pod(number).vanish()
        agent.await_text("edge gone", 2)
        self.assertEqual(agent.text().count("the ring memory is used up"), 1)
        numbers = self.numbers(collector, agent)
        self.assertEqual(set(numbers), set(range(8)))
        self.check_missing(numbers, agent.counts(), 8 * 20, passed)

    def test_which_edges_are_captured(self):
        pods = [Pod(number) for number in range(3)]
        for pod in pods:
            pod.add()
        ip_in(pods[2].name, "addr", "flush", "dev", "eth0")
        ip_in(pods[2].name, "addr", "add", "172.20.0.2/24", "dev", "eth0")
        names = [edge["interface"] for edge in self.edges() if edge["captured"]]
        self.assertEqual(len(names), 2)
        out = next(edge for edge in self.edges("--pod-network", "10.244.0.0/16")
                   if edge["namespace"] is not None and not edge["captured"]
                   and edge["interface"] != "uplink")
        self.assertIn("no address in a pod network", out["state"])
        self.assertEqual(self.captured("--edges", "all"), {*names, out["interface"]})
        self.assertEqual(self.captured("--include-edges", "veth*"), {*names, out["interface"]})
        self.assertEqual(self.captured("--exclude-edges", names[0]), {names[1]})
        self.assertEqual(self.captured("--exclude-edges", "v?th*"), set())
        collector, agent = self.start(PODWIRE_EXCLUDE_EDGES=names[0])
        for pod in pods[:2]:
            pod.send(0, 5, 64, 0.01)
        # The node is not told of an address inside a pod; at the edge's next event it is asked for.
        ip_in(pods[2].name, "addr", "add", "10.244.9.9/16", "dev", "eth0")
        in_node("ip", "link", "set", out["interface"], "txqueuelen", 500)
        agent.await_text("edge captured")
        self.assertEqual(len(self.numbers(collector, agent)), 1)

    def test_a_variable_that_is_no_setting_is_named(self):
        for words in (("edges",), ("explain", "udp", "10.244.1.2:5", "10.244.2.3:6"),
                      ("collect", "--list", "--from", "rpcap://127.0.0.1:1")):
            with self.subTest(words[0]):
                environment = {**os.environ, "PODNET": "10.244.0.0/16", "PODWIRE_COLLECT_PASSWORD": "x"}
                command = command_in(NODE, PODWIRE, *words)
                clean = subprocess.run(command, env=environment, capture_output=True, text=True)
                told = subprocess.run(command, env={**environment, "PODWIRE_EXCLUDED_EDGES": "x"},
                                      capture_output=True, text=True)
                self.assertEqual((told.returncode, told.stdout), (clean.returncode, clean.stdout))
                self.assertEqual(
                    told.stderr, f"podwire {words[0]}: PODWIRE_EXCLUDED_EDGES is no setting; "
                    f"did you mean PODWIRE_EXCLUDE_EDGES?\n{clean.stderr}")

    def test_a_setting_that_decides_an_explanation_is_an_option_as_well(self):
        Pod(0).add()
        words = ("explain", "udp", f"{Pod(0).address}:5000", "10.244.9.9:53")
        environment = {**os.environ, "PODNET": "10.244.0.0/16"}

        def explain(*options, **variables):
            return subprocess.run(command_in(NODE, PODWIRE, *words, *options), capture_output=True,
                                  env={**environment, **variables}, text=True, check=True).stdout

        plain = explain()
        for option, variable, value in (
                ("--dedup", "PODWIRE_DEDUP", "off"), ("--uncovered", "PODWIRE_UNCOVERED", "10.244.9.9"),
                ("--service-network", "SVCNET", "10.244.9.0/24"), ("--filter", "PODWIRE_FILTER", "tcp"),
                ("--sensor", "EXTRAHOP_SENSOR_IP", "10.244.9.9")):
            with self.subTest(option):
                self.assertEqual(explain(option, value), explain(**{variable: value}))
                self.assertNotEqual(explain(option, value), plain)

    def edges(self, *options):
        return json.loads(in_node(PODWIRE, "edges", "--json", "--pod-network", "10.244.0.0/16",
                                  *options))

    def captured(self, *options):
        return {edge["interface"] for edge in self.edges(*options) if edge["captured"]}

    def test_an_edge_that_changes(self):
        """Renamed, down and up, out of its bridge and back: what is sent when it is up arrives once."""
        collector, agent = self.start()
        pod = Pod(1)
        pod.add()
        agent.await_text("edge captured")
        name = next(edge["interface"] for edge in self.edges() if edge["captured"])
        changes = [
            (["ip", "link", "set", name, "down"], ["ip", "link", "set", name, "up"]),
            (["ip", "link", "set", name, "nomaster"],
             ["ip", "link", "set", name, "master", "cni0"]),
            (["ip", "link", "set", name, "down"], ["ip", "link", "set", name, "name", "renamed"],
             ["ip", "link", "set", "renamed", "up"]),
        ]
        for number, change in enumerate(changes):
            for words in change:
                in_node(*words)
            in_node("bridge", "link", "set", "dev", "renamed" if number == 2 else name, "hairpin",
                    "on")
            self.await_service(pod, name if number < 2 else "renamed")
            pod.send(number * 10, 10, 64, 0.002)
        self.assertEqual([edge["interface"] for edge in self.edges() if edge["captured"]],
                         ["renamed"])
        lines = agent.lines(" info edge ")
        self.assertEqual(len(lines), 1, lines)
        numbers = self.numbers(collector, agent)[1]
        self.assertEqual({number: count for number, count in numbers.items() if number < PROBES},
                         dict.fromkeys(range(30), 1))

    def await_service(self, pod, name):
        """Waits until what a pod sends passes its edge, and until the agent forwards it. What a
        bridge drops on the way, which has to get to know its ports anew, is no packet."""
        figure = "podwire_edge_frames_forwarded_total"

        def is_served():
            before = self.endpoint.fresh_metrics().sum(figure, edge=name)
            pod.send(PROBES, 1, 64, 0)
            return self.endpoint.fresh_metrics().sum(figure, edge=name) > before

        wait_until(is_served, f"{name} is not captured")

    def test_rings_that_grow_lose_and_double_nothing(self):
        pods = [Pod(number) for number in range(3)]
        for pod in pods:
            pod.add()
            # The frames of one call go one by one.
            ip_in(pod.name, "link", "set", "eth0", "gso_max_segs", 1)
        # An agent that others keep from running for long finds its rings full, or has not seen that they
        # have to grow. It says so, and the next one may do better.
        found = []
        wait_until(lambda: self.check_growth(pods, found), lambda: f"rings were full, or did not grow: {found}", 300)

    def check_growth(self, pods, found):
        """Has rings grow. Nothing is doubled, and nothing is missing but what an agent says that its
        rings had no room for; returns whether each has grown, and each packet had room."""
        collector, agent = self.start(PODWIRE_RING_MEMORY="16MiB", PODWIRE_NICE="-20")
        self.await_rings(agent, pods)
        self.assertEqual(agent.ring_bytes(), len(pods) << 20)
        before = self.passed()
        pile, steady, rounds = 2000, 500, 3
        for first in range(0, rounds * (pile + steady), pile + steady):
            piles = [pod.prepare(first, pile, 200, 0, 50) for pod in pods]
            others = [pod.prepare(first + pile, steady, 200, 0.001) for pod in pods]
            # More than half of a ring's blocks, but not all; and at once, since the kernel closes a
            # block after some milliseconds however little is in it, as it does with the last one.
            os.kill(agent.pid, signal.SIGSTOP)
            try:
                for sender in piles:
                    finish([sender])
                time.sleep(0.1)
            finally:
                os.kill(agent.pid, signal.SIGCONT)
            # While another ring follows it.
            finish(others)
        self.endpoint.settled()
        has_grown = agent.ring_bytes() > len(pods) << 20
        numbers, counts = self.numbers(collector, agent), agent.counts()
        passed = self.passed() - before
        self.check_missing(numbers, counts, len(pods) * rounds * (pile + steady), passed)
        found.append({name: counts[name] for name in ("rings_replaced", "dropped_by_ring")})
        return has_grown and counts["rings_replaced"] >= len(pods) and counts["dropped_by_ring"] == 0

    @staticmethod
    def passed():
        """How many frames have passed the pods' edges, by the kernel's counts of the interfaces."""
        links = json.loads(in_node("ip", "-s", "-j", "link", "show", "master", "cni0"))
        return sum(link["stats64"][way]["packets"] for link in links for way in ("rx", "tx"))

    def check_missing(self, numbers, counts, sent, passed):
        """Nothing is doubled, and each packet that is missing was counted as dropped by a ring."""
        doubled = [(pod, number) for pod, seen in numbers.items()
                   for number, times in seen.items() if times > 1]
        self.assertEqual(doubled[:10], [])
        missing = sent - sum(map(len, numbers.values()))
        # What was dropped beside them was no datagram of theirs, such as ARP's packets.
        self.assertIn(counts["dropped_by_ring"] - missing, range(passed - sent + 1),
                      f"{missing} missing")

    def test_rings_that_grow_under_load_account_for_every_packet(self):
        """Several processors send to several edges while their rings are replaced. Nothing is
        doubled, and nothing is missing but what was dropped before a ring had grown."""
        collector, agent = self.start(PODWIRE_RING_MEMORY="64MiB")
        pods = [Pod(number) for number in range(6)]
        for pod in pods:
            pod.add()
        self.await_rings(agent, pods)
        before, bytes_before, count, rounds = self.passed(), agent.ring_bytes(), 4000, 0
        # How soon rings fill depends on the machine, so it goes on until some have grown, and the agent
        # is stopped for longer each time. In between it must keep up: while packets come faster than
        # it reads, the new ring overflows as the old one did, and takes over in no case.
        while self.endpoint.fresh_metrics().sum("podwire_rings_replaced_total") <= 2:
            self.assertLess(rounds, 10, "no rings grow")
            first = 2 * count * rounds
            senders = [pod.prepare(first + half * count, count, 1400, 0.0005)
                       for pod in pods for half in range(2)]
            for sender in senders:
                sender.stdin.close()
            while any(sender.poll() is None for sender in senders):
                # Rings are close to full, or full, so that they grow.
                os.kill(agent.pid, signal.SIGSTOP)
                time.sleep(0.2 * (rounds + 1))
                os.kill(agent.pid, signal.SIGCONT)
                time.sleep(0.3)
            finish(senders)
            rounds += 1
        self.assertGreater(agent.ring_bytes(), bytes_before)
        numbers, counts = self.numbers(collector, agent), agent.counts()
        passed = self.passed() - before
        self.assertGreater(counts["rings_replaced"], 2)
        print(f"{counts['rings_replaced']} rings replaced, {counts['dropped_by_ring']} dropped",
              end=" ", flush=True)
        self.check_missing(numbers, counts, 2 * count * len(pods) * rounds, passed)


if __name__ == "__main__":
    unittest.main()
