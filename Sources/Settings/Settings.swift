package import Addressing
package import Linux
package import Log
package import Logging
package import RPCAP

import Formats

/// Everything a person can set about an agent, understood.
package struct Settings: Sendable {
    package let sensors: [SensorName]
    package let podNetworks: [IPNetwork]
    package let serviceNetworks: [IPNetwork]
    package let uncovered: [IPNetwork]
    /// The name under which the de-duplicated stream is offered.
    package let device: String
    /// Which edges are captured.
    package let edges: EdgeSelection
    /// Where pods' names are; nil for nowhere.
    package let nameFolder: String?
    package let deduplicates: Bool
    /// What every capture gets as a whole.
    package let capture: CaptureSettings
    /// Where metrics and probes are answered; nil for nowhere.
    package let http: SocketAddress?
    package let logLevel: Logger.Level
    package let logFormat: LogFormat
    /// Who may dial the agent; nil if it does not listen.
    package let passive: PassiveSettings?
    /// Which of the node's ports data connections use that clients open; nil for any.
    package let dataPorts: ClosedRange<UInt16>?
    /// How data over UDP is framed; nil as is usual in the session's mode.
    package let datagramFormat: DatagramWriter.Format?
    /// Nil for no TLS.
    package let tls: TLSSettings?

    /// Whether calls to services are looked up in connection tracking.
    package var tracksConnections: Bool { deduplicates && !serviceNetworks.isEmpty }

    /// Reads options first, then the environment, then what counts without either.
    ///
    /// An agent needs a sensor to dial, or clients that dial it; who only looks at a node needs
    /// neither.
    package init(
        options: [Setting: String], needsPeer: Bool = true, environment: (String) -> String?
    ) throws(SettingFailure) {
        let reader = SettingsReader(options: options, environment: environment)
        podNetworks = try reader.list(.podNetworks, atLeastOne: true) { IPNetwork($0) }
        serviceNetworks = try reader.list(.serviceNetworks) { IPNetwork($0) }
        uncovered = try reader.list(.uncovered) { IPNetwork($0) }
        let port = try reader.one(.sensorPort, Self.port)
        passive = try PassiveSettings(reader)
        sensors = try reader.list(.sensors, atLeastOne: needsPeer && passive == nil) {
            SensorName($0, standardPort: port)
        }
        device = try reader.one(.device) { (1...255).contains($0.utf8.count) ? $0 : nil }
        edges = try EdgeSelection(reader)
        nameFolder = try reader.one(.cniCache, Self.nameFolder)
        deduplicates = try reader.one(.deduplication) { ["on": true, "off": false][$0] }
        dataPorts = try reader.oneOrNone(.dataPorts, Self.ports)
        let formats: [String: DatagramWriter.Format?] = [
            "auto": nil, "packet": .packet, "udpstr": .udpstr,
        ]
        datagramFormat = try reader.one(.udpFormat) { formats[$0] }
        tls = try TLSSettings(reader)
        capture = try CaptureSettings(reader)
        http = try reader.one(.http) { text -> SocketAddress?? in
            text == "off" ? .some(nil) : SocketAddress(text).map { .some($0) }
        }
        logLevel = try reader.one(.logLevel) { Logger.Level(rawValue: $0) }
        logFormat = try reader.one(.logFormat) { LogFormat(rawValue: $0) }
    }

    /// Reads a folder, or that there is none.
    package static func nameFolder(_ text: String) -> String?? {
        text == "off" ? .some(nil) : text.hasPrefix("/") ? .some(text) : nil
    }

    private static func port(_ text: String) -> UInt16? {
        UInt16(text).flatMap { $0 > 0 ? $0 : nil }
    }

    /// Reads `"40000"` or `"40000-40015"`.
    static func ports(_ text: String) -> ClosedRange<UInt16>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = port(String(parts[0])),
            let last = port(String(parts[parts.count - 1])), first <= last
        else { return nil }
        return first...last
    }

    /// Reads an amount of memory from one mebibyte to one tebibyte.
    static func byteCount(_ text: String) -> Int? {
        ByteCount(text).flatMap { (1 << 20...1 << 40).contains($0.value) ? Int($0.value) : nil }
    }
}

/// A sensor as it was named: its address is asked for anew at each try.
package struct SensorName: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16

    /// Reads a host with its port or without one; nil if it cannot be understood.
    package init?(_ text: String, standardPort: UInt16) {
        guard let name = try? HostPort(text) else { return nil }
        (host, port) = (name.host, name.port ?? standardPort)
    }

    package var description: String { HostPort(host: host, port: port).description }
}
