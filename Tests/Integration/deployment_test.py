"""Starts the program as the manifests of k8s/ do: their arguments and variables, their user and no more
than their capabilities, in a network namespace that stands for a node.

PODWIRE names the binary.
"""

import os
import pathlib
import re
import tempfile
import unittest

from support.commands import make_certificate, run
from support.manifests import FOLDER, OVERLAYS, build, containers, environment, pods
from support.namespace import add_namespace, python_in, run_in
from support.program import PODWIRE, Program
from support.waiting import PATIENCE_SECONDS

NODE = f"podwire-manifest-{os.getpid()}"
README = (FOLDER.parent / "README.md").read_text()
PASSWORD = "correct horse battery staple\n"
FETCH = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def fetch(url):
    return int(run(*python_in(NODE, FETCH, url)).stdout)


def confined(pod, container):
    """The command that leaves a program what the pod and its container leave it."""
    context = {**pod["spec"]["securityContext"], **container["securityContext"]}
    kept = ["+" + name.lower() for name in context["capabilities"].get("add", [])]
    return ["setpriv", f"--reuid={context['runAsUser']}", f"--regid={context['runAsGroup']}",
            "--clear-groups", "--bounding-set=" + ",".join(["-all", *kept]), "--inh-caps=-all",
            "--no-new-privs"]


class Deployment(unittest.TestCase):
    def setUp(self):
        add_namespace(NODE)
        self.addCleanup(run, "ip", "netns", "del", NODE)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.root.chmod(0o755)
        self.make_secrets()

    def make_secrets(self):
        """What README.md has people put into Secrets, where the pods have them."""
        users, tls = self.root / "etc/podwire/users", self.root / "etc/podwire/tls"
        users.mkdir(parents=True)
        tls.mkdir()
        run(PODWIRE, "password", "eve", "--file", str(users / "users"), input=PASSWORD)
        make_certificate(tls / "tls.key", tls / "tls.crt")
        for path in (*users.iterdir(), *tls.iterdir()):
            path.chmod(0o400)

    def placed(self, text, pod):
        """A path below a volume, where that is here."""
        for path in {mount["mountPath"] for container in containers(pod)
                     for mount in container.get("volumeMounts", [])}:
            text = text.replace(path, f"{self.root}{path}")
        return text

    def start(self, pod, container, **fields):
        values = environment(container, **{"status.hostIP": "127.0.0.1", **fields})
        program = Program(NODE, *(self.placed(text, pod) for text in container["args"]),
                          prefix=confined(pod, container),
                          **{name: self.placed(value, pod) for name, value in values.items()})
        self.addCleanup(program.kill)
        return program

    def test_agents_start_and_answer_their_probes(self):
        for folder in [FOLDER, *OVERLAYS]:
            pod = build(folder)["DaemonSet", "extrahop-rpcapd"]["spec"]["template"]
            container = pod["spec"]["containers"][0]
            with self.subTest(folder=folder.name):
                agent = self.start(pod, container)
                self.check_probes(agent, container, "127.0.0.1")
                self.assertNotIn("CAP_", agent.text())
                self.assertEqual(agent.stop(), 0)

    def test_nodes_can_have_ipv6_addresses(self):
        pod = build(FOLDER / "overlays/prometheus")["DaemonSet", "extrahop-rpcapd"]["spec"]["template"]
        container = pod["spec"]["containers"][0]
        agent = self.start(pod, container, **{"status.hostIP": "::1"})
        self.check_probes(agent, container, "[::1]")
        self.assertEqual(agent.stop(), 0)

    def check_probes(self, agent, container, host):
        agent.await_text("agent started")
        agent.await_text("serving metrics and probes")
        for name, allowed in (("startupProbe", {200}), ("livenessProbe", {200}),
                              ("readinessProbe", {200, 503})):
            probe = container[name]["httpGet"]
            url = f"http://{probe.get('host', host)}:{probe['port']}{probe['path']}"
            self.assertIn(fetch(url), allowed, url)

    def test_the_doctor_understands_its_settings(self):
        pod = build(FOLDER / "overlays/doctor")["DaemonSet", "extrahop-rpcapd"]["spec"]["template"]
        doctor = self.start(pod, pod["spec"]["initContainers"][0])
        # Here is no pod, which it may say.
        self.assertIn(doctor.process.wait(PATIENCE_SECONDS), (0, 1), doctor.text())

    def test_the_readmes_first_commands_are_understood(self):
        """As they stand there, one after the other; the two that go on for two seconds."""
        block = re.search(r"```sh\n(export PODNET=.*?)```", README, re.DOTALL)[1]
        variables, *commands = block.splitlines()
        self.assertEqual([command.split()[1] for command in commands],
                         ["doctor", "edges", "explain", "agent", "collect", "password"])
        (self.root / "podwire").symlink_to(os.path.abspath(PODWIRE))
        for command in commands:
            name = command.split()[1]
            if goes_on := name in ("agent", "collect"):
                command = f"timeout --signal=INT 2 {command}"
            with self.subTest(name):
                result = run_in(
                    NODE, "bash", "-c", f"{variables}\n{command}", check=False, cwd=self.root,
                    input=PASSWORD, env={"PATH": f"{self.root}:{os.environ['PATH']}"})
                # Here is no pod, which the doctor may say.
                allowed = {124} if goes_on else {0, 1} if name == "doctor" else {0}
                self.assertIn(result.returncode, allowed, result.stderr)

    def test_the_collector_writes_where_it_may(self):
        pod = pods(build(FOLDER / "overlays/collector"))["Deployment", "podwire-collector"]
        container = pod["spec"]["containers"][0]
        captures = self.root / "captures"
        captures.mkdir()
        os.chown(captures, pod["spec"]["securityContext"]["runAsUser"],
                 pod["spec"]["securityContext"]["fsGroup"])
        collector = self.start(pod, container)
        collector.await_text("listening")
        self.assertEqual({path.name for path in captures.iterdir()}, {".podwire", "pods-00001.pcapng"})
        self.assertEqual((captures / ".podwire/pods.pcapng.keep").read_text(), "pods-00001.pcapng\n")
        self.assertEqual(collector.stop(), 0)
        # A file in which no agent has captured anything does not stay.
        self.assertEqual({path.name for path in captures.iterdir()}, {".podwire"})


if __name__ == "__main__":
    unittest.main()
