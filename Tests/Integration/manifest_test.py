"""The manifests of k8s/: built by kubectl, held to the schemas of every Kubernetes from 1.25 on, to the
Pod Security Standards, and to what the program understands.

PODWIRE names the binary. Needs the Python packages that tools/test gets (kubernetes-validate and checkov)
and the clients of tools/lib/clients.py.
"""

import copy
import functools
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import kubernetes_validate
import yaml

from support import manifests, pod_security
from support.commands import TIMEOUT_SECONDS
from support.manifests import (
    COMPONENTS, FOLDER, NEEDED_COMPONENTS, OVERLAYS, README, build, build_site, clients, containers,
    environment, example_patch, examples, pods, with_needed)

PODWIRE = os.environ["PODWIRE"]
KUSTOMIZATIONS = [FOLDER, *OVERLAYS]
# Its entry point is the program. Everybody gives it another name.
IMAGE = "registry.example/podwire:0.2.0"
AGENT = ("DaemonSet", "extrahop-rpcapd")
COLLECTOR = ("Deployment", "podwire-collector")
METRICS, DOCTOR = FOLDER / "components/metrics", FOLDER / "components/doctor"
POD_TAPS, CILIUM_SERVICES = FOLDER / "components/pod-taps", FOLDER / "components/cilium-services"
NAMES, OPENSHIFT = FOLDER / "components/names", FOLDER / "components/openshift"
PASSIVE = FOLDER / "components/passive"
OPENSHIFT_WITH_COLLECTOR = [OPENSHIFT, OPENSHIFT / "collector", FOLDER / "components/collector-policy"]
# Who brings these brings their schemas.
OPERATORS = {"ServiceMonitor", "PrometheusRule", "SecurityContextConstraints"}
MINORS = range(25, int(kubernetes_validate.latest_version().split(".")[1]) + 1)

# What an agent cannot do without, of what "baseline" forbids; then what single overlays need.
NEEDED = {"Host Namespaces", "Capabilities"}
# In the node's network a declared port is the node's.
ALSO_NEEDED = {"passive": {"Host Ports"}, "names": {"HostPath Volumes"},
               "cilium-services": {"HostPath Volumes"}, "pod-taps": {"HostPath Volumes"}}
# Kubernetes refuses "CAP_SYS_ADMIN" where nothing may gain privileges, and takes "SYS_ADMIN".
CAPABILITIES = {"opener": {"NET_RAW", "SYS_ADMIN"}}
# Probes at 127.0.0.1, which only from 1.34 on are a breach.
PROBES_AT_LOOPBACK = "Host Probes / Lifecycle Hooks"

# checkov's findings that stay, and why.
ACCEPTED = {
    "agent": {
        "CKV_K8S_9",  # the opener's startup probe keeps an update waiting, too
        "CKV_K8S_11",  # no CPU limit: held up, it would lose packets
        "CKV_K8S_15",  # images may be on the nodes already
        "CKV_K8S_19",  # the node's network is where the edges are
        "CKV_K8S_23", "CKV_K8S_40",  # only root gets the capabilities
        "CKV_K8S_25",  # NET_RAW and NET_ADMIN
        "CKV_K8S_39",  # SYS_ADMIN, for the opener
        "CKV_K8S_43",  # no digest: everybody builds the image
        "CKV2_K8S_6",  # a network policy has no power over the node's network
    },
    "collector": {
        "CKV_K8S_11", "CKV_K8S_15", "CKV_K8S_43", "CKV2_K8S_6",
        "CKV_K8S_8", "CKV_K8S_9",  # a probe would be an agent that hangs up, again and again
    },
}

# The validator reads its schemas anew for each object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def agent_of(folder):
    return build(folder)[AGENT]["spec"]["template"]


@functools.cache
def sites():
    """What folders of one's own build that have two components, and all settings of the examples behind
    them."""
    found = {}
    for pair in itertools.permutations(COMPONENTS, 2):
        if pair[1] == OPENSHIFT and pair[0] in (NAMES, POD_TAPS, CILIUM_SERVICES, PASSIVE):
            continue
        if pair[1].name in NEEDED_COMPONENTS.get(pair[0].name, []):
            continue
        settings = [path.read_text() for path in sorted(FOLDER.glob("overlays/*/settings.yaml"))
                    if path.parent.name != "doctor" or DOCTOR in pair]
        found["+".join(component.name for component in pair)] = build_site(with_needed(pair), *settings)
    return found


def podwire_containers():
    """Each container that runs podwire, with its kustomization and pod."""
    return [(folder, pod, container) for folder in KUSTOMIZATIONS for pod in pods(build(folder)).values()
            for container in containers(pod) if container["image"] == IMAGE]


@functools.cache
def help_of(command):
    return subprocess.run([PODWIRE, command, "--help"], capture_output=True, text=True, check=True,
                          timeout=TIMEOUT_SECONDS).stdout


@functools.cache
def defaults():
    """The default of each variable in the program's table of settings; None where there is no value."""
    table = subprocess.run([PODWIRE, "reference", "settings"], capture_output=True, text=True, check=True,
                           timeout=TIMEOUT_SECONDS).stdout
    rows = re.findall(r"^\| `(\w+)` \| `--[\w-]+` \| (?:`(.*?)`|[^`].*?) \| ", table, re.MULTILINE)
    return {variable: value or None for variable, value in rows}


def default_port(variable):
    return int(defaults()[variable].rpartition(":")[2])


class Manifests(unittest.TestCase):
    def test_the_plain_file_is_the_one_that_is_built_on(self):
        """It is no link, so that it can be applied from where only files are served."""
        plain = FOLDER / "podwire.yaml"
        self.assertFalse(plain.is_symlink())
        self.assertEqual(plain.read_text(), (FOLDER / "base/podwire.yaml").read_text())

    def test_the_plain_manifest_is_what_the_kustomization_builds(self):
        plain = yaml.safe_load_all((FOLDER / "podwire.yaml").read_text())
        self.assertEqual({manifests.key(item): item for item in plain}, build(FOLDER))

    def test_objects_are_valid_for_every_version(self):
        self.assertGreaterEqual(len(MINORS), 13)
        nodes = example_patch("NetworkPolicy")
        every = [*map(build, KUSTOMIZATIONS), build_site(OPENSHIFT_WITH_COLLECTOR, *nodes)]
        distinct = {json.dumps(item, sort_keys=True): item for items in every for item in items.values()}
        for item in distinct.values():
            if item["kind"] in OPERATORS:
                continue
            for minor in MINORS:
                with self.subTest(kind=item["kind"], minor=minor):
                    kubernetes_validate.validate(item, f"1.{minor}", strict=True)

    def test_a_word_that_kubernetes_does_not_know_is_found(self):
        item = copy.deepcopy(build(FOLDER)[AGENT])
        item["spec"]["template"]["spec"]["hostNetworks"] = True
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(item, "1.25", strict=True)

    def test_what_the_doctor_prints_is_a_containers_environment(self):
        """It is valid in the DaemonSet, and the doctor that gets it has the same settings."""
        given = {"EXTRAHOP_SENSOR_IP": "192.0.2.10", "PODNET": "10.244.0.0/16,fd00:10:244::/56",
                 "SVCNET": "10.96.0.0/12", "PODWIRE_FILTER": "not port 22 and \\\n  'ip or ip6' != \"#\" ",
                 "PODWIRE_NODE_NAME": "n1", "PODWIRE_NICE": "-5"}

        def listed(variables, code=0):
            done = subprocess.run([PODWIRE, "doctor", "--manifest"], capture_output=True, text=True,
                                  timeout=TIMEOUT_SECONDS,
                                  env={"PATH": os.environ["PATH"], **variables})
            self.assertEqual((done.returncode, done.stderr), (code, ""))
            return yaml.safe_load(done.stdout)["env"]

        entries = listed({**given, "PODWIRE_FILTER": "not port 22"})
        item = copy.deepcopy(build(FOLDER)[AGENT])
        item["spec"]["template"]["spec"]["containers"][0]["env"] = entries
        for minor in MINORS:
            kubernetes_validate.validate(item, f"1.{minor}", strict=True)
        values = {entry["name"]: entry.get("value") for entry in entries}
        self.assertEqual(values, {**given, "PODWIRE_FILTER": "not port 22", "PODWIRE_NODE_NAME": None})
        again = listed({name: value for name, value in values.items() if value})
        self.assertEqual(again, [entry for entry in entries if "value" in entry])
        # What cannot be understood is a comment, whatever is in it, and the list is not whole.
        self.assertNotIn("PODWIRE_FILTER", {entry["name"] for entry in listed(given, 1)})

    def test_images_have_the_programs_version(self):
        version = subprocess.run([PODWIRE, "--version"], capture_output=True, text=True, check=True,
                                 timeout=TIMEOUT_SECONDS).stdout.split()[1]
        self.assertEqual(IMAGE.rpartition(":")[2], version)
        for folder in KUSTOMIZATIONS:
            images = {container["image"] for pod in pods(build(folder)).values()
                      for container in containers(pod) if "podwire" in container["image"]}
            self.assertEqual(images, {IMAGE}, folder.name)
        self.assertEqual(set(re.findall(r"/podwire:([\d.]+)", (FOLDER / "README.md").read_text())),
                         {version})

    def test_names_and_labels_are_those_of_the_guide(self):
        for folder in KUSTOMIZATIONS:
            items = build(folder)
            self.assertIn(("Namespace", "extrahop"), items)
            agent = items[AGENT]
            label = ("component", "extrahop-rpcapd")
            self.assertEqual(agent["metadata"]["namespace"], "extrahop")
            self.assertIn(label, agent["metadata"]["labels"].items())
            self.assertEqual(agent["spec"]["selector"], {"matchLabels": dict([label])})
            self.assertIn(label, agent["spec"]["template"]["metadata"]["labels"].items())
            terms = agent["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            self.assertIn({"key": "extrahop/norpcapd", "operator": "DoesNotExist"},
                          terms[0]["matchExpressions"])
            self.assertEqual(len(terms), 1, "nodes need to fit one term only")
            # `kubectl wait -l component=extrahop-rpcapd` is to wait for agents alone.
            for name, pod in pods(items).items():
                self.assertEqual(label in pod["metadata"]["labels"].items(), name == AGENT)
                self.assertEqual(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"],
                                 pod["spec"]["containers"][0]["name"])

    def test_every_object_has_the_labels_that_tools_look_for(self):
        for component in COMPONENTS:
            for (kind, name), item in build_site(with_needed([component])).items():
                labels = item["metadata"]["labels"]
                with self.subTest(component.name, kind=kind, name=name):
                    self.assertEqual(labels["app.kubernetes.io/part-of"], "podwire")
                    if kind == "Namespace":
                        continue
                    self.assertEqual(labels["app.kubernetes.io/name"], "podwire")
                    self.assertEqual(labels["app.kubernetes.io/component"],
                                     "collector" if "collector" in name else "agent")
                    if template := item.get("spec", {}).get("template"):
                        self.assertEqual(template["metadata"]["labels"], labels)

    def test_every_kubectl_builds_the_same(self):
        versions = clients("kubectl")
        self.assertEqual(versions[0].name, f"kubectl-1.{MINORS[0]}")
        for folder in KUSTOMIZATIONS:
            expected = build(folder)
            for client in versions:
                items = yaml.safe_load_all(manifests.built_text(folder, client))
                self.assertEqual({manifests.key(item): item for item in items}, expected, client.name)

    def test_nothing_is_said_that_the_api_server_drops(self):
        """`kubectl apply` would say "configured" each time."""
        for folder in KUSTOMIZATIONS:
            text = manifests.built_text(folder)
            self.assertEqual(re.findall(r"(?:globalDefault|hostPID|hostIPC): false", text), [])

    def test_what_ended_is_said_where_kubectl_describes_it(self):
        for folder in KUSTOMIZATIONS:
            for pod in pods(build(folder)).values():
                for container in containers(pod):
                    self.assertEqual(container["terminationMessagePolicy"], "FallbackToLogsOnError")

    def test_readme_has_people_make_a_folder_that_builds(self):
        script = re.search(r"```sh\n(mkdir site\n.*?)kubectl diff", README, re.DOTALL)[1]
        with tempfile.TemporaryDirectory() as parent:
            shutil.copytree(FOLDER, f"{parent}/k8s", symlinks=True)
            subprocess.run(["bash", "-ec", script], cwd=parent, check=True, timeout=TIMEOUT_SECONDS)
            [claim] = examples("Deployment")
            site = pathlib.Path(parent).resolve() / "site"
            (site / "claim.yaml").write_text(claim)
            kustomization = (site / "kustomization.yaml").read_text()
            plain = build(site)
            (site / "kustomization.yaml").write_text(
                kustomization.replace("[]", "[../k8s/components/collector]")
                + "  - path: claim.yaml\n")
            manifests.built_text.cache_clear()
            items = build(site)
        for built in (plain, items):
            self.assertFalse(any("unedited" in item["metadata"]["labels"] for item in built.values()))
        container = plain[AGENT]["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["image"], "registry.your.company/podwire:0.2.0")
        self.assertEqual(environment(container),
                         environment(agent_of(FOLDER)["spec"]["containers"][0]))
        self.assertEqual(items[COLLECTOR]["spec"]["template"]["spec"]["volumes"], [
            {"name": "captures", "persistentVolumeClaim": {"claimName": "podwire-captures"}}])

    def test_readme_names_all_that_can_be_built(self):
        for folder in [*OVERLAYS, *COMPONENTS]:
            self.assertIn(f"`{folder.relative_to(FOLDER)}`", README)
        for path in re.findall(r"\bk8s/([\w./-]+\w)", README):
            self.assertTrue((FOLDER / path).exists(), path)

    def test_what_readme_has_people_write_is_valid(self):
        items = []
        for text in examples("DaemonSet"):
            components = [POD_TAPS if "opener" in text else METRICS]
            # A port of the node keeps a second pod out.
            items.append(build_site([] if "maxSurge" in text else components, text)[AGENT])
        self.assertEqual(len(items), 7)
        for item in items:
            for minor in MINORS:
                kubernetes_validate.validate(item, f"1.{minor}", strict=True)

    def test_all_can_be_removed_without_the_namespace(self):
        text = README.split("## Removing it")[1].split("```sh\n")[1].split("```")[0]
        short = {"DaemonSet": "ds", "Deployment": "deploy", "Service": "svc", "ServiceAccount": "sa"}
        every = {key for components in [*(with_needed([one]) for one in COMPONENTS), OPENSHIFT_WITH_COLLECTOR]
                 for key in build_site(components)}
        self.assertEqual(
            set(re.findall(r"\S+/\S+", text.replace("# components/", "# "))),
            {f"{short.get(kind, kind.lower())}/{name}" for kind, name in every
             if kind != "Namespace"})

    def test_some_nodes_can_be_first(self):
        [few], [on_delete] = ([text for text in examples("DaemonSet") if word in text]
                              for word in ("extrahop/canary", "OnDelete"))
        spec = build_site([], few)[AGENT]["spec"]["template"]["spec"]
        self.assertEqual(spec["nodeSelector"], {"kubernetes.io/os": "linux", "extrahop/canary": ""})
        self.assertIn("`kubectl label node NODE extrahop/canary=`", README)
        self.assertEqual(environment(spec["containers"][0])["PODWIRE_DEDUP"], "off")
        self.assertEqual(build_site([], on_delete)[AGENT]["spec"]["updateStrategy"],
                         {"type": "OnDelete"})

    def test_an_update_can_be_without_a_gap(self):
        [text] = [text for text in examples("DaemonSet") if "PODWIRE_HANDOVER" in text]
        spec = build_site([], text)[AGENT]["spec"]
        self.assertEqual(spec["updateStrategy"], {
            "type": "RollingUpdate", "rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}})
        [container] = spec["template"]["spec"]["containers"]
        # A declared port would be the node's, which two pods cannot have.
        for components in ([], [METRICS]):
            pod = build_site(components, text)[AGENT]["spec"]["template"]["spec"]
            self.assertNotIn("ports", pod["containers"][0])
        self.assertEqual(environment(container)["PODWIRE_HANDOVER"], "extrahop/extrahop-rpcapd")
        # The older agent does not answer for the newer one.
        probe = {**container["readinessProbe"]["httpGet"], "path": "/readyz?revision=1"}
        self.assertEqual(container["readinessProbe"]["httpGet"], probe)
        self.assertEqual((probe["port"], environment(container)["PODWIRE_REVISION"]), (9464, "1"))


class Unedited(unittest.TestCase):
    """What has placeholders is refused, and says what to do."""

    def test_what_names_an_image_has_a_label_that_kubernetes_refuses(self):
        for folder in KUSTOMIZATIONS:
            for key, item in build(folder).items():
                refused = item["metadata"].get("labels", {}).get("unedited", "")
                with self.subTest(folder.name, key=key):
                    self.assertEqual("delete this label" in refused, "template" in item.get("spec", {}))

    def test_kubernetes_refuses_it(self):
        """By the rule that the API server has, which kubectl asks before it sends a label."""
        plain = FOLDER / "podwire.yaml"
        for client in clients("kubectl"):
            for value in {item["metadata"]["labels"].get("unedited", "fine")
                          for item in build(FOLDER / "overlays/collector").values()}:
                result = subprocess.run(
                    [client, "label", "--local", "--filename", plain, "--output", "name", f"x={value}"],
                    capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
                self.assertEqual(result.returncode == 0, value == "fine", result.stderr)
                if value != "fine":
                    self.assertIn(f'invalid label value: "x={value}"', result.stderr)

    def test_a_copied_overlay_takes_what_the_readme_says(self):
        """An image, settings, and the label."""
        text = re.search(r"```yaml\n(resources:\n  - \.\./k8s/overlays.*?)```", README, re.DOTALL)[1]
        [overlay] = re.findall(r"\.\./k8s/(overlays/\S+)", text)
        with tempfile.TemporaryDirectory() as parent:
            shutil.copytree(FOLDER, f"{parent}/k8s", symlinks=True)
            site = pathlib.Path(parent).resolve() / "site"
            site.mkdir()
            (site / "kustomization.yaml").write_text(text)
            (site / "settings.yaml").write_text(
                re.search(r"cat > site/settings.yaml <<'EOF'\n(.*?)EOF", README, re.DOTALL)[1])
            items, plain = build(site), build(FOLDER / overlay)
        self.assertEqual(items.keys(), plain.keys())
        container = items[AGENT]["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["image"], "registry.your.company/podwire:0.2.0")
        self.assertFalse(any("unedited" in item["metadata"]["labels"] for item in items.values()))


class Security(unittest.TestCase):
    def test_agents_break_no_rule_that_they_need_not(self):
        for folder in KUSTOMIZATIONS:
            for minor in MINORS:
                expected = NEEDED | ALSO_NEEDED.get(folder.name, set())
                if minor >= 34 and folder.name != "prometheus":
                    expected = expected | {PROBES_AT_LOOPBACK}
                with self.subTest(folder=folder.name, minor=minor):
                    self.assertEqual(pod_security.baseline(agent_of(folder), minor), expected)

    def test_agents_have_two_capabilities_and_no_more(self):
        for folder in KUSTOMIZATIONS:
            more = {"BPF"} if folder.name == "cilium-services" else set()
            spec = agent_of(folder)["spec"]
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertFalse(spec.get("hostPID") or spec.get("hostIPC"))
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            for container in containers(agent_of(folder)):
                context = container["securityContext"]
                self.assertEqual(context["capabilities"]["drop"], ["ALL"])
                self.assertEqual(
                    set(context["capabilities"]["add"]),
                    CAPABILITIES.get(container["name"], {"NET_RAW", "NET_ADMIN"} | more))
                self.assertIs(context["privileged"], False)
                self.assertIs(context["allowPrivilegeEscalation"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
            for mount in spec["containers"][0].get("volumeMounts", []):
                self.assertIs(mount["readOnly"], True)

    def test_the_opener_is_a_container_of_one_overlay_and_shares_its_socket_alone(self):
        with_opener = {folder.name for folder, _, container in podwire_containers()
                       if container["args"][0] == "opener"}
        self.assertEqual(with_opener, {"pod-taps"})
        spec = agent_of(FOLDER / "overlays/pod-taps")["spec"]
        agent, opener = spec["containers"]
        self.assertEqual([mount["name"] for mount in opener["volumeMounts"]], ["opener"])
        socket = pathlib.PurePosixPath(defaults()["PODWIRE_OPENER"])
        for container in (agent, opener):
            self.assertIn(str(socket.parent), [mount["mountPath"] for mount in container["volumeMounts"]])
        [folder] = [mount for mount in agent["volumeMounts"] if mount["name"] == "network-namespaces"]
        self.assertEqual(folder, {"name": "network-namespaces", "mountPath": defaults()["PODWIRE_NETNS"],
                                  "readOnly": True, "mountPropagation": "HostToContainer"})
        volumes = {volume.pop("name"): volume for volume in copy.deepcopy(spec["volumes"])}
        self.assertEqual(volumes["opener"].keys(), {"emptyDir"})

    def test_interfaces_without_an_end_in_the_node_are_a_setting_of_both_containers(self):
        [text] = [text for text in examples("DaemonSet") if "PODWIRE_POD_INTERFACES" in text]
        pod = build_site([POD_TAPS], text)[AGENT]["spec"]["template"]
        self.assertEqual({container["name"]: environment(container)["PODWIRE_POD_INTERFACES"]
                          for container in containers(pod)}, {"podwire": "on", "opener": "on"})

    def test_the_doctor_may_look_at_what_the_agent_looks_at(self):
        """Whatever the order in which a folder names the components."""
        for components in itertools.chain(*(itertools.permutations(some) for some in (
                [DOCTOR, POD_TAPS], [DOCTOR, CILIUM_SERVICES], [DOCTOR, POD_TAPS, CILIUM_SERVICES]))):
            pod = build_site(components)[AGENT]["spec"]["template"]
            [doctor], agent = pod["spec"]["initContainers"], pod["spec"]["containers"][0]
            with self.subTest([component.name for component in components]):
                self.assertEqual(doctor["securityContext"], agent["securityContext"])
                taps = [environment(container).get("PODWIRE_TAP") for container in (doctor, agent)]
                self.assertEqual(taps, [taps[0]] * 2)
                self.assertEqual(taps[0], "pod" if POD_TAPS in components else None)
                # The opener starts after the doctor.
                mounts = [mount for mount in agent["volumeMounts"] if mount["name"] != "opener"]
                self.assertEqual(len(mounts), len(components) - 1)
                self.assertCountEqual(doctor["volumeMounts"], mounts)

    def test_without_a_doctor_there_is_none(self):
        for components in ([POD_TAPS], [CILIUM_SERVICES], [POD_TAPS, CILIUM_SERVICES]):
            spec = build_site(components)[AGENT]["spec"]["template"]["spec"]
            self.assertNotIn("initContainers", spec)

    def test_the_collector_keeps_to_the_strictest_level(self):
        pod = pods(build(FOLDER / "overlays/collector"))[COLLECTOR]
        for minor in MINORS:
            self.assertEqual(pod_security.restricted(pod, minor), set())

    def test_what_breaks_rules_is_found(self):
        pod = copy.deepcopy(agent_of(FOLDER))
        pod["spec"]["hostPID"] = True
        pod["spec"]["volumes"] = [{"name": "root", "hostPath": {"path": "/"}}]
        pod["spec"]["securityContext"] = {
            "sysctls": [{"name": "kernel.msgmax"}], "seLinuxOptions": {"role": "any"},
            "seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Unconfined"}}
        pod["spec"]["containers"][0].update(
            ports=[{"containerPort": 1, "hostPort": 1}],
            securityContext={"privileged": True, "procMount": "Unmasked",
                             "capabilities": {"add": ["SYS_ADMIN"]}})
        self.assertEqual(len(pod_security.baseline(pod, 34)), 11)
        self.assertEqual(len(pod_security.restricted(pod, 34)), 16)

    def test_a_checker_of_others_finds_nothing_else(self):
        with tempfile.TemporaryDirectory() as target:
            for folder in KUSTOMIZATIONS:
                (pathlib.Path(target) / f"{folder.name}.yaml").write_text(manifests.built_text(folder))
            result = subprocess.run(
                [pathlib.Path(sys.executable).parent / "checkov", "--directory", target, "--output",
                 "json", "--framework", "kubernetes", "--skip-download", "--quiet"],
                capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        report = json.loads(result.stdout)
        self.assertEqual(report["summary"]["parsing_errors"], 0)
        self.assertGreater(report["summary"]["passed"], 100)
        found = {"agent": set(), "collector": set()}
        for check in report["results"]["failed_checks"]:
            whose = "collector" if "collector" in check["resource"] else "agent"
            found[whose].add(check["check_id"])
        self.assertEqual(found, ACCEPTED)


class Program(unittest.TestCase):
    def test_every_variable_and_option_is_known(self):
        known = set(defaults())
        self.assertIn("EXTRAHOP_SENSOR_IP", known)
        for folder, _, container in podwire_containers():
            command, *options = container["args"]
            variables = container.get("env", [])
            named = set(re.findall(r"\$\((\w+)\)", json.dumps(variables)))
            with self.subTest(folder=folder.name, command=command):
                self.assertEqual({option.split("=")[0] for option in options}
                                 - set(re.findall(r"--[a-z-]+", help_of(command))), set())
                self.assertEqual({variable["name"] for variable in variables} - known, named)

    def test_what_the_plain_manifest_repeats_is_the_default(self):
        """It says where sensors and metrics are, for people to change; all else is left out."""
        values = environment(agent_of(FOLDER)["spec"]["containers"][0])
        repeated = {name: value for name, value in values.items() if defaults()[name]}
        self.assertEqual(repeated.keys(), {"RPCAPD_TARGET_PORT", "PODWIRE_HTTP"})
        for name, value in repeated.items():
            self.assertEqual(value, defaults()[name])

    def test_the_doctor_has_the_agents_settings(self):
        spec = agent_of(FOLDER / "overlays/doctor")["spec"]
        self.assertEqual(spec["initContainers"][0]["args"], ["doctor"])
        # But for what goes with the probes, which components/metrics changes.
        self.assertEqual(spec["initContainers"][0]["env"],
                         [variable for variable in spec["containers"][0]["env"]
                          if variable["name"] != "PODWIRE_HTTP"])
        self.assertEqual(spec["initContainers"][0]["image"], spec["containers"][0]["image"])

    def test_variables_name_only_those_above(self):
        """Kubernetes puts in no others, and says nothing of it."""
        every = {folder.name: build(folder) for folder in KUSTOMIZATIONS} | sites()
        for name, items in every.items():
            for container in itertools.chain(*map(containers, pods(items).values())):
                above = set()
                for variable in container.get("env", []):
                    with self.subTest(name, variable=variable["name"]):
                        named = set(re.findall(r"\$\((\w+)\)", variable.get("value", "")))
                        self.assertLessEqual(named, above)
                    above.add(variable["name"])

    def test_probes_ask_where_the_agent_answers(self):
        for folder in KUSTOMIZATIONS:
            self.check_probes(build(folder), default_port("PODWIRE_HTTP"))

    def test_probes_do_so_with_any_two_components(self):
        self.assertGreater(len(sites()), 40)
        for name, items in sites().items():
            with self.subTest(name):
                self.check_probes(items, default_port("PODWIRE_HTTP"))

    def test_probes_do_so_at_another_port(self):
        plain, with_metrics = [text for text in examples("DaemonSet") if "PODWIRE_HTTP" in text]
        self.check_probes(build_site([], plain), 9465)
        self.check_probes(build_site([METRICS], with_metrics), 9465)

    def check_probes(self, items, port):
        container = items[AGENT]["spec"]["template"]["spec"]["containers"][0]
        values = environment(container, **{"status.hostIP": "node"})
        host, paths = "[node]" if "HOST_IP" in values else "127.0.0.1", {}
        # `kubectl port-forward` asks at the loopback's address, whoever else does elsewhere.
        places = [f"{place}:{port}" for place in dict.fromkeys(["127.0.0.1", host])]
        self.assertEqual(values["PODWIRE_HTTP"].split(","), places)
        for name in pod_security.PROBES:
            probe = container[name]["httpGet"]
            # Without a host it is the pod's, and in the node's network that is the node's.
            self.assertEqual((probe.get("host", "[node]"), probe["port"]), (host, port))
            paths[name] = probe["path"]
        self.assertEqual(paths, {"startupProbe": "/healthz", "readinessProbe": "/readyz",
                                 "livenessProbe": "/healthz"})

    def test_memory_holds_the_queues_of_all_captures(self):
        for folder in KUSTOMIZATIONS:
            container = agent_of(folder)["spec"]["containers"][0]
            values = environment(container, **{"status.hostIP": "node"})
            sensors = [name for name in values["EXTRAHOP_SENSOR_IP"].split(",") if name]
            captures = len(sensors) + (16 if "PODWIRE_LISTEN" in values else 0)
            queue = manifests.byte_count((defaults() | values)["PODWIRE_QUEUE_MEMORY"])
            limit = manifests.byte_count(container["resources"]["limits"]["memory"])
            self.assertGreaterEqual(limit, (64 << 20) + captures * queue, folder.name)

    def test_agents_find_the_collector(self):
        items = build(FOLDER / "overlays/collector")
        service, deployment = items["Service", COLLECTOR[1]]["spec"], items[COLLECTOR]["spec"]
        pod, agent = deployment["template"], items[AGENT]["spec"]["template"]
        values = environment(agent["spec"]["containers"][0])
        self.assertEqual(values["EXTRAHOP_SENSOR_IP"], COLLECTOR[1])
        self.assertEqual(agent["spec"]["dnsPolicy"], "ClusterFirstWithHostNet")
        # Agents are to see the address of the pod, whose feeds they leave out.
        self.assertEqual(service["clusterIP"], "None")
        self.assertEqual(service["selector"], deployment["selector"]["matchLabels"])
        collector = pod["spec"]["containers"][0]
        options = dict(text.removeprefix("--").split("=") for text in collector["args"][1:])
        self.assertEqual(options["listen"], values["RPCAPD_TARGET_PORT"])
        self.assertEqual(str(collector["ports"][0]["containerPort"]), options["listen"])
        self.assertTrue(options["output"].startswith(collector["volumeMounts"][0]["mountPath"] + "/"))
        files = manifests.byte_count(options["rotate-size"]) * int(options["keep"])
        volume = manifests.byte_count(pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"])
        # A file is a little larger than it should be by the time it is followed.
        self.assertGreater(volume, files * 1.2)


if __name__ == "__main__":
    unittest.main()
