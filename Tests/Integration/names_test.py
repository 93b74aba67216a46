"""Names of pods, as containerd's library leaves them in the cache of CNI results for pods that it has
the real plug-ins make.

PODWIRE names the binary. The cache is a folder of the test's own, mounted for the runtime alone.
"""

import json
import os
import pathlib
import tempfile
import unittest

from support import HERE, rpcap
from support.agent import Client
from support.commands import run
from support.endpoint import Endpoint
from support.namespace import add_namespace, add_wire, ip_in, remove_namespaces, run_in
from support.program import PODWIRE, Program
from support.waiting import wait_until

PREFIX = f"nt{os.getpid()}"
NODE = f"{PREFIX}-node"
CACHE = pathlib.Path("/var/lib/cni")


def setUpModule():
    """Builds the runtime from Debian's copies of the libraries. Where it has its cache there has to be a
    folder, to mount the test's own over it."""
    if not CACHE.exists():
        CACHE.mkdir()
        unittest.addModuleCleanup(CACHE.rmdir)
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    NamesTest.runtime = f"{folder.name}/runtime"
    run("go", "build", "-o", NamesTest.runtime, HERE / "runtime.go", env={
        **os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode",
        "GOCACHE": f"{folder.name}/cache"})


class NamesTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(remove_namespaces, f"{PREFIX}-")
        add_namespace(NODE)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.results = self.folder / "results"
        self.shared = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(self.shared.cleanup)

    def call_runtime(self, verb, pod, number, kind="bridge", cache=None):
        """Has a pod connected to the network, or no longer."""
        plugins = {
            "bridge": {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True},
            "ptp": {"type": "ptp"},
        }
        network = self.folder / f"{pod}.conflist"
        network.write_text(json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {**plugins[kind], "ipam": {
                "type": "static", "routes": [{"dst": "0.0.0.0/0"}],
                "addresses": [{"address": f"10.244.0.{number}/16", "gateway": "10.244.0.1"}]}},
            {"type": "tuning"}]}))
        # What it takes for the node's cache is the test's folder.
        script = f'mount --bind {cache or self.folder} {CACHE} && exec "$@"'
        run_in(NODE, "unshare", "--mount", "sh", "-c", script, "runtime", self.runtime, verb,
               f"{PREFIX}-{pod}", f"/run/netns/{PREFIX}-{pod}", "shop", pod, network)

    def add(self, pod, number, **keywords):
        run("ip", "netns", "add", f"{PREFIX}-{pod}")
        self.call_runtime("add", pod, number, **keywords)

    def remove(self, pod, number):
        self.call_runtime("del", pod, number)
        run("ip", "netns", "del", f"{PREFIX}-{pod}")

    def agent(self, *arguments, **variables):
        agent = Program(NODE, "agent", "--listen", "127.0.0.1:2002", "--allow-null-login",
                        "--pod-network", "10.244.0.0/16", *arguments,
                        PODWIRE_CNI_CACHE=str(self.results), **variables)
        self.addCleanup(agent.kill)
        agent.await_text("listening for clients")
        return agent

    def edges(self, *arguments):
        return run_in(NODE, PODWIRE, "edges", "--cni-cache", self.results, *arguments).stdout

    def names(self):
        return {edge["pod_addresses"][0]: (edge["pod_namespace"], edge["pod_name"])
                for edge in json.loads(self.edges("--json")) if edge["captured"]}

    def descriptions(self):
        """What a client's list says of the edges."""
        client = Client(NODE)
        self.addCleanup(client.close)
        client.ask(rpcap.LOGIN)
        _, count, payload = client.ask(rpcap.LIST)
        # There are only so many places for clients that do not capture.
        client.close()
        return sorted(text for _, text in rpcap.devices(count, payload)[1:])

    def names_in_metrics(self):
        """Whose the agent's edges are, of which each is named once."""
        metrics = Endpoint(NODE).metrics()
        found = [dict(key[1:]) for key in metrics.values if key[0] == "podwire_edge_info"]
        self.assertEqual(len({labels["edge"] for labels in found}), len(found))
        return sorted((labels["pod_namespace"], labels["pod_name"]) for labels in found)

    def test_pods_there_before_the_agent(self):
        self.add("web-1", 7)
        self.add("db", 8, kind="ptp")
        # This one no runtime has made, so nobody tells its name.
        bare = f"{PREFIX}-bare"
        add_namespace(bare)
        add_wire(NODE, "veth-bare", bare)
        ip_in(bare, "addr", "add", "10.244.0.9/16", "dev", "eth0")
        self.assertEqual(self.names(), {
            "10.244.0.7": ("shop", "web-1"), "10.244.0.8": ("shop", "db"),
            "10.244.0.9": (None, None)})
        table = self.edges().splitlines()
        self.assertEqual(table[0].split()[:3], ["INTERFACE", "POD", "POD"])
        self.assertRegex("\n".join(table), r"veth\w+ +shop/web-1 +10\.244\.0\.7 ")
        self.assertRegex("\n".join(table), r"veth-bare +- +10\.244\.0\.9 ")
        explained = run_in(NODE, PODWIRE, "explain", "--pod-network", "10.244.0.0/16", "--cni-cache",
                           self.results, "udp", "10.244.0.7:5000", "10.244.0.9:53").stdout
        self.assertRegex(explained, r"10\.244\.0\.7:5000 +pod shop/web-1 at veth\w+\n")
        self.assertRegex(explained, r"10\.244\.0\.9:53 +pod at veth-bare\n")
        agent = self.agent()
        wanted = ["the pod at 10.244.0.9", "the pod shop/db at 10.244.0.8",
                  "the pod shop/web-1 at 10.244.0.7"]
        wait_until(lambda: self.descriptions() == wanted, self.descriptions)
        self.assertEqual(self.names_in_metrics(), [("", ""), ("shop", "db"), ("shop", "web-1")])
        self.assertNotIn("edge ", agent.text())
        self.assertEqual(agent.stop(), 0)

    def test_pods_that_come_while_the_agent_runs(self):
        self.results.mkdir()
        agent = self.agent()
        for number in range(3):
            self.add(f"web-{number}", 10 + number)
        for number in range(3):
            agent.await_text(f"pod=shop/web-{number}")
            lines = agent.lines(f"pod=shop/web-{number}")
            self.assertEqual(len(lines), 1, agent.text())
            # On a machine that stalls the name comes after the edge.
            self.assertRegex(lines[0], " info edge (captured|has a name) "
                             rf"addresses=10\.244\.0\.{10 + number} ")
        # The next pod has the address, and with it what the one before has left behind.
        stale = {file.name: file.read_bytes() for file in self.results.iterdir()}
        self.remove("web-1", 11)
        agent.await_text("edge gone")
        for name, data in stale.items():
            (self.results / name).write_bytes(data)
        self.add("api", 11)
        agent.await_text("pod=shop/api")
        self.assertEqual(self.names()["10.244.0.11"], ("shop", "api"))
        captured = agent.lines("edge captured")
        self.assertEqual(len(captured), 4, agent.text())
        self.assertIn("pod=shop/web-1", agent.lines("edge gone")[0])
        self.assertEqual(agent.stop(), 0)

    def test_a_name_that_comes_late(self):
        """A runtime that takes its time holds up no capture."""
        self.results.mkdir()
        agent = self.agent()
        late = self.folder / "late"
        late.mkdir()
        self.add("slow", 8, cache=late)
        agent.await_text("edge captured addresses=10.244.0.8")
        self.assertNotIn("pod=", agent.text())
        for file in (late / "results").iterdir():
            file.rename(self.results / file.name)
        agent.await_text("edge has a name addresses=10.244.0.8")
        self.assertIn("pod=shop/slow", agent.text())
        self.assertEqual(self.descriptions(), ["the pod shop/slow at 10.244.0.8"])

    def test_files_that_are_none(self):
        self.results.mkdir()
        os.mkfifo(self.results / "a-pipe")
        (self.results / "a-folder").mkdir()
        (self.results / "a-link").symlink_to(self.results / "a-link")
        (self.results / "nothing").write_bytes(b"")
        (self.results / "bytes").write_bytes(os.urandom(5000))
        (self.results / "deep").write_bytes(b"[" * 200_000)
        (self.results / "large").write_bytes(b'{"kind": "cniCacheV1", "x": "' + b"x" * 5_000_000 + b'"}')
        # Files in memory can have any time, those of disks cannot.
        for name, seconds in (("far", 99_999_999_999), ("further", 1 << 60), ("before", -(1 << 60))):
            file = pathlib.Path(self.shared.name, name)
            file.write_bytes(b"{}")
            os.utime(file, (0, seconds))
            (self.results / name).symlink_to(file)
        for number in range(5000):
            (self.results / f"old-{number}").write_text('{"kind": "cniCacheV1"}')
            os.utime(self.results / f"old-{number}", (1, 1))
        agent = self.agent()
        self.add("web-1", 7)
        agent.await_text("pod=shop/web-1")
        good = next(file for file in self.results.iterdir() if file.name.startswith("pods-"))
        text = good.read_text()
        # A name that would be two lines, or a column of its own, is none.
        good.write_text(text.replace('"web-1"', '"web-1\\nx"'))
        self.assertEqual(self.names()["10.244.0.7"], (None, None))
        good.write_text(text.replace('"web-1"', '"WEB 1"'))
        self.assertEqual(self.names()["10.244.0.7"], (None, None))
        good.write_text(text)
        self.assertEqual(self.names()["10.244.0.7"], ("shop", "web-1"))
        before = agent.uses()
        for number in range(5):
            self.add(f"more-{number}", 20 + number)
            agent.await_text(f"pod=shop/more-{number}")
        self.assertLess(agent.uses()[2] - before[2], 4 << 20)
        self.assertEqual(agent.stop(), 0)

    def test_no_folder_is_no_matter(self):
        agent = self.agent("--log-level", "debug")
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        for number in range(2):
            self.add(f"web-{number}", 7 + number, cache=elsewhere)
            agent.await_text("edge captured", number + 1)
        lines = agent.lines("names unavailable")
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], " debug .*No such file")
        self.assertEqual(self.names(), {"10.244.0.7": (None, None), "10.244.0.8": (None, None)})
        self.assertNotIn(" POD  ", self.edges())
        # When there is one, new pods have names.
        self.add("web-2", 9)
        agent.await_text("pod=shop/web-2")
        self.assertEqual(agent.stop(), 0)

    def test_who_may_not_read_it_is_told_once(self):
        self.add("web-1", 7)
        agent = Program(NODE, "agent", "--listen", "127.0.0.1:2002", "--allow-null-login",
                        "--pod-network", "10.244.0.0/16",
                        prefix=("setpriv", "--reuid", "65534", "--inh-caps", "+net_raw,+net_admin",
                                "--ambient-caps", "+net_raw,+net_admin"),
                        PODWIRE_CNI_CACHE=str(self.results))
        self.addCleanup(agent.kill)
        agent.await_text("pod names unavailable")
        self.add("web-2", 8)
        agent.await_text("addresses=10.244.0.8")
        self.add("web-3", 9)
        agent.await_text("addresses=10.244.0.9")
        lines = agent.lines("names unavailable")
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], " notice .*Permission denied")


if __name__ == "__main__":
    unittest.main()
