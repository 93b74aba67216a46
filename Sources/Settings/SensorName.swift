import Addressing

/// The name or address of a sensor, with its port; it is resolved at each attempt to connect.
package struct SensorName: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16

    /// Reads a host with its port or without one; nil for a text of another form.
    package init?(_ text: String, standardPort: UInt16) {
        guard let name = try? HostPort(text) else { return nil }
        (host, port) = (name.host, name.port ?? standardPort)
    }

    package var description: String { HostPort(host: host, port: port).description }
}
