"""What the collector costs: four agents that send to it, and it writes to a file, in order and as packets
come."""

import json
import pathlib
import subprocess
import time

from . import processes

AGENT_COUNT, BYTES = 4, 300
# What two cores, of which the agents need one, are to take.
PER_SECOND = 500_000
FULL_SPEED = 0
ORDERS = {"in order of time": "1s", "as they come": "off"}
PORT = 2003
ADDRESS = "127.0.0.1"


def collector(bench, program):
    """CPU of the collector per packet, at a rate and at full speed, and how many it takes a second."""
    for index in range(bench.plan.rounds):
        for rate in (PER_SECOND, FULL_SPEED):
            # They take turns, so that noise meets both.
            for name in sorted(ORDERS, reverse=index % 2 > 0):
                bench.say(f"collector, {rate or 'all'}/s, round {index + 1}: {name}")
                collect(bench, program, rate, name)


def collect(bench, program, rate, name):
    seconds = max(2, int(bench.plan.seconds))
    namespace = bench.bed.node
    file = pathlib.Path(bench.tools) / "collected.pcapng"
    process = processes.start(
        namespace, program, "collect", "--output", file, "--listen", f"{ADDRESS}:{PORT}", "--order",
        ORDERS[name], "--names", "off", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        processes.await_true(lambda: f":{PORT} " in processes.run(
            "ip", "netns", "exec", namespace, "ss", "-Hltn") + " ", what="the collector")
        agents = processes.start(
            namespace, bench.tools / "agents", ADDRESS, PORT, AGENT_COUNT, BYTES, rate, seconds,
            stdout=subprocess.PIPE)
        begin = time.monotonic()
        sent = sum(json.loads(agents.stdout.readline())["packets"] for _ in range(AGENT_COUNT))
        elapsed = time.monotonic() - begin
        used = processes.cpu_ns(process.pid)
        process.terminate()
        result = json.loads(process.communicate(timeout=30)[0])
        processes.kill_group(agents)
    finally:
        processes.kill_group(process)
        process.wait()
        file.unlink(missing_ok=True)
    got = sum(agent["packets"] for agent in result["agents"])
    if got != sent:
        raise RuntimeError(f"the collector has {got} of {sent} packets")
    kind = "paced" if rate else "full"
    bench.figures.add(f"collector_{kind}_ns", name, used / sent)
    bench.figures.add(f"collector_{kind}_per_s", name, sent / elapsed)
    bench.figures.add(f"collector_{kind}_late_share", name, result["order"]["late"] / sent)
