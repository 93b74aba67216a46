"""What components of k8s/ add: Prometheus' targets and alerts, OpenShift's constraints, and the collector's
policy.

Needs what tools/test gets: the Python packages and clients of manifest_test.py, and promtool.
"""

import ipaddress
import itertools
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from support.commands import TIMEOUT_SECONDS
from support.manifests import (
    COMPONENTS, FOLDER, NEEDED_COMPONENTS, README, build, build_site, containers, environment,
    example_patch, examples)

AGENT = ("DaemonSet", "extrahop-rpcapd")
COLLECTOR = ("Deployment", "podwire-collector")
METRICS, PROMETHEUS = FOLDER / "components/metrics", FOLDER / "overlays/prometheus"
OPENSHIFT = FOLDER / "components/openshift"
CONSTRAINTS = ("SecurityContextConstraints", "podwire")
# The fields of constraints that OpenShift's schema asks for, and those that there are beside them.
REQUIRED = {
    "allowHostDirVolumePlugin", "allowHostIPC", "allowHostNetwork", "allowHostPID", "allowHostPorts",
    "allowPrivilegedContainer", "allowedCapabilities", "defaultAddCapabilities", "priority",
    "readOnlyRootFilesystem", "requiredDropCapabilities", "volumes"}
OPTIONAL = {
    "apiVersion", "kind", "metadata", "allowPrivilegeEscalation", "fsGroup", "runAsUser",
    "seLinuxContext", "seccompProfiles", "supplementalGroups"}
WITH_POLICY = [FOLDER / "components/collector", FOLDER / "components/collector-policy"]
# The kernel's ports for those who ask for any: net.ipv4.ip_local_port_range.
FREE_PORTS = (32768, 60999)

# Components that need more than the plain constraints: whether a folder of the node, and a capability; what
# declares a port needs that, too.
NEEDS = {"names": (True, set()), "pod-taps": (True, {"SYS_ADMIN"}), "cilium-services": (True, {"BPF"}),
         "passive": (False, set()), "tls": (False, set()), "metrics": (False, set()),
         "doctor": (False, set())}

# An agent that answered and went away, one of another namespace, one that others call as they like; one
# that never answered; and something else. Each row is a time series with a sample a minute.
TARGETS = {
    ("extrahop/podwire", "n1"): "1x30 0x40",
    ("netobs/podwire", "n2"): "0x70",
    ("podwire", "n3"): "0x70",
    ("agents", "n4"): "1x30 0x40",
    ("agents", "n5"): "1x70",
    ("my-podwire", "n6"): "1x30 0x40",
}
ANSWERING = {"n1": "1x30 _x40", "n4": "1x30 _x40", "n5": "1x70"}
UNREACHABLE = {"n1", "n2", "n3", "n4"}
# Each node's sensors: whether they are wanted, their sessions, and whether an alert tells. A node of a pool that
# feeds its first sensor, one that feeds its second, one that reaches none and tries one after the other; one
# that lost its first a moment ago; one that feeds all, and lost one; one that has clients.
SENSORS = {
    ("n1", "a"): ("1x70", "1x70", False), ("n1", "b"): ("0x70", "0x70", False),
    ("n2", "a"): ("1x70", "1x20 0x50", True), ("n2", "b"): ("0x20 1x50", "0x20 1x50", False),
    ("n2", "c"): ("0x70", "0x70", False),
    ("n3", "a"): ("1x70", "0x70", True), ("n3", "b"): ("1x70", "0x70", True),
    ("n4", "a"): ("1x70", "1x45 0x25", False), ("n4", "b"): ("0x45 1x25", "0x45 1x25", False),
    ("n5", "a"): ("1x70", "1x70", False), ("n5", "b"): ("1x70", "1x30 0x40", True),
    ("n6", "clients"): (None, "0x70", False),
}


def refusals(constraints, pod):
    """What of a pod the constraints do not allow, as OpenShift's admission compares them."""
    spec, found = pod["spec"], []
    of_pod = spec["securityContext"]
    allowed = set(constraints["allowedCapabilities"])
    if spec.get("hostNetwork") and not constraints["allowHostNetwork"]:
        found.append("hostNetwork")
    for volume in spec.get("volumes", []):
        [kind] = volume.keys() - {"name"}
        if kind not in constraints["volumes"]:
            found.append(kind)
        if kind == "hostPath" and not constraints["allowHostDirVolumePlugin"]:
            found.append("hostPath without allowHostDirVolumePlugin")
    if of_pod["runAsUser"] != constraints["runAsUser"]["uid"]:
        found.append("runAsUser")
    if of_pod["seccompProfile"] != {"type": "RuntimeDefault"}:
        found.append("seccompProfile")
    if "seLinuxOptions" in of_pod and constraints["seLinuxContext"]["type"] != "RunAsAny":
        found.append("seLinuxOptions")
    for container in containers(pod):
        context = container["securityContext"]
        if container.get("ports") and not constraints["allowHostPorts"]:
            found.append("ports")
        found += set(context["capabilities"]["add"]) - allowed
        if set(constraints["requiredDropCapabilities"]) - set(context["capabilities"]["drop"]):
            found.append("drop")
        found += [name for name in ("privileged", "allowPrivilegeEscalation") if context[name]]
        if constraints["readOnlyRootFilesystem"] and not context["readOnlyRootFilesystem"]:
            found.append("readOnlyRootFilesystem")
    return found


class Policy(unittest.TestCase):
    def test_the_policy_is_the_collectors(self):
        items = build_site(WITH_POLICY, *example_patch("NetworkPolicy"))
        spec, deployment = items["NetworkPolicy", COLLECTOR[1]]["spec"], items[COLLECTOR]["spec"]
        self.assertEqual(spec["podSelector"], deployment["selector"])
        self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
        self.assertNotIn("egress", spec)
        [rule] = spec["ingress"]
        self.assertEqual(rule["from"], [{"ipBlock": {"cidr": "192.0.2.0/24"}}])
        [port] = deployment["template"]["spec"]["containers"][0]["ports"]
        self.assertEqual(rule["ports"], [
            {"protocol": "TCP", "port": port["containerPort"]},
            {"protocol": "TCP", "port": FREE_PORTS[0], "endPort": FREE_PORTS[1]}])

    def test_the_policy_is_refused_until_it_names_the_nodes(self):
        [rule] = build_site(WITH_POLICY)["NetworkPolicy", COLLECTOR[1]]["spec"]["ingress"]
        [source] = rule["from"]
        with self.assertRaises(ValueError):
            ipaddress.ip_network(source["ipBlock"]["cidr"])


class Prometheus(unittest.TestCase):
    def test_prometheus_asks_where_the_agent_answers(self):
        items = build(PROMETHEUS)
        pod = items[AGENT]["spec"]["template"]
        service, monitor = items["Service", "podwire"], items["ServiceMonitor", "podwire"]
        self.assertLessEqual(monitor["spec"]["selector"]["matchLabels"].items(),
                             service["metadata"]["labels"].items())
        self.assertLessEqual(service["spec"]["selector"].items(), pod["metadata"]["labels"].items())
        for one in (service, monitor):
            self.assertEqual(one["metadata"]["namespace"], "extrahop")
        [port] = service["spec"]["ports"]
        [endpoint] = monitor["spec"]["endpoints"]
        self.assertEqual((endpoint["port"], endpoint["path"]), (port["name"], "/metrics"))
        address = environment(pod["spec"]["containers"][0], **{"status.hostIP": "node"})["PODWIRE_HTTP"]
        self.assertEqual(address.split(",")[-1], f"[node]:{port['port']}")
        # During an update a node has two pods, at one address: they are one target, or series come twice.
        self.assertIn({"action": "labeldrop", "regex": "pod"}, endpoint["relabelings"])
        # It would be the node's, and an update without a gap would wait for it.
        self.assertNotIn("ports", pod["spec"]["containers"][0])

    def test_prometheus_without_the_operator_asks_the_same(self):
        text = re.search(r"```yaml\n(scrape_configs:.*?)```", README, re.DOTALL)[1]
        [job] = yaml.safe_load(text)["scrape_configs"]
        items = build_site([METRICS])
        self.assertNotIn(("ServiceMonitor", "podwire"), items)
        pod = items[AGENT]["spec"]["template"]
        kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"]
                if rule.get("action") == "keep"}
        self.assertEqual(kept, {
            "__meta_kubernetes_pod_label_component": pod["metadata"]["labels"]["component"],
            "__meta_kubernetes_pod_container_name": pod["spec"]["containers"][0]["name"]})
        self.assertEqual(job["kubernetes_sd_configs"][0]["namespaces"], {"names": ["extrahop"]})
        targets = [rule for rule in job["relabel_configs"] if "target_label" in rule]
        monitor = build(PROMETHEUS)["ServiceMonitor", "podwire"]
        self.assertEqual(
            [(rule["source_labels"], rule["target_label"]) for rule in targets
             if rule["target_label"] != "__address__"],
            [(rule["sourceLabels"], rule["targetLabel"])
             for rule in monitor["spec"]["endpoints"][0]["relabelings"] if "sourceLabels" in rule])
        self.assertEqual(job["job_name"], "podwire")
        # As Prometheus rewrites it, with expressions that match a whole text.
        for address, expected in (("192.0.2.1", "192.0.2.1:9464"), ("2001:db8::1", "[2001:db8::1]:9464")):
            found = [rule["replacement"].replace("$1", match[1]) for rule in targets if "regex" in rule
                     and (match := re.fullmatch(rule["regex"], address))]
            self.assertEqual(found, [expected])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "prometheus.yml")
            # Debian's Prometheus knows no pods.
            path.write_text(yaml.safe_dump({"scrape_configs": [
                {key: value for key, value in job.items() if key != "kubernetes_sd_configs"}]}))
            self.check("check", "config", path)

    def test_alerts_are_whole(self):
        """Whether what they ask for is there, http_test.py knows."""
        items = build(PROMETHEUS)
        [group] = items["PrometheusRule", "podwire"]["spec"]["groups"]
        self.assertGreaterEqual(len(group["rules"]), 6)
        for rule in group["rules"]:
            self.assertLessEqual(rule.keys(), {"alert", "expr", "for", "labels", "annotations"})
            self.assertRegex(rule["alert"], r"^Podwire[A-Z]\w+$")
            self.assertEqual(rule["annotations"].keys(), {"summary", "description"})
            self.assertIn(rule["labels"]["severity"], {"info", "warning"})
        service = items["Service", "podwire"]["metadata"]
        self.assertEqual(service["name"], "podwire", "the operator has it as the job's name")

    def test_the_alerts_are_rules(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.check("check", "rules", self.write_rules(folder))
            self.assertIn("SUCCESS", result.stdout)

    def test_what_is_gone_is_found_in_any_namespace_and_by_any_name(self):
        up = [{"series": f'up{{job="{job}", instance="{node}", node="{node}"}}', "values": values}
              for (job, node), values in TARGETS.items()]
        jobs = {node: job for job, node in TARGETS}
        ready = [{"series": f'podwire_ready{{job="{jobs[node]}", instance="{node}", node="{node}"}}',
                  "values": values} for node, values in ANSWERING.items()]
        self.check_firing("PodwireUnreachable", up + ready, ("node",), {(node,) for node in UNREACHABLE})

    def test_sensors_are_lost_that_are_wanted_and_have_no_session(self):
        series = []
        for (node, sensor), (wanted, sessions, _) in SENSORS.items():
            labels = f'{{job="podwire", instance="{node}", node="{node}", sensor="{sensor}"}}'
            series.append({"series": "podwire_sessions_open" + labels, "values": sessions})
            if wanted:
                series.append({"series": "podwire_sensor_wanted" + labels, "values": wanted})
        self.check_firing("PodwireSensorLost", series, ("node", "sensor"),
                          {key for key, (*_, is_lost) in SENSORS.items() if is_lost})

    def check_firing(self, alert, series, names, expected):
        """Checks for which values of labels an alert fires after 50 minutes."""
        samples = [", ".join(f'{name}="{value}"' for name, value in zip(names, values))
                   for values in sorted(expected)]
        with tempfile.TemporaryDirectory() as folder:
            tests = pathlib.Path(folder, "tests.yaml")
            tests.write_text(yaml.safe_dump({
                "rule_files": [self.write_rules(folder).name],
                "tests": [{
                    "interval": "1m", "input_series": series,
                    "promql_expr_test": [{
                        "expr": f'count by ({", ".join(names)}) (ALERTS{{alertname="{alert}", '
                                'alertstate="firing"})',
                        "eval_time": "50m",
                        "exp_samples": [{"labels": f"{{{sample}}}", "value": 1} for sample in samples]}]}]}))
            self.check("test", "rules", tests)

    def test_the_alerts_are_the_same_in_another_namespace(self):
        components = [METRICS, FOLDER / "components/prometheus-operator"]
        plain, moved = build_site(components), build_site(components, namespace="netobs")
        rule = ("PrometheusRule", "podwire")
        self.assertEqual(moved[rule]["metadata"]["namespace"], "netobs")
        self.assertEqual(moved[rule]["spec"], plain[rule]["spec"])
        self.assertNotIn("extrahop", json.dumps(moved[rule]["spec"]))

    def check(self, *arguments):
        result = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True,
                                timeout=TIMEOUT_SECONDS)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result

    @staticmethod
    def write_rules(folder):
        path = pathlib.Path(folder, "rules.yaml")
        path.write_text(yaml.safe_dump(build(PROMETHEUS)["PrometheusRule", "podwire"]["spec"]))
        return path


class Needs(unittest.TestCase):
    def test_a_component_without_another_that_it_needs_builds_nothing(self):
        """Nor does it in front of that, and the error says what to do."""
        for name, needed in NEEDED_COMPONENTS.items():
            [one, other] = [FOLDER / "components" / one for one in (name, *needed)]
            reason = f"name components/{other.name} before components/{name}"
            for components in ([one], [one, other], [OPENSHIFT, one]):
                with self.subTest(name, count=len(components)):
                    with self.assertRaisesRegex(AssertionError, reason):
                        build_site(components)
            build_site([other, one])
            for third in set(COMPONENTS) - {one, other}:
                if third.name not in NEEDED_COMPONENTS:
                    build_site([other, third, one])


class OpenShift(unittest.TestCase):
    def test_agents_may_what_they_need_and_no_more(self):
        """With each set of components that need more than the plain constraints, and with some others."""
        more = [name for name, needs in NEEDS.items() if needs[0]]
        sets = itertools.chain(*(itertools.combinations(more, count) for count in range(len(more) + 1)))
        for names in [*sets, tuple(NEEDS)]:
            items = build_site([OPENSHIFT, *(FOLDER / "components" / name for name in names)])
            constraints, pod = items[CONSTRAINTS], items[AGENT]["spec"]["template"]
            with self.subTest(names):
                self.assertEqual(refusals(constraints, pod), [])
                has_folders = any(NEEDS[name][0] for name in names)
                self.assertEqual(constraints["allowHostDirVolumePlugin"], has_folders)
                self.assertEqual("hostPath" in constraints["volumes"], has_folders)
                self.assertEqual(set(constraints["allowedCapabilities"]),
                                 {"NET_RAW", "NET_ADMIN"}.union(*(NEEDS[name][1] for name in names)))
                self.assertEqual([name for name, value in constraints.items()
                                  if name.startswith("allow") and value is True],
                                 (["allowHostDirVolumePlugin"] if has_folders else [])
                                 + ["allowHostNetwork"] + (["allowHostPorts"] if "passive" in names else []))

    def test_what_needs_more_is_refused_without_it(self):
        constraints = build_site([OPENSHIFT])[CONSTRAINTS]
        for name, (has_folders, capabilities) in NEEDS.items():
            pod = build_site([FOLDER / "components" / name])[AGENT]["spec"]["template"]
            with self.subTest(name):
                found = set(refusals(constraints, pod))
                self.assertLessEqual(capabilities, found)
                self.assertEqual("hostPath" in found, has_folders)
                self.assertEqual("ports" in found, name == "passive")

    def test_another_order_builds_nothing(self):
        for name, (has_folders, _) in NEEDS.items():
            components = [FOLDER / "components" / name, OPENSHIFT]
            with self.subTest(name):
                if has_folders or name == "passive":
                    with self.assertRaisesRegex(AssertionError, "name components/openshift before"):
                        build_site(components)
                else:
                    items = build_site(components)
                    self.assertEqual(refusals(items[CONSTRAINTS], items[AGENT]["spec"]["template"]), [])

    def test_without_the_component_there_is_none(self):
        for name in NEEDS:
            self.assertNotIn(CONSTRAINTS, build_site([FOLDER / "components" / name]))

    def test_the_constraints_are_whole(self):
        """https://docs.redhat.com/en/documentation/openshift_container_platform: Security APIs."""
        constraints = build_site([OPENSHIFT])[CONSTRAINTS]
        self.assertLessEqual(REQUIRED, constraints.keys())
        self.assertLessEqual(constraints.keys(), REQUIRED | OPTIONAL)

    def test_the_agents_account_may_use_them_in_any_namespace(self):
        for namespace in ("extrahop", "netobs"):
            items = build_site([OPENSHIFT, OPENSHIFT / "collector"], namespace=namespace)
            role = items["ClusterRole", "podwire-constraints"]
            self.assertEqual(role["rules"], [{
                "apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"],
                "resourceNames": [CONSTRAINTS[1]], "verbs": ["use"]}])
            for binding, controller in (("podwire-constraints", AGENT),
                                        ("podwire-collector-constraints", COLLECTOR)):
                account = items[controller]["spec"]["template"]["spec"]["serviceAccountName"]
                self.assertEqual(items["RoleBinding", binding]["subjects"], [
                    {"kind": "ServiceAccount", "name": account, "namespace": namespace}])
                self.assertIn(("ServiceAccount", account), items)

    def test_no_account_is_named_that_is_not_there(self):
        """Such as that of a collector, in this namespace or another."""
        for components in ([OPENSHIFT], [OPENSHIFT, OPENSHIFT / "collector"]):
            for namespace in ("extrahop", "netobs"):
                items = build_site(components, namespace=namespace)
                named = {(subject["kind"], subject["name"], subject["namespace"]) for item in items.values()
                         for subject in item.get("subjects", [])}
                found = {("ServiceAccount", name, item["metadata"]["namespace"])
                         for (kind, name), item in items.items() if kind == "ServiceAccount"}
                with self.subTest(namespace, count=len(components)):
                    self.assertEqual(named, found)

    def test_a_pod_may_have_another_selinux_type_where_it_reads_folders(self):
        [text] = [text for text in examples("DaemonSet") if "seLinuxOptions" in text]
        for name, expected in (("names", []), ("tls", ["seLinuxOptions"])):
            items = build_site([OPENSHIFT, FOLDER / "components" / name], text)
            self.assertEqual(refusals(items[CONSTRAINTS], items[AGENT]["spec"]["template"]), expected)


if __name__ == "__main__":
    unittest.main()
