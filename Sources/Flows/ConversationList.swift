package import Addressing
import Formats

/// Conversations as people want to see them: with names and rates, sorted and filtered.
package struct ConversationList {
    /// The rows, in order.
    package let rows: [Row]
    /// The rows that a filter has left out.
    package let filteredCount: Int
    /// The conversations that it has not left out, also those beyond the most rows.
    package let matchCount: Int
    /// What the rows are sorted by.
    package let order: Order

    /// A conversation with names.
    package struct Row: Sendable {
        package let conversation: Conversation
        package let counts: ConversationCounts
        /// The names of both ends, as far as they are known.
        package let clientName: String?
        package let serviceName: String?
        /// The client's name, or its address.
        package let client: String
        /// The service's name, or its address, with the port: `"shop/api:80/tcp"`.
        package let service: String
        /// Bits a second, of late or on the average.
        package let bitsPerSecond: UInt64
    }

    /// What rows are sorted by: the largest, or the latest, first; names from A on.
    package enum Order: String, CaseIterable, Sendable {
        case bytes, packets, rate, first, last, requests, refused, unanswered, client, service
    }

    /// Makes a list.
    ///
    /// - Parameters:
    ///   - table: The conversations.
    ///   - names: The names of addresses, as far as they are known.
    ///   - filter: Words, each of which a row must have in its names, addresses, port or protocol.
    ///   - order: What the rows are sorted by.
    ///   - countMax: The most rows, 1 or more.
    ///   - before: The bytes of conversations at an earlier moment, and how long ago that was in
    ///     nanoseconds; nil for rates over the time of each conversation.
    package init(
        _ table: borrowing ConversationTable, names: [IPAddress: String], filter: [String] = [],
        by order: Order, countMax: Int = .max,
        since before: (byteCounts: [Conversation: UInt64], nanoseconds: UInt64)?
    ) {
        let words = filter.map { $0.lowercased() }
        var rows: [Row] = []
        var filteredCount = 0
        let candidates = Self.candidates(table, words, order, countMax, before)
        for (conversation, counts) in candidates {
            let row = Row(
                conversation: conversation, counts: counts,
                clientName: names[conversation.client], serviceName: names[conversation.service],
                client: names[conversation.client] ?? "\(conversation.client)",
                service: Self.service(conversation, names),
                bitsPerSecond: Self.rate(conversation, counts, before))
            if words.allSatisfy({ row.matches($0) }) {
                rows.append(row)
            } else {
                filteredCount += 1
            }
        }
        matchCount = table.conversations.count - filteredCount
        self.rows = Array(rows.sorted { Self.precedes($0, $1, order) }.prefix(countMax))
        self.filteredCount = filteredCount
        self.order = order
    }

    /// The conversations that may be among the first: those with the largest numbers, without a text
    /// being made of any other; all where texts decide.
    private static func candidates(
        _ table: borrowing ConversationTable, _ words: [String], _ order: Order, _ countMax: Int,
        _ before: (byteCounts: [Conversation: UInt64], nanoseconds: UInt64)?
    ) -> [(key: Conversation, value: ConversationCounts)] {
        let all = Array(table.conversations)
        guard words.isEmpty, countMax < all.count, order != .client, order != .service else {
            return all
        }
        let numbers = all.map { conversation, counts in
            (
                number(counts, rate: rate(conversation, counts, before), order) ?? 0,
                counts.byteCount
            )
        }
        let least = numbers.sorted(by: >)[countMax - 1]
        return zip(all, numbers).filter { $0.1 >= least }.map(\.0)
    }

    private static func service(_ of: Conversation, _ names: [IPAddress: String]) -> String {
        let name = names[of.service] ?? "\(of.service)"
        guard let port = of.port else { return "\(name) \(of.transportName)" }
        // An IPv6 address would run into its port.
        let host = name.contains(":") ? "[\(name)]" : name
        return "\(host):\(port)/\(of.transportName)"
    }

    private static func rate(
        _ conversation: Conversation, _ counts: ConversationCounts,
        _ before: (byteCounts: [Conversation: UInt64], nanoseconds: UInt64)?
    ) -> UInt64 {
        let earlier = before.map { $0.byteCounts[conversation] ?? 0 } ?? 0
        // One that began a moment ago has no rate of its own yet.
        let nanoseconds = max(before?.nanoseconds ?? counts.last - counts.first, 1_000_000_000)
        let byteCount = counts.byteCount - min(earlier, counts.byteCount)
        return UInt64(min(Double(byteCount) * 8e9 / Double(nanoseconds), 1e18))
    }

    private static func precedes(_ one: Row, _ other: Row, _ order: Order) -> Bool {
        let number = number(one.counts, rate: one.bitsPerSecond, order) ?? 0
        let otherNumber = Self.number(other.counts, rate: other.bitsPerSecond, order) ?? 0
        if number != otherNumber { return number > otherNumber }
        if order == .client, one.client != other.client { return one.client < other.client }
        if order == .service, one.service != other.service { return one.service < other.service }
        let (bytes, otherBytes) = (one.counts.byteCount, other.counts.byteCount)
        if bytes != otherBytes { return bytes > otherBytes }
        return (one.client, one.service) < (other.client, other.service)
    }

    /// The number that rows are sorted by; nil if it is a name.
    private static func number(
        _ counts: ConversationCounts, rate: @autoclosure () -> UInt64, _ order: Order
    ) -> UInt64? {
        switch order {
        case .bytes: counts.byteCount
        case .packets: counts.packetCount
        case .rate: rate()
        case .first: counts.first
        case .last: counts.last
        case .requests: UInt64(counts.requestCount)
        case .refused: UInt64(counts.refusedCount)
        case .unanswered: UInt64(counts.unansweredCount)
        case .client, .service: nil
        }
    }
}

extension ConversationList.Row {
    /// Whether a word, in lower case, is in its texts.
    fileprivate func matches(_ word: String) -> Bool {
        let names = [client, service, "\(conversation.client)", "\(conversation.service)"]
        // A pod's name is `web-1.shop` here, as in Wireshark, and `shop/web-1` in Kubernetes.
        let pods = [clientName, serviceName].compactMap(\.self).map { name in
            name.split(separator: ".", maxSplits: 1).reversed().joined(separator: "/")
        }
        return (names + pods).contains { $0.lowercased().contains(word) }
    }
}
