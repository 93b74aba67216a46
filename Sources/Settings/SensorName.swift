import Addressing

/// The name or address of a sensor, with its port; it is resolved at each attempt to connect.
package struct SensorName: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16
    /// Its size beside that of others, where each node feeds one of them.
    package private(set) var weight = 1

    /// The weights that a sensor can have.
    package static let weights = 1...100

    /// Reads a host with its port or without one, with a weight or without: `"host:2003*2"`.
    ///
    /// - Parameters:
    ///   - text: The text; nil is returned for one of another form.
    ///   - standardPort: The port of a sensor that is given without one.
    package init?(_ text: String, standardPort: UInt16) {
        let parts = text.split(separator: "*", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = try? HostPort(parts[0]) else { return nil }
        (host, port) = (name.host, name.port ?? standardPort)
        guard parts.count > 1 else { return }
        guard let weight = Int(parts[1]), Self.weights.contains(weight) else { return nil }
        self.weight = weight
    }

    package var description: String { HostPort(host: host, port: port).description }
}
