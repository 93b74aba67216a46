import Kernel
import Netlink

/// Whether somebody captures at the edges already.
package enum OtherCapturesCheck {
    private static let name = "other captures"

    /// Looks at the packet sockets of this network namespace.
    static func findings(_ node: Node, isAgentRunning: Bool) -> [Finding] {
        let path = "/proc/net/packet"
        guard let bytes = try? readFile(path, byteCountMax: tableByteCountMax) else { return [] }
        let count = count(
            String(decoding: bytes, as: UTF8.self), Set(node.edges.map(\.link.index)))
        return [finding(count, isAgentRunning: isAgentRunning)]
    }

    /// 10,000 sockets and more, of about 80 bytes each.
    private static let tableByteCountMax = 1 << 20

    /// How many of a table of packet sockets get every packet of one of these interfaces, or of all.
    package static func count(_ table: String, _ edges: Set<UInt32>) -> Int {
        table.split(separator: "\n").dropFirst().count { line in
            let words = line.split(separator: " ")
            // In front of the interface stands the protocol, 3 for any (ETH_P_ALL).
            guard words.count > 4, words[3] == "0003", let interface = UInt32(words[4]) else {
                return false
            }
            return interface == 0 || edges.contains(interface)
        }
    }

    package static func finding(_ count: Int, isAgentRunning: Bool = false) -> Finding {
        guard count > 0 else { return .ok(name, "none at the edges") }
        let found = "\(Finding.count(count, "packet socket")) of others at the edges"
        guard !isAgentRunning else { return .ok(name, "\(found), and an agent runs here") }
        return Finding(
            .note, name, found,
            meaning: """
                if these are of another agent or of rpcapd, the sensor gets packets twice; every \
                capture costs the pods' packets some time
                """,
            remedy: "see whose they are (`ss -0p`), and end what is not wanted")
    }
}
