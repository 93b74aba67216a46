package import Addressing
import Observation
import Packets

/// The requests of a file that nobody answered, in the order in which each was first seen.
///
/// The requests of one sender to one address and port are one row, whatever port the sender used.
package struct UnansweredRequests: Sendable {
    private var rows: [Key: Row] = [:]
    /// The number of requests that found no room among the rows.
    package private(set) var leftOutCount = 0

    /// A list without requests.
    package init() {}

    /// The most rows: a scan of four networks of 65,536 addresses, about 40 MiB.
    static let rowCountMax = 262_144

    private struct Key: Hashable, Sendable {
        let kind: RequestKind
        let source: IPAddress
        let destination: IPAddress
        let port: UInt16
    }

    /// The requests of one sender to one address and port.
    package struct Row: Equatable, Sendable {
        /// What asked for an answer.
        package let kind: RequestKind
        /// The sender.
        package let source: IPAddress
        /// The pod or service that was asked; a ping has no port.
        package let destination: DescribedPacket.End
        /// When the first one was seen, nanoseconds since 1970.
        package private(set) var firstNanoseconds: UInt64
        /// The number of requests that were held at the sender's edge.
        package private(set) var senderCount = 0
        /// The number of requests that were held at the other pod's edge.
        package private(set) var receiverCount = 0
        /// The number of requests that were reported at once.
        package private(set) var atOnceCount = 0

        /// The number of requests; one that was recorded at both edges is one.
        package var count: Int { max(senderCount, receiverCount) + atOnceCount }

        fileprivate mutating func add(_ edge: RequestEdge?, _ nanoseconds: UInt64) {
            firstNanoseconds = min(firstNanoseconds, nanoseconds)
            switch edge {
            case .sender: senderCount += 1
            case .observedEnd: receiverCount += 1
            case nil: atOnceCount += 1
            }
        }
    }

    /// All rows, the earliest first.
    package var sortedRows: [Row] {
        rows.values.sorted {
            ($0.firstNanoseconds, $0.source, $0.destination.address, $0.destination.port ?? 0)
                < ($1.firstNanoseconds, $1.source, $1.destination.address, $1.destination.port ?? 0)
        }
    }

    /// Adds a request that was held at an edge, or reported there at once if that is nil.
    mutating func add(_ flow: FlowKey, heldAt edge: RequestEdge?, nanoseconds: UInt64) {
        let kind = flow.transport == IPProtocol.tcp ? RequestKind.connection : .ping
        let port = kind == .connection ? flow.destinationPort : nil
        let key = Key(
            kind: kind, source: flow.source, destination: flow.destination, port: port ?? 0)
        var row =
            rows[key]
            ?? Row(
                kind: kind, source: flow.source,
                destination: DescribedPacket.End(address: flow.destination, port: port),
                firstNanoseconds: nanoseconds)
        guard rows[key] != nil || rows.count < Self.rowCountMax else {
            leftOutCount += 1
            return
        }
        row.add(edge, nanoseconds)
        rows[key] = row
    }
}
