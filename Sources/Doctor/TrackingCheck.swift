import Netlink
package import Linux

/// Whether connection tracking can say what becomes of calls to services.
package struct TrackingCheck: Sendable {
    /// Why it cannot be asked; nil if it can.
    package let failure: SystemError?
    /// `nf_conntrack_count`, `nf_conntrack_max` and `nf_conntrack_events`, where they are there.
    package let count: Int?
    package let countMax: Int?
    package let events: Int?

    package init(failure: SystemError?, count: Int?, countMax: Int?, events: Int?) {
        self.failure = failure
        (self.count, self.countMax, self.events) = (count, countMax, events)
    }

    /// Asks it, whether or not the settings need it.
    static var current: Self {
        let failure: SystemError? =
            if case .unavailable(let error) = Tracking.current { error } else { nil }
        return Self(
            failure: failure, count: number("count"), countMax: number("max"),
            events: number("events"))
    }

    private static func number(_ name: String) -> Int? {
        let path = "/proc/sys/net/netfilter/nf_conntrack_\(name)"
        guard let bytes = try? readFile(path, byteCountMax: 64) else { return nil }
        return Int(String(decoding: bytes.prefix { $0 != 0x0a }, as: UTF8.self))
    }

    private static let name = "connection tracking"

    package func findings(isNeeded: Bool) -> [Finding] {
        guard isNeeded else { return [.ok(Self.name, "not needed, as each edge reports all")] }
        if let failure {
            return [
                Finding(
                    .warning, Self.name, "cannot be asked: \(failure)", meaning: Tracking.loss,
                    remedy: Tracking.advice(failure))
            ]
        }
        let findings = [full, silent].compactMap { $0 }
        let texts = [count.map { "\($0)" }, countMax.map { "of at most \($0)" }]
        let flows = count == nil ? "" : "; flows: \(texts.compactMap { $0 }.joined(separator: " "))"
        return findings.isEmpty ? [.ok(Self.name, "can be asked\(flows)")] : findings
    }

    private var full: Finding? {
        guard let count, let countMax, countMax > 0, count >= countMax / 10 * 9 else { return nil }
        return Finding(
            .note, Self.name, "nearly full: \(count) flows of at most \(countMax)",
            meaning: "when it is full the node drops packets of new flows, podwire or not",
            remedy: "raise net.netfilter.nf_conntrack_max")
    }

    private var silent: Finding? {
        guard events == 0 else { return nil }
        return Finding(
            .warning, Self.name, "its events are off",
            meaning: """
                flows are asked for one by one, and those that end at once, as refused ones, are \
                missed in the form that the backend sees
                """,
            remedy: "sysctl net.netfilter.nf_conntrack_events=1")
    }
}
