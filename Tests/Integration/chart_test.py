"""The chart of k8s/chart: rendered by Helm 3 and 4, it has the objects of the kustomizations, its schema
refuses what the program refuses, and it says what is missing.

PODWIRE names the binary. Needs the Python packages and the clients that tools/test gets.
"""

import concurrent.futures
import functools
import itertools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import kubernetes_validate
import yaml

from support import manifests
from support.commands import TIMEOUT_SECONDS
from support.manifests import (
    FOLDER, NEEDED_COMPONENTS, README, build_site, clients, containers, environment, examples)

PODWIRE = os.environ["PODWIRE"]
CHART = FOLDER / "chart"
HELMS = [pathlib.Path(os.environ["HELM"])] if "HELM" in os.environ else clients("helm")
assert HELMS, "there is no Helm: let HELM name one"
NEWEST = HELMS[-1]
AGENT = ("DaemonSet", "extrahop-rpcapd")
COLLECTOR = ("Deployment", "podwire-collector")
# What `base` has, as values.
BASE = {
    "image": {"repository": "registry.example/podwire"}, "namespace": {"create": True},
    "settings": {"EXTRAHOP_SENSOR_IP": ["192.0.2.10"], "PODNET": ["10.244.0.0/16"],
                 "SVCNET": ["10.96.0.0/12"]}}
# Each component, as values.
COMPONENTS = {
    "openshift": {"openshift": {"enabled": True}},
    "cilium-services": {"ciliumServices": {"enabled": True}},
    "collector": {"collector": {"enabled": True}, "settings": {"EXTRAHOP_SENSOR_IP": []}},
    "collector-policy": {"collector": {"enabled": True, "nodeNetworks": ["192.0.2.0/24"]},
                         "settings": {"EXTRAHOP_SENSOR_IP": []}},
    "doctor": {"doctor": {"enabled": True}},
    "metrics": {"metrics": {"enabled": True}},
    "names": {"names": {"enabled": True}},
    "passive": {"passive": {"enabled": True}, "settings": {"EXTRAHOP_SENSOR_IP": []}},
    "pod-taps": {"podTaps": {"enabled": True}},
    "prometheus-operator": {"prometheusOperator": {"enabled": True}, "metrics": {"enabled": True}},
    "tls": {"tls": {"enabled": True}},
}
# The components that others stand for on OpenShift.
OF_OPENSHIFT = {"collector": "openshift/collector"}
# With a doctor the chart gives it all settings and folders, and a component those of two others.
BESIDE_DOCTOR = {"openshift", "cilium-services", "pod-taps", "metrics"}
DOCTORS_SETTINGS = (FOLDER / "overlays/doctor/settings.yaml").read_text()
LISTS_BY_NAME = {"env", "containers", "initContainers"}
SETS = {"volumes", "volumeMounts", "ports", "add", "allowedCapabilities"}
# What the chart sets by itself.
ITS_OWN = {"PODWIRE_HTTP", "PODWIRE_TLS_CERTIFICATE", "PODWIRE_TLS_KEY", "PODWIRE_PASSWORD_FILE",
           "PODWIRE_OPENER", "PODWIRE_NODE_NAME", "PODWIRE_REVISION"}
# Has no capability, so that an agent whose settings are right says that, and ends.
CONFINED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
UNDERSTOOD, NOT_UNDERSTOOD = 77, 64

ON_OFF = (["on", "off", True, False], ["yes", 1, "On"])
NETWORKS = (
    ["10.244.0.0/16", "fd00:10:244::/56", ["10.244.0.0/16", "fd00:10:244::/56"], "10.1.2.3", "::/0", "::1",
     "1:2:3:4:5:6:7:8/128", "1::8", "fe80::", "1:2:3:4:5:6:7::/64", "::2:3:4:5:6:7:8", "0.0.0.0/0"],
    ["10.244.0.0/33", "10.244.0.0/", "10.244.0/16", "10.256.0.0/16", "fd00::/129", "1::2::3", ":::",
     "1:2:3:4:5:6:7:8:9", "12345::", "10.0.0.0-10.0.0.9", ["10.244.0.0/16", "pods"], "10.244.0.0/16/8",
     "010.0.0.0/8"])
PATTERNS = (["veth*", ["veth*", "cali?1234"], "*" * 20, "lxc_health"],
            ["a/b", "0123456789abcdef", ["veth*", "a:b"], "[ab]"])
MEMORY = (["1MiB", "256MiB", "512 Mi", "1G", "1TiB", "1024K", 1048576, "100MB"],
          ["1023K", "0", "0MiB", "1.5GiB", "2TiB", "-1MiB", "1024X", 1048575, "MiB", "1PiB", "256mib"])
OPTIONAL_MEMORY = (["off", False, *MEMORY[0]], ["on", *MEMORY[1]])
FOLDERS = (["/run/netns", "/"], ["run/netns", "./x"])
OPTIONAL_FOLDERS = (["off", False, "/x"], ["x", "on"])
# For each setting, values that are right and values that are not.
VALUES = {
    "EXTRAHOP_SENSOR_IP": (
        ["192.0.2.10", "sensor.example", "sensor.example:2004", "[2001:db8::10]:2003", "2001:db8::10",
         "[192.0.2.1]:2003", "fe80::1%eth0", "[fe80::1%eth0]:2003", ["192.0.2.10", "a:2004"],
         "vxlan://sensor", "vxlan://sensor:4789?vni=7", "geneve://[fd00::1]:6081", "VXLAN://a?vni=16777215",
         "a_b", "host@example", "a*2", "[fd00::1]:2004*100", "geneve://a*7"],
        ["sensor:0", "sensor:65536", "sensor:", "[2001:db8::10", "[sensor]:2003", "a:1:2", "http://a",
         "vxlan://", "vxlan://a/b", "vxlan://user@a", "vxlan://fd00::1", "vxlan://a?vni=16777216",
         "vxlan://a?x=1", "a/b", ["192.0.2.10", "a:b"], "[1::2::3]", "a*2*3", "a*101", "a*"]),
    "RPCAPD_TARGET_PORT": ([1, 2003, 65535], [0, 65536, -1, "port"]),
    "PODWIRE_SENSOR_POLICY": (["all", "one"], ["some", "One"]),
    "PODNET": NETWORKS, "SVCNET": NETWORKS, "PODWIRE_UNCOVERED": NETWORKS,
    "INTERFACE": (["any-eth", "x" * 255], ["x" * 256]),
    "PODWIRE_EDGES": (["pods", "all"], ["none"]),
    "PODWIRE_INCLUDE_EDGES": PATTERNS, "PODWIRE_EXCLUDE_EDGES": PATTERNS,
    "PODWIRE_CNI_CACHE": OPTIONAL_FOLDERS, "PODWIRE_CILIUM_TABLES": OPTIONAL_FOLDERS,
    "PODWIRE_TAP": (["host", "pod", "auto"], ["both"]), "PODWIRE_NETNS": FOLDERS,
    "PODWIRE_POD_INTERFACES": ON_OFF, "PODWIRE_DEDUP": ON_OFF,
    "PODWIRE_SERVICES": (["tracked", "untracked"], ["all"]),
    "PODWIRE_LISTEN": (
        [2002, "2002", "127.0.0.1:2002", "[::1]:2002", "[127.0.0.1]:2002"],
        [0, "65536", "localhost:2002", "127.0.0.1", "127.0.0.1:0", "[::1]", "::1:"]),
    "PODWIRE_ALLOW": NETWORKS,
    "PODWIRE_ALLOW_NULL_LOGIN": (["off", False], ["yes", 1]),
    "PODWIRE_DATA_PORTS": ([40000, "40000", "40000-40015"], ["0", "40000-", "a-b", "1-65536", "1-2-3", 0]),
    "PODWIRE_UDP_FORMAT": (["auto", "packet", "udpstr"], ["udp"]),
    "PODWIRE_TLS_PEERS": (["all"], ["none"]),
    "PODWIRE_FRAMES": (["wire", "raw"], ["cooked"]),
    "PODWIRE_SNAPLEN": ([64, 262144], [63, 262145, "many"]),
    "PODWIRE_FILTER": (["not port 22", 'host 10.1.2.3 and (port 80 or "tcp")'.replace('"', "")], []),
    "PODWIRE_FILTER_FILE": ([], ["filters/one"]),
    "PODWIRE_FLOW_SAMPLE": (["off", False, "1/2", "1/10", "1/999999999"], ["1/1", "1/0", "2/3", "10", "on"]),
    "PODWIRE_CUTOFF": (["off", False, "1KiB", "1MiB", 1024], ["1023", "0", "2TiB", "1X", 1023]),
    "PODWIRE_RING_MEMORY": MEMORY, "PODWIRE_QUEUE_MEMORY": MEMORY,
    "PODWIRE_RATE_LIMIT": OPTIONAL_MEMORY,
    "PODWIRE_CPUS": ([0, "0", "0-1", "2,3,6-7", "8191"], ["8192", "a", "1-", "1,,2", "1-2-3", "-1"]),
    "PODWIRE_NICE": ([-20, 0, 19], [-21, 20, "low"]),
    "PODWIRE_HANDOVER": (
        ["off", False, "netobs/extrahop-rpcapd", "A.b_c-d", "/", "x" * 80],
        ["a b", "$(POD_NAMESPACE)", "ü", "x" * 81, "a,b", "a:b"]),
    "PODWIRE_LOG_LEVEL": (["trace", "debug", "info", "notice", "warning", "error", "critical"], ["warn"]),
    "PODWIRE_LOG_FORMAT": (["text", "json"], ["xml"]),
}
ONE_AGENT, TWO_AGENTS = {"maxSurge": 0, "maxUnavailable": "10%"}, {"maxSurge": "10%", "maxUnavailable": 0}
SURGING = {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}}
# What has to be there for some settings.
WITH_ALL = {**BASE, **{name: {"enabled": True} for name in ("passive", "tls", "podTaps")}}
# Values that are right each by itself, and what the chart says of them together.
CONFLICTS = (
    ({"settings": {"PODNET": []}}, "settings.PODNET is not set"),
    ({"settings": {"EXTRAHOP_SENSOR_IP": []}}, "settings.EXTRAHOP_SENSOR_IP is not set"),
    ({"image": {"repository": ""}}, "image.repository is not set"),
    ({"prometheusOperator": {"enabled": True}}, "set metrics.enabled"),
    ({"collector": {"nodeNetworks": ["192.0.2.0/24"]}}, "set collector.enabled"),
    ({"names": {"enabled": True}, "settings": {"PODWIRE_CNI_CACHE": "off"}}, "names.enabled needs a folder"),
    # These the program refuses, too.
    ({"settings": {"PODWIRE_ALLOW": ["192.0.2.0/24"]}}, "set passive.enabled"),
    ({"settings": {"PODWIRE_LISTEN": 2002}}, "set passive.enabled"),
    ({"settings": {"PODWIRE_ALLOW_NULL_LOGIN": "on"}}, "set passive.enabled"),
    ({"settings": {"PODWIRE_TLS_PEERS": "sensors"}}, "set tls.enabled"),
    ({"settings": {"EXTRAHOP_SENSOR_IP": ["a*2"]}}, "PODWIRE_SENSOR_POLICY to one"),
    ({"settings": {"EXTRAHOP_SENSOR_IP": ["vxlan://a"], "PODWIRE_FRAMES": "raw"}}, "PODWIRE_FRAMES"),
    ({"settings": {"PODWIRE_FILTER": "tcp", "PODWIRE_FILTER_FILE": "/x"}}, "give one of them"),
    ({"passive": {"enabled": True}, "settings": {"PODWIRE_HANDOVER": "a"}}, "leave it out"),
    # An update would wait for ever,
    ({"passive": {"enabled": True}, **SURGING}, "with passive.enabled agents declare a port"),
    # or both agents of a node would report everything.
    (SURGING, "both agents of a node would report everything"),
    ({"settings": {"PODWIRE_HANDOVER": "off"}, **SURGING}, "both agents of a node would report everything"),
    ({"settings": {"PODWIRE_HANDOVER": False}, "updateStrategy": {"rollingUpdate": {"maxSurge": "5%"}}},
     "both agents of a node would report everything"),
    # The program would wait for its opener.
    ({"settings": {"PODWIRE_TAP": "auto"}}, "set podTaps.enabled"),
    ({"settings": {"PODWIRE_POD_INTERFACES": True}}, "set podTaps.enabled"),
)


def merged(*values):
    """Values over values, as Helm has them of several files."""
    result = {}
    for more in values:
        for name, value in more.items():
            both = isinstance(value, dict) and isinstance(result.get(name), dict)
            result[name] = merged(result[name], value) if both else value
    return result


def helm(client, command, values, *arguments):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values, file)
        file.flush()
        return subprocess.run([client, *command, CHART, "--values", file.name, *arguments],
                              capture_output=True, text=True, timeout=TIMEOUT_SECONDS)


def template(values, client=NEWEST, namespace="extrahop"):
    return helm(client, ["template", "podwire"], values, "--namespace", namespace)


def render(values, client=NEWEST, namespace="extrahop"):
    """Each object by its kind and name."""
    result = template(values, client, namespace)
    assert result.returncode == 0, result.stderr
    items = [item for item in yaml.safe_load_all(result.stdout) if item]
    found = {manifests.key(item): item for item in items}
    assert len(found) == len(items), "two objects have one name"
    return found


def normal(value, name=None):
    """A value in which order does not matter where it does not to Kubernetes."""
    if isinstance(value, dict):
        return {key: normal(item, key) for key, item in value.items()}
    if isinstance(value, list):
        items = [normal(item) for item in value]
        if name in LISTS_BY_NAME:
            return {item["name"]: item for item in items}
        # An SCC's capabilities and kinds of volumes are sets, too.
        return sorted(items, key=text_of) if name in SETS else items
    return value


def text_of(value):
    return json.dumps(value, sort_keys=True)


def differences(found, expected, path=""):
    """Where two values differ, and how."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return [line for key in {**found, **expected}
                for line in differences(found.get(key), expected.get(key), f"{path}/{key}")]
    return [] if found == expected else [f"{path}: {text_of(found)} instead of {text_of(expected)}"]


def as_variable(value):
    if isinstance(value, list):
        return ",".join(map(str, value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def exit_code(variables):
    result = subprocess.run([*CONFINED, PODWIRE, "agent"], env=variables, capture_output=True, text=True,
                            timeout=TIMEOUT_SECONDS)
    return result.returncode, result.stderr


@functools.cache
def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def in_parallel(function, rows):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda row: function(*row), rows))


class Objects(unittest.TestCase):
    def compare(self, expected, values, **keywords):
        for client in HELMS:
            with self.subTest(client.name):
                self.check(render(values, client, **keywords), expected)

    def check(self, found, expected):
        self.assertEqual(differences(normal(found), normal(expected)), [])

    def test_helm_3_and_4_are_asked(self):
        majors = {subprocess.run([client, "version", "--short"], capture_output=True, text=True,
                                 check=True, timeout=TIMEOUT_SECONDS).stdout[:2]
                  for client in HELMS}
        self.assertEqual(majors, {"v3", "v4"})

    def test_the_base(self):
        self.compare(build_site([]), BASE)

    def test_there_is_a_value_for_each_component(self):
        self.assertEqual(COMPONENTS.keys(), {path.name for path in manifests.COMPONENTS})

    def test_the_readme_names_the_value_for_each_component(self):
        def has(values, path):
            first, _, rest = path.partition(".")
            return first in values and (not rest or has(values[first], rest))

        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        rows = re.findall(r"^\| `components/([\w-]+)` \| `([\w.]+)` \| (.*) ?\|$", README, re.MULTILINE)
        self.assertEqual(sorted(name for name, *_ in rows), sorted(COMPONENTS))
        for name, path, beside in rows:
            with self.subTest(name):
                self.assertTrue(has(COMPONENTS[name], path), path)
                for other in re.findall(r"`([a-z]\w+(?:\.\w+)?)`", beside.replace("`busybox`", "")):
                    if not other.startswith("settings."):
                        self.assertTrue(has(defaults, other), other)
                    else:
                        self.assertIn(other.removeprefix("settings."), VALUES)

    def site(self, names, *patches, **fields):
        """What the components of these names build, with those that they need."""
        names = list(dict.fromkeys(itertools.chain(*([*NEEDED_COMPONENTS.get(name, []), name] for name in names))))
        if "collector-policy" in names:
            patches = (*patches, *manifests.example_patch("NetworkPolicy"))
        if "doctor" in names:
            patches = (*patches, DOCTORS_SETTINGS)
        if "openshift" in names:
            # Before the others, as it has to be; and with a collector of its own.
            names = ["openshift", *(OF_OPENSHIFT.get(name, name) for name in names if name != "openshift")]
        return build_site([FOLDER / "components" / name for name in names], *patches, **fields)

    def test_each_component(self):
        for name, values in COMPONENTS.items():
            with self.subTest(name):
                self.compare(self.site([name]), merged(BASE, values))

    def test_every_two_components(self):
        pairs = [pair for pair in itertools.combinations(COMPONENTS, 2)
                 if "doctor" not in pair or BESIDE_DOCTOR & set(pair)]
        # Whose EXTRAHOP_SENSOR_IP wins, the order says there, and here it is the collector's.
        pairs = [pair for pair in pairs if pair not in (
            ("collector", "passive"), ("collector-policy", "passive"))]
        self.assertGreater(len(pairs), 45)

        def both(*pair):
            return self.site(pair), render(merged(BASE, *(COMPONENTS[name] for name in pair)))

        for pair, (expected, found) in zip(pairs, in_parallel(both, pairs)):
            with self.subTest(pair):
                self.check(found, expected)

    def test_openshift_with_all_that_needs_more(self):
        names = ["openshift", "names", "pod-taps", "cilium-services"]
        self.compare(self.site(names), merged(BASE, *(COMPONENTS[name] for name in names)))

    def test_the_doctor_with_all_that_it_looks_at(self):
        names = ["doctor", "pod-taps", "cilium-services"]
        self.compare(self.site(names), merged(BASE, *(COMPONENTS[name] for name in names)))

    def test_another_namespace(self):
        names = ["openshift", "collector-policy", "prometheus-operator"]
        expected = self.site(names, namespace="netobs")
        # kustomize does not know that the kind has none; the API server drops it.
        del expected["SecurityContextConstraints", "podwire"]["metadata"]["namespace"]
        self.compare(expected, merged(BASE, *(COMPONENTS[name] for name in names)), namespace="netobs")

    def test_several_sensors(self):
        for overlay, settings in (
                ("several-sensors", {"EXTRAHOP_SENSOR_IP": ["192.0.2.10", "sensor.example:2004",
                                                            "[2001:db8::10]:2003"]}),
                ("sensor-pool", {"EXTRAHOP_SENSOR_IP": ["192.0.2.10*2", "192.0.2.11", "192.0.2.12"],
                                 "PODWIRE_SENSOR_POLICY": "one"})):
            text = (FOLDER / "overlays" / overlay / "settings.yaml").read_text()
            with self.subTest(overlay):
                self.compare(build_site([], text), merged(BASE, {"settings": settings}))

    def test_what_the_readme_has_people_patch(self):
        for word, names, values in (
                ('"127.0.0.1:9465"', [], {"httpPort": 9465}),
                (",[$(HOST_IP)]:9465", ["metrics"], {"httpPort": 9465}),
                ("extrahop/canary", [], {"nodeSelector": {"extrahop/canary": ""},
                                         "settings": {"PODWIRE_DEDUP": "off"}}),
                ("OnDelete", [], {"updateStrategy": {"type": "OnDelete"}}),
                ("seLinuxOptions", [], {"seLinuxType": "spc_t"}),
                ("PODWIRE_POD_INTERFACES", ["pod-taps"],
                 {"settings": {"PODWIRE_POD_INTERFACES": "on"}})):
            [text] = [text for text in examples("DaemonSet") if word in text]
            with self.subTest(word):
                self.compare(self.site(names, text),
                             merged(BASE, *(COMPONENTS[name] for name in names), values))

    def test_an_update_is_as_given_or_as_the_values_need_it(self):
        """What no folder of the kustomizations has."""
        off, named = {"PODWIRE_HANDOVER": "off"}, {"PODWIRE_HANDOVER": "name"}
        default, rolling = None, {"type": "RollingUpdate"}
        for values, strategy, handover in (
                ({"settings": off}, {**rolling, "rollingUpdate": ONE_AGENT}, "off"),
                ({"settings": {"PODWIRE_HANDOVER": False}}, {**rolling, "rollingUpdate": ONE_AGENT}, "off"),
                ({"settings": named}, {**rolling, "rollingUpdate": TWO_AGENTS}, "name"),
                ({"settings": named, **COMPONENTS["metrics"]}, {**rolling, "rollingUpdate": TWO_AGENTS}, "name"),
                ({"settings": named, **SURGING}, {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, "name"),
                ({}, {**rolling, "rollingUpdate": ONE_AGENT}, default),
                ({"updateStrategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 1}}, "settings": off},
                 {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 1}}, "off"),
                ({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}, **COMPONENTS["metrics"]},
                 {"rollingUpdate": {"maxUnavailable": 3}}, default),
                ({"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}, {"type": "OnDelete"}, default),
                ({"updateStrategy": {"type": "OnDelete"}, "settings": off}, {"type": "OnDelete"}, "off")):
            for client in HELMS:
                spec = render(merged(BASE, values), client)[AGENT]["spec"]
                container = spec["template"]["spec"]["containers"][0]
                variables = {variable["name"]: variable.get("value") for variable in container["env"]}
                with self.subTest(values, client=client.name):
                    self.assertEqual(differences(spec["updateStrategy"], strategy), [])
                    self.assertEqual(variables.get("PODWIRE_HANDOVER"), handover)

    def test_each_template_has_a_revision_of_its_own(self):
        """Agents that hand over are asked for their own revision, so that the older one does not answer for the
        newer one."""
        def revision(values, client):
            """The revision, and the template without it."""
            template = render(values, client)[AGENT]["spec"]["template"]
            [container] = [one for one in template["spec"]["containers"] if one["name"] == "podwire"]
            name = environment(container).get("PODWIRE_REVISION")
            query = f"?revision={name}" if name else ""
            self.assertEqual(
                {key: container[key]["httpGet"]["path"]
                 for key in ("startupProbe", "readinessProbe", "livenessProbe")},
                {"startupProbe": "/healthz", "readinessProbe": f"/readyz{query}", "livenessProbe": "/healthz"})
            return name, json.dumps(template).replace(name or "none", "NAME")

        named = merged(BASE, {"settings": {"PODWIRE_HANDOVER": "name"}})
        changes = (
            {"settings": {"PODNET": ["10.0.0.0/8"]}}, {"image": {"tag": "1"}}, {"image": {"pullSecrets": ["a"]}},
            {"httpPort": 9465}, {"resources": {"limits": {"memory": "1Gi"}}}, {"nodeSelector": {"a": "b"}},
            {"extraVolumes": [{"name": "a", "emptyDir": {}}]}, {"podAnnotations": {"a": "b"}}, {"seLinuxType": "a"},
            {"priorityClass": {"name": "other"}}, {"tolerations": []},
            *({name: {"enabled": True}} for name in ("collector", "names", "doctor", "podTaps", "ciliumServices",
                                                    "tls")))
        others = (
            {"collector": {"filesImage": "busybox:1"}}, {"updateStrategy": {"type": "OnDelete"}},
            {"openshift": {"enabled": True}}, {"priorityClass": {"create": False}}, {"namespace": {"create": True}})
        for client in HELMS:
            with self.subTest(client.name):
                for values in ({}, {"settings": {"PODWIRE_HANDOVER": "off"}}):
                    self.assertIsNone(revision(merged(BASE, values), client)[0])
                plain, *found = in_parallel(revision, [
                    (merged(named, values), client) for values in ({}, *others, *changes)])
                self.assertRegex(plain[0], "^[0-9a-f]{16}$")
                self.assertEqual(found[:len(others)], [plain] * len(others))
                every = [plain, *found[len(others):]]
                self.assertEqual({len({one[part] for one in every}) for part in (0, 1)}, {1 + len(changes)})

    def test_a_claim_keeps_the_collectors_files(self):
        [text] = examples("Deployment")
        self.compare(self.site(["collector"], text), merged(
            BASE, COMPONENTS["collector"], {"collector": {"claimName": "podwire-captures"}}))

    def test_an_image_can_have_another_tag_or_a_digest(self):
        digest = "sha256:" + "0" * 64
        for image, expected in (({"tag": "1"}, ":1"), ({"digest": digest, "tag": "1"}, f"@{digest}")):
            items = render(merged(BASE, COMPONENTS["doctor"], COMPONENTS["pod-taps"],
                                  COMPONENTS["collector"], {"image": image}))
            images = {container["image"] for pod in manifests.pods(items).values()
                      for container in containers(pod)}
            self.assertEqual(images, {f"registry.example/podwire{expected}", "busybox:1.36"})

    def test_what_is_for_pods_alone_gets_there(self):
        volume, mount = {"name": "filter", "configMap": {"name": "f"}}, {"name": "filter", "mountPath": "/f"}
        items = render(merged(BASE, COMPONENTS["doctor"], {
            "image": {"pullSecrets": ["one"]}, "podAnnotations": {"a": "b"}, "extraVolumes": [volume],
            "extraVolumeMounts": [mount], "settings": {"PODWIRE_FILTER_FILE": "/f/filter"}}))
        pod = items[AGENT]["spec"]["template"]
        self.assertEqual(pod["spec"]["imagePullSecrets"], [{"name": "one"}])
        self.assertEqual(pod["metadata"]["annotations"]["a"], "b")
        self.assertEqual(pod["spec"]["volumes"], [volume])
        for container in containers(pod):
            self.assertEqual(container["volumeMounts"], [mount])
        for minor in (25, int(kubernetes_validate.latest_version().split(".")[1])):
            kubernetes_validate.validate(items[AGENT], f"1.{minor}", strict=True)

    def test_texts_stay_texts(self):
        """What YAML would take for a comment, for a number, or for a word of its own."""
        values = merged(BASE, *(COMPONENTS[name] for name in (
            "names", "pod-taps", "passive", "tls", "collector-policy", "openshift", "prometheus-operator")), {
            "image": {"repository": "12", "tag": "34", "pullSecrets": ["123"]},
            "settings": {"PODWIRE_CNI_CACHE": "/x #y", "PODWIRE_NETNS": "/n: #m"},
            "priorityClass": {"name": "123"}, "passive": {"secretName": "1e3"}, "tls": {"secretName": "0x1f"},
            "seLinuxType": "0", "collector": {"claimName": "123", "filesImage": "12:34 #x"},
            "podAnnotations": {"a": "123"}, "nodeSelector": {"b": "true"}})
        for client in HELMS:
            items = render(values, client, namespace="456")
            agent, collector = (items[key]["spec"]["template"] for key in (AGENT, COLLECTOR))
            spec = agent["spec"]
            volumes = {volume["name"]: volume for volume in [*spec["volumes"], *collector["spec"]["volumes"]]}
            mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
            with self.subTest(client.name):
                for name, path in (("cni-results", "/x #y"), ("network-namespaces", "/n: #m")):
                    self.assertEqual((volumes[name]["hostPath"]["path"], mounts[name]), (path, path))
                self.assertEqual([volumes[name]["secret"]["secretName"] for name in ("users", "tls")],
                                 ["1e3", "0x1f"])
                self.assertEqual(volumes["captures"]["persistentVolumeClaim"]["claimName"], "123")
                self.assertEqual([container["image"] for container in collector["spec"]["containers"]],
                                 ["12:34", "12:34 #x"])
                for pod in (agent, collector):
                    self.assertEqual(pod["spec"]["imagePullSecrets"], [{"name": "123"}])
                self.assertEqual(spec["priorityClassName"], "123")
                self.assertIn(("PriorityClass", "123"), items)
                self.assertEqual(spec["securityContext"]["seLinuxOptions"], {"type": "0"})
                self.assertEqual(agent["metadata"]["annotations"]["a"], "123")
                self.assertEqual(spec["nodeSelector"]["b"], "true")
                self.assertIn(("Namespace", "456"), items)
                self.assertEqual({item["metadata"].get("namespace", "456") for item in items.values()}, {"456"})

    def test_keys_that_the_chart_has_too_come_once(self):
        name, system = "kubectl.kubernetes.io/default-container", "kubernetes.io/os"
        values = merged(BASE, {"podAnnotations": {name: "opener"}, "nodeSelector": {system: "linux", "a": "b"}})
        for client in HELMS:
            text = template(values, client).stdout
            pod = render(values, client)[AGENT]["spec"]["template"]
            with self.subTest(client.name):
                self.assertEqual([len(re.findall(f"^ *{key}: ", text, re.MULTILINE)) for key in (name, system)], [1, 1])
                self.assertEqual(pod["metadata"]["annotations"], {name: "opener"})
                self.assertEqual(pod["spec"]["nodeSelector"], {system: "linux", "a": "b"})

    def test_openshift_allows_the_volumes_that_are_given(self):
        plain = ["configMap", "emptyDir", "secret"]
        for given, kinds, has_folders in (
                ([], plain, False),
                ([{"configMap": {"name": "f"}}], plain, False),
                ([{"projected": {"sources": []}}, {"csi": {"driver": "d"}}], [*plain, "csi", "projected"], False),
                ([{"cephfs": {"monitors": ["m"]}}], [*plain, "cephFS"], False),
                ([{"hostPath": {"path": "/x"}}], [*plain, "hostPath"], True)):
            volumes = [{"name": f"v{number}", **volume} for number, volume in enumerate(given)]
            for client in HELMS:
                constraints = render(merged(BASE, COMPONENTS["openshift"], {"extraVolumes": volumes}), client)[
                    "SecurityContextConstraints", "podwire"]
                with self.subTest(given, client=client.name):
                    self.assertEqual(sorted(constraints["volumes"]), sorted(kinds))
                    self.assertEqual(constraints["allowHostDirVolumePlugin"], has_folders)
                    self.assertEqual(constraints["seLinuxContext"]["type"] == "RunAsAny", has_folders)

    def test_with_all_at_once_it_is_valid_and_variables_name_what_is_above(self):
        items = render(merged(BASE, *COMPONENTS.values(), {"settings": {"PODWIRE_SENSOR_POLICY": "one"}}))
        for (kind, name), item in items.items():
            if kind not in ("ServiceMonitor", "PrometheusRule", "SecurityContextConstraints"):
                for minor in range(25, int(kubernetes_validate.latest_version().split(".")[1]) + 1):
                    kubernetes_validate.validate(item, f"1.{minor}", strict=True)
        for container in containers(items[AGENT]["spec"]["template"]):
            environment(container, **{"status.hostIP": "node"})


class Chart(unittest.TestCase):
    def test_lint_finds_nothing(self):
        for client in HELMS:
            for values in ({}, BASE, merged(BASE, *COMPONENTS.values())):
                result = helm(client, ["lint", "--strict"], values)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                self.assertNotRegex(result.stdout, r"\[(WARNING|ERROR)\]")

    def test_a_package_has_all_that_is_linked_to(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([NEWEST, "package", CHART, "--destination", folder], check=True,
                           capture_output=True, timeout=TIMEOUT_SECONDS)
            [package] = pathlib.Path(folder).iterdir()
            subprocess.run(["tar", "--extract", "--file", package, "--directory", folder], check=True)
            alerts = pathlib.Path(folder, "podwire/files/alerts.yaml")
            self.assertFalse(alerts.is_symlink())
            self.assertEqual(alerts.read_text(),
                             (FOLDER / "components/prometheus-operator/alerts.yaml").read_text())

    def test_the_versions_are_the_programs(self):
        version = subprocess.run([PODWIRE, "--version"], capture_output=True, text=True, check=True,
                                 timeout=TIMEOUT_SECONDS).stdout.split()[1]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))

    def test_the_readmes_commands_render(self):
        [text] = re.findall(r"```yaml\n(image:\n.*?)```", README, re.DOTALL)
        values = yaml.safe_load(text)
        self.assertIn("helm install podwire k8s/chart --namespace extrahop --values values.yaml", README)
        for client in HELMS:
            items = render(values, client)
            container = items[AGENT]["spec"]["template"]["spec"]["containers"][0]
            self.assertEqual(container["image"], "registry.your.company/podwire:0.2.0")

    def test_the_notes_say_how_to_see_packets(self):
        for names, words, others in (
                ([], ["Packets go to 192.0.2.10", "podwire edges", "port-forward"],
                 ["kubectl cp", "rpcap://"]),
                (["collector"], ["kubectl cp -n extrahop -c files"], ["Packets go to"]),
                (["passive", "tls"], ["rpcaps://USER@NODE", "port 2002", "PODWIRE_ALLOW"],
                 ["Packets go to"]),
                (["metrics", "doctor"],
                 ["curl -s NODE:9464/readyz", "-c doctor"], ["port-forward"])):
            values = merged(BASE, *(COMPONENTS[name] for name in names), {"namespace": {"create": False}})
            result = helm(NEWEST, ["install", "podwire"], values, "--namespace", "extrahop",
                          "--dry-run=client")
            notes = result.stdout.partition("NOTES:\n")[2]
            with self.subTest(names):
                for word in words:
                    self.assertIn(word, notes)
                for word in others:
                    self.assertNotIn(word, notes)
                self.assertIn("pod-security.kubernetes.io/enforce=privileged", notes)


class Schema(unittest.TestCase):
    def test_it_has_the_programs_settings(self):
        table = subprocess.run([PODWIRE, "reference", "settings"], capture_output=True, text=True,
                               check=True, timeout=TIMEOUT_SECONDS).stdout
        settings = set(re.findall(r"^\| `(\w+)` \| `--", table, re.MULTILINE))
        self.assertLess(ITS_OWN, settings)
        self.assertEqual(set(schema()["properties"]["settings"]["properties"]), settings - ITS_OWN)
        self.assertEqual(VALUES.keys(), settings - ITS_OWN)

    def test_it_knows_every_value_of_the_chart_and_no_other(self):
        """At each depth."""
        def check(values, node, path):
            node = schema()["definitions"][node["$ref"].split("/")[-1]] if "$ref" in node else node
            if "properties" not in node or "additionalProperties" not in node:
                return
            self.assertIs(node["additionalProperties"], False, path)
            self.assertLessEqual(values.keys(), node["properties"].keys(), path)
            for name, value in values.items():
                if isinstance(value, dict):
                    check(value, node["properties"][name], f"{path}.{name}")

        values = yaml.safe_load((CHART / "values.yaml").read_text())
        check(values, schema(), "")
        self.assertEqual(schema()["properties"].keys() - values.keys(), {"global"})
        for unknown in ({"imag": {}}, {"image": {"name": "x"}}, {"settings": {"PODWIRE_PODNET": "x"}},
                        {"settings": {"PODWIRE_HTTP": "off"}}, {"metrics": {"enable": True}},
                        {"updateStrategy": {"maxSurge": 1}}, {"settings": {"PODWIRE_HANDOVER": True}}):
            for client in (HELMS[0], NEWEST):
                self.assertNotEqual(template(merged(BASE, unknown), client).returncode, 0, unknown)

    def rows(self, column):
        """Settings of which each has another value in each row, until all have had all."""
        values = {name: both[column] for name, both in VALUES.items() if both[column]}
        count = max(len(some) for some in values.values())
        return [{name: some[row % len(some)] for name, some in values.items()} for row in range(count)]

    def test_what_it_accepts_the_program_understands(self):
        def outcomes(client, values, settings):
            container = render(merged(values, {"settings": settings}), client)[AGENT]["spec"]["template"][
                "spec"]["containers"][0]
            variables = environment(container)
            return variables, *exit_code(variables)

        rows = self.rows(0)
        for settings in rows:
            if "://" in as_variable(settings["EXTRAHOP_SENSOR_IP"]):
                settings["PODWIRE_FRAMES"] = "wire"
            if "*" in as_variable(settings["EXTRAHOP_SENSOR_IP"]):
                settings["PODWIRE_SENSOR_POLICY"] = "one"
        # Who listens for clients cannot hand over.
        rows = [(WITH_ALL, {**settings, "PODWIRE_HANDOVER": "off"}) for settings in rows] + [
            (BASE, {"PODWIRE_HANDOVER": value}) for value in VALUES["PODWIRE_HANDOVER"][0]]
        both = [(client, *row) for client in (HELMS[0], NEWEST) for row in rows]
        for (client, _, settings), (variables, code, text) in zip(both, in_parallel(outcomes, both)):
            with self.subTest(settings, client=client.name):
                self.assertEqual(
                    {name: variables[name] for name in settings},
                    {name: as_variable(value) for name, value in settings.items()})
                self.assertEqual(code, UNDERSTOOD, text)

    def test_what_it_refuses_helm_names(self):
        both = list(itertools.product((HELMS[0], NEWEST), self.rows(1)))
        results = in_parallel(
            lambda client, settings: template(merged(BASE, {"settings": settings}), client), both)
        for (client, settings), result in zip(both, results):
            self.assertNotEqual(result.returncode, 0)
            named = set(re.findall(r"settings[./](\w+)", result.stderr))
            for name, value in settings.items():
                with self.subTest(name, value=value, client=client.name):
                    self.assertIn(name, named)

    def test_what_it_refuses_the_program_refuses(self):
        of_all, of_base = (
            environment(render(values)[AGENT]["spec"]["template"]["spec"]["containers"][0])
            for values in (WITH_ALL, BASE))

        def outcome(name, value):
            # With clients the program would refuse any name.
            variables = of_base if name == "PODWIRE_HANDOVER" else of_all
            return exit_code({**variables, name: as_variable(value)})

        # The program takes any path of a file, but in a pod none is known that others are relative to.
        rows = [(name, value) for name, (_, wrong) in VALUES.items() for value in wrong
                if name != "PODWIRE_FILTER_FILE"]
        self.assertGreater(len(rows), 150)
        for (name, value), (code, text) in zip(rows, in_parallel(outcome, rows)):
            with self.subTest(name, value=value):
                self.assertEqual(code, NOT_UNDERSTOOD, text)
                self.assertIn(name, text)

    def test_what_does_not_go_together_is_said(self):
        for values, words in CONFLICTS:
            for client in HELMS:
                result = template(merged(BASE, values), client)
                with self.subTest(values, client=client.name):
                    self.assertNotEqual(result.returncode, 0)
                    self.assertIn(words, result.stderr)

    def test_empty_values_are_as_none(self):
        values = {"PODWIRE_ALLOW": [], "PODWIRE_TAP": "host", "PODWIRE_TLS_PEERS": "all", "SVCNET": "",
                  "PODWIRE_CPUS": "", "PODWIRE_POD_INTERFACES": False, "PODWIRE_ALLOW_NULL_LOGIN": "off"}
        container = render(merged(BASE, {"settings": values}))[AGENT]["spec"]["template"]["spec"][
            "containers"][0]
        code, text = exit_code(environment(container))
        self.assertEqual(code, UNDERSTOOD, text)


if __name__ == "__main__":
    unittest.main()
