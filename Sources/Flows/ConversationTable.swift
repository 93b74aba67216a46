import Addressing
import Packets

/// Counts conversations: who talks to whom.
///
/// It is bounded: when it is full, those that were silent for longest make room.
package struct ConversationTable: Sendable {
    private var rows: [Conversation: ConversationCounts] = [:]
    /// Requests that wait for their answers, by the flow of the request.
    private var pending: [PendingKey: Pending] = [:]
    private let countMax: Int
    /// The latest time at which a packet came.
    package private(set) var latest: UInt64 = 0
    private var expiredAt: UInt64 = 0
    /// All frames.
    package private(set) var frameCount: UInt64 = 0
    /// The bytes that they had on the wire.
    package private(set) var byteCount: UInt64 = 0
    /// Frames that are no IP packets.
    package private(set) var otherCount: UInt64 = 0
    /// Conversations that were forgotten, since there were too many.
    package private(set) var forgottenCount = 0

    /// The conversations of a large node for some minutes; each takes some 150 bytes.
    package static let countMax = 65_536
    /// The requests that can wait at once; those beyond count as answered.
    package static let pendingCountMax = 65_536
    /// The longest frame that there is: a GSO packet of 512 KiB.
    private static let wireByteCountMax = 1 << 20
    /// The time after which a request counts as unanswered, in nanoseconds.
    ///
    /// A client asks again after a second, and after two more.
    package static let answerTime: UInt64 = 3_000_000_000

    /// A request by its flow; an echo also by its number.
    private struct PendingKey: Hashable {
        let flow: FlowKey
        let sequence: UInt16
    }

    private struct Pending {
        let conversation: Conversation
        let nanoseconds: UInt64
    }

    /// Creates an empty table.
    package init(countMax: Int = Self.countMax) {
        precondition(countMax > 3)
        self.countMax = countMax
    }

    /// The conversations, in no order.
    package var conversations: some Collection<(key: Conversation, value: ConversationCounts)> {
        rows
    }

    /// Counts a frame.
    ///
    /// - Parameters:
    ///   - frame: An Ethernet frame, which may have been cut.
    ///   - wireByteCount: Its length on the wire, as somebody says.
    ///   - nanoseconds: When it was captured, since 1970.
    ///   - clock: When it came here, by which requests wait for their answers; nil in a file, where
    ///     that is when it was captured. Clocks of two agents may differ.
    package mutating func add(
        _ frame: RawSpan, wireByteCount: Int, nanoseconds: UInt64, clock: UInt64? = nil
    ) {
        let wireByteCount = min(wireByteCount, Self.wireByteCountMax)
        let clock = clock ?? nanoseconds
        latest = max(latest, clock)
        frameCount += 1
        byteCount += UInt64(wireByteCount)
        guard let packet = FrameContent(frame)?.packet(in: frame) else {
            otherCount += 1
            return
        }
        let (conversation, isFromClient) = placeOfQuoted(packet, in: frame) ?? place(packet)
        if rows.count >= countMax, rows[conversation] == nil { forgetOldest() }
        rows[conversation, default: ConversationCounts(at: nanoseconds)]
            .add(wireByteCount, isFromClient: isFromClient, at: nanoseconds)
        follow(packet, in: frame, conversation, clock)
        if latest >= expiredAt + Self.answerTime / 4 { expire() }
    }

    /// Lets time pass without a packet.
    package mutating func advance(to clock: UInt64) {
        latest = max(latest, clock)
        if latest >= expiredAt + Self.answerTime / 4 { expire() }
    }

    /// Counts requests that still wait as unanswered if they have waited for half of the time: no more
    /// packets come.
    package mutating func finish() {
        for waiting in pending.values where waiting.nanoseconds + Self.answerTime / 2 <= latest {
            rows[waiting.conversation]?.unansweredCount += 1
        }
        pending = [:]
    }

    /// Counts requests as unanswered that have waited for too long.
    package mutating func expire() {
        expiredAt = latest
        for (key, waiting) in pending where waiting.nanoseconds + Self.answerTime <= latest {
            pending[key] = nil
            rows[waiting.conversation]?.unansweredCount += 1
        }
    }
}

/// Which conversation a packet belongs to.
extension ConversationTable {
    private func place(_ packet: IPPacket) -> (Conversation, isFromClient: Bool) {
        // An echo's ports are its identifier.
        let hasPorts = IPProtocol.hasPorts(packet.transport)
        let ports = hasPorts ? packet.ports ?? packet.firstFragmentPorts : nil
        let forth = Conversation(
            client: packet.source, service: packet.destination, transport: packet.transport,
            port: ports?.destination)
        let back = Conversation(
            client: packet.destination, service: packet.source, transport: packet.transport,
            port: ports?.source)
        switch packet.opening {
        case .connectionRequest, .echoRequest: return (forth, true)
        case .connectionAnswer, .echoReply: return (back, false)
        case .reset, nil: break
        }
        if rows[forth] != nil { return (forth, true) }
        if rows[back] != nil { return (back, false) }
        let isBack = ports.map { $0.source < $0.destination } ?? false
        return isBack ? (back, false) : (forth, true)
    }

    /// The place of an ICMP error: it belongs to what it quotes, if that was seen.
    private func placeOfQuoted(
        _ packet: IPPacket, in frame: RawSpan
    ) -> (Conversation, isFromClient: Bool)? {
        guard let quoted = packet.quoted(in: frame) else { return nil }
        let (conversation, isFromClient) = place(quoted)
        return rows[conversation] == nil ? nil : (conversation, !isFromClient)
    }

    /// Removes the quarter that was silent for longest.
    private mutating func forgetOldest() {
        let times = rows.values.map(\.last).sorted()
        let limit = times[times.count / 4]
        let count = rows.count
        rows = rows.filter { $0.value.last > limit }
        // All may have the same time.
        if rows.count == count || rows.isEmpty { rows = [:] }
        forgottenCount += count - rows.count
    }
}

/// Requests and their answers.
extension ConversationTable {
    private mutating func follow(
        _ packet: IPPacket, in frame: RawSpan, _ conversation: Conversation, _ nanoseconds: UInt64
    ) {
        if let opening = packet.opening {
            let flow = FlowKey(packet)
            if opening.isAnswer {
                let key = PendingKey(flow: flow.reversed, sequence: opening.sequence)
                if let request = pending.removeValue(forKey: key), opening == .reset {
                    rows[request.conversation]?.refusedCount += 1
                }
            }
            if opening.isRequest {
                let key = PendingKey(flow: flow, sequence: opening.sequence)
                begin(key, conversation, nanoseconds)
            }
        } else if let quoted = packet.quoted(in: frame) {
            refuse(quoted)
        }
    }

    private mutating func begin(
        _ key: PendingKey, _ conversation: Conversation, _ nanoseconds: UInt64
    ) {
        // One that is asked again is the same request.
        guard pending[key] == nil else { return }
        rows[conversation]?.requestCount += 1
        guard pending.count < Self.pendingCountMax else { return }
        pending[key] = Pending(conversation: conversation, nanoseconds: nanoseconds)
    }

    /// Counts the request that an ICMP error quotes as refused.
    private mutating func refuse(_ quoted: IPPacket) {
        let key = PendingKey(flow: FlowKey(quoted), sequence: quoted.opening?.sequence ?? 0)
        guard let request = pending.removeValue(forKey: key) else { return }
        rows[request.conversation]?.refusedCount += 1
    }
}
