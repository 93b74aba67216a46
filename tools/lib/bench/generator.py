"""Traffic between pods: datagrams from as many cores as wanted, and iperf3."""

import json
import os
import pathlib
import subprocess

from . import network, processes

HIGH_PORT, LOW_PORT = 40000, 8000
IPERF_PORT = 5201


class Way:
    """From pod `a` to another end, and which of the two has the lower port and so reports."""

    def __init__(self, bed, to_elsewhere=False, reports_at_sender=False, sender=None, target=None):
        self.bed = bed
        self.sender = sender or bed.pods[0]
        self.mac = bed.elsewhere_mac if to_elsewhere else bed.pods[1].mac
        self.target = target or (
            network.ELSEWHERE_ADDRESS if to_elsewhere else bed.pods[1].address)
        self.ports = (LOW_PORT, HIGH_PORT) if reports_at_sender else (HIGH_PORT, LOW_PORT)


def cores(count):
    """The last cores that the bench may use; the others are left to whom they are needed by."""
    return sorted(os.sched_getaffinity(0))[-count:]


def begin(way, tools, frame_bytes, seconds, rate=0, core_count=1, flows="many"):
    return [processes.start(
        way.sender.namespace, tools / "send", "eth0", way.mac,
        f"{way.sender.address}:{way.ports[0] + 100 * index}", f"{way.target}:{way.ports[1]}",
        frame_bytes, seconds, rate, core, flows, stdout=subprocess.PIPE, text=True)
        for index, core in enumerate(cores(core_count))]


def begin_murmur(bed, tools, pods, sizes, seconds, rate):
    """Has each of some pods send so many packets a second to the pod elsewhere. Their edges report."""
    sender = processes.start(
        bed.node, tools / "murmur", "eth0", bed.elsewhere_mac, LOW_PORT,
        f"{network.ELSEWHERE_ADDRESS}:{HIGH_PORT}", ",".join(map(str, sizes)), seconds, rate,
        cores(1)[0], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with sender.stdin as words:
        words.writelines(f"/run/netns/{pod.namespace} {pod.address}\n" for pod in pods)
    sender.stdin = None
    return sender


def murmur(bed, tools, pods, frame_bytes, seconds, rate):
    """Has pods send for so long, and answers what that was, with the time of the kernel's helper."""
    helper = helper_pid(cores(1)[0])
    before = processes.cpu_ns(helper)
    sender = begin_murmur(bed, tools, pods, [frame_bytes], seconds, rate)
    total = finish([sender], seconds + 20)
    total["cpu_ns"] += processes.cpu_ns(helper) - before
    return total


def finish(senders, seconds_max):
    """What was sent, by all together: packets, and nanoseconds on the clock and of processors."""
    total = {"packets": 0, "refused": 0, "wall_ns": 0, "cpu_ns": 0}
    for sender in senders:
        try:
            text = sender.communicate(timeout=seconds_max)[0]
        finally:
            sender.kill()
        if sender.returncode != 0:
            raise RuntimeError(f"the generator ended with {sender.returncode}")
        sent = json.loads(text)
        for name in ("packets", "refused", "cpu_ns"):
            total[name] += sent[name]
        total["wall_ns"] = max(total["wall_ns"], sent["wall_ns"])
    return total


def send(way, tools, frame_bytes, seconds, **keywords):
    """Sends for so long, and answers what that was, with the time of the kernel's helper."""
    helpers = [helper_pid(core) for core in cores(keywords.get("core_count", 1))]
    before = sum(map(processes.cpu_ns, helpers))
    total = finish(begin(way, tools, frame_bytes, seconds, **keywords), seconds + 20)
    total["cpu_ns"] += sum(map(processes.cpu_ns, helpers)) - before
    return total


def helper_pid(core):
    """The kernel thread that takes over where a core has too many packets for one go."""
    for file in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if file.read_text() == f"ksoftirqd/{core}\n":
                return int(file.parent.name)
        except OSError:
            continue
    raise RuntimeError(f"no ksoftirqd/{core}")


def talk_tcp(bed, seconds):
    """One TCP connection as fast as it goes. Answers its bits per second."""
    near, far = bed.pods[:2]
    server = processes.start(far.namespace, "iperf3", "-s", "-1", "--forceflush",
                             stdout=subprocess.PIPE, text=True)
    try:
        while "listening" not in server.stdout.readline():
            if server.poll() is not None:
                raise RuntimeError("iperf3 does not listen")
        report = processes.run("ip", "netns", "exec", near.namespace, "iperf3", "-c", far.address,
                               "-t", seconds, "-J", seconds_max=seconds + 20)
        return json.loads(report)["end"]["sum_received"]["bits_per_second"]
    finally:
        server.kill()
        server.communicate()
