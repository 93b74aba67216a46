import Glibc
import Linux

/// An agent that runs in the network namespace of the doctor.
package struct RunningAgent: Equatable, Sendable {
    /// The process id.
    package let process: Int32
    /// The inodes of its sockets; nil if they cannot be read.
    package let sockets: Set<UInt64>?

    /// An agent by its parts.
    package init(process: Int32, sockets: Set<UInt64>?) {
        (self.process, self.sockets) = (process, sockets)
    }

    /// Reads the processes that can be seen and are this program as an agent.
    ///
    /// Inside a container that is the container's own agent.
    static func read() -> [RunningAgent] {
        guard let own = try? FileStamp(of: "/proc/self/exe"),
            let names = try? fileNames(in: "/proc")
        else { return [] }
        let network = try? linkTarget("/proc/self/ns/net")
        return names.compactMap { Int32($0) }.filter { process in
            guard process != getpid(), let other = try? FileStamp(of: "/proc/\(process)/exe"),
                other == own,
                let line = try? readFile(
                    "/proc/\(process)/cmdline", byteCountMax: lineByteCountMax)
            else { return false }
            let words = line.split(separator: 0)
            guard words.count > 1, words[1].elementsEqual("agent".utf8) else { return false }
            let otherNetwork = try? linkTarget("/proc/\(process)/ns/net")
            return otherNetwork == nil || otherNetwork == network
        }.sorted().map { RunningAgent(process: $0, sockets: sockets(of: $0)) }
    }

    /// The most that is read of a command line; an agent's is shorter.
    private static let lineByteCountMax = 64 << 10

    private static func sockets(of process: Int32) -> Set<UInt64>? {
        let folder = "/proc/\(process)/fd"
        guard let names = try? fileNames(in: folder) else { return nil }
        return Set(
            names.compactMap { (try? linkTarget("\(folder)/\($0)")).flatMap(Self.socket) })
    }

    /// Whether the agent listens at a port; true as well if its sockets cannot be read.
    func listens(at port: UInt16) -> Bool {
        guard let sockets else { return true }
        return ["/proc/net/tcp", "/proc/net/tcp6"].contains { path in
            guard let bytes = try? readFile(path, byteCountMax: Self.tableByteCountMax) else {
                return false
            }
            let table = String(decoding: bytes, as: UTF8.self)
            return !Self.listeners(in: table, at: port).isDisjoint(with: sockets)
        }
    }

    /// The most that is read of a table: listening sockets come first, others have 150 bytes each.
    private static let tableByteCountMax = 16 << 20

    /// The inodes of the sockets that listen at a port, from a table of TCP sockets (proc(5)).
    package static func listeners(in table: String, at port: UInt16) -> Set<UInt64> {
        Set(
            table.split(separator: "\n").dropFirst().compactMap { line in
                let words = line.split(separator: " ")
                // The number, the local and the remote address in hexadecimal, and the state, which
                // is 10 for TCP_LISTEN.
                guard words.count > 9, words[3] == "0A",
                    let local = words[1].split(separator: ":").last,
                    UInt16(local, radix: 16) == port
                else { return nil }
                return UInt64(words[9])
            })
    }

    /// Parses the inode in `"socket:[4711]"`.
    package static func socket(_ target: String) -> UInt64? {
        guard target.hasPrefix("socket:["), target.hasSuffix("]") else { return nil }
        return UInt64(target.dropFirst(8).dropLast())
    }
}
