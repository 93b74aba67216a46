import Addressing
package import Linux
import Netlink

/// The state of the kernel's connection tracking.
package struct ConntrackState: Sendable {
    /// Why it cannot be asked; nil if it can.
    package let failure: SystemError?
    /// The number of flows (`nf_conntrack_count`), where the kernel tells it.
    package let count: Int?
    /// The most flows (`nf_conntrack_max`), where the kernel tells it.
    package let countMax: Int?
    /// The events that are sent (`nf_conntrack_events`), 0 for none, where the kernel tells it.
    package let events: Int?

    /// A state by its parts.
    package init(failure: SystemError?, count: Int?, countMax: Int?, events: Int?) {
        self.failure = failure
        (self.count, self.countMax, self.events) = (count, countMax, events)
    }

    /// Asks the kernel, whether or not the settings need connection tracking.
    static func read() -> Self {
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

    /// The most flows that are listed; more tell nothing new.
    private static let flowCountMax = 10_000

    /// Lists the flows that are translated at present.
    static func readTranslatedFlows() throws(SystemError) -> [TrackedFlow] {
        var table = try Conntrack()
        return try table.translatedFlows(countMax: flowCountMax)
    }
}
