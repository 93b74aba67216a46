/// A folder of network namespaces like that of a container runtime, which goes away with its owner.
///
/// Each pod is a namespace with a file. The host's end of its interface is in the calling thread's
/// namespace.
package final class PodFolder {
    /// The folder.
    package let path: String

    /// Makes an empty folder.
    package init() throws(CommandFailure) {
        path = try output(of: "mktemp -d").filter { $0 != "\n" }
    }

    deinit {
        try? shell("umount -l \(path)/* 2>/dev/null; rm -rf \(path)")
    }

    /// The path of a file in the folder.
    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a namespace that has a file in the folder, as a runtime does: first the file.
    package func addNamespace(_ name: String) throws(CommandFailure) {
        try shell("touch \(file(name)) && unshare --net=\(file(name)) true")
    }

    /// Makes a pod: a namespace with an interface, whose host end and both indices are given.
    package func addPod(
        _ name: String, host: String, hostIndex: UInt32, podIndex: UInt32 = 2
    ) throws(CommandFailure) {
        try addNamespace(name)
        try connect(name, host: host, hostIndex: hostIndex, podIndex: podIndex)
    }

    /// Gives a namespace an interface, `eth0`.
    package func connect(
        _ name: String, host: String, hostIndex: UInt32, podIndex: UInt32 = 2
    ) throws(CommandFailure) {
        // The far end gets its index inside only if no interface of this namespace has it.
        try shell(
            """
            ip link add \(host) index \(hostIndex) type veth \
                peer name eth0 index \(podIndex) netns \(file(name)) &&
            ip link set \(host) up && nsenter --net=\(file(name)) ip link set eth0 up
            """)
    }

    /// Removes a namespace's file, as a runtime does: first what is mounted there, though it is in use.
    package func remove(_ name: String) throws(CommandFailure) {
        try shell("umount -l \(file(name)) && rm \(file(name))")
    }
}
