import Linux
import Testing

@Suite("Memory")
struct MemoryTests {
    @Test(
        "is limited by the tightest of the control groups around a process",
        arguments: [
            // Version 2 on a node, in a container, and where there is no limit.
            (
                [
                    "/proc/self/cgroup": "0::/kubepods/pod1/c1\n",
                    "/sys/fs/cgroup/kubepods/pod1/c1/memory.max": "max\n",
                    "/sys/fs/cgroup/kubepods/pod1/memory.max": "134217728\n",
                    "/sys/fs/cgroup/kubepods/memory.max": "8589934592\n",
                ], 134_217_728
            ),
            (
                ["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "67108864\n"],
                67_108_864
            ),
            (["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"], nil),
            // Version 1: the path is the node's, and the container sees its own group as the root.
            (
                [
                    "/proc/self/cgroup": "9:cpu:/x\n4:memory:/kubepods/pod1/c1\n0::/\n",
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "33554432\n",
                    "/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1\n",
                ], 33_554_432
            ),
            (
                [
                    "/proc/self/cgroup": "4:cpu,memory:/a\n",
                    "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
                ], nil
            ),
            ([:], nil),
        ] as [([String: String], Int?)])
    func limits(files: [String: String], limit: Int?) {
        #expect(Memory { files[$0] }.limitByteCount == limit)
    }

    @Test("is available as the kernel says")
    func available() throws {
        let text = "MemTotal:  100 kB\nMemAvailable:   2048 kB\n"
        #expect(Memory { $0 == "/proc/meminfo" ? text : nil }.availableByteCount == 2 << 20)
        let now = try #require(Memory.current.availableByteCount)
        #expect(now > 1 << 20)
    }
}
