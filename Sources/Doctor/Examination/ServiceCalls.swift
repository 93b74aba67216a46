/// The calls to services that a running agent has counted.
package struct ServiceCalls: Equatable, Sendable {
    /// All of them.
    package let count: UInt64
    /// Calls that were answered though the agent did not know their backend.
    package let unexplainedCount: UInt64

    /// Counts by their parts.
    package init(count: UInt64, unexplainedCount: UInt64) {
        (self.count, self.unexplainedCount) = (count, unexplainedCount)
    }

    /// Reads the sums over all sensors from an agent's page of metrics (`/metrics`).
    package static func read(_ page: String) -> Self {
        let lines = page.split(whereSeparator: \.isNewline)
        func sum(_ name: String) -> UInt64 {
            lines.reduce(0) { sum, line in
                guard line.hasPrefix("\(name){"), let text = line.split(separator: " ").last,
                    let number = UInt64(text)
                else { return sum }
                return sum &+ number
            }
        }
        return Self(
            count: sum("podwire_service_calls_total"),
            unexplainedCount: sum("podwire_service_calls_unexplained_total"))
    }
}
