package import Addressing
package import Linux
package import RPCAP

/// All settings of an agent, read and checked.
package struct Settings: Sendable {
    /// The sensors, each once.
    package let sensors: [SensorName]
    /// Which of the sensors get the packets.
    package let sensorPolicy: SensorPolicy
    /// The node's name, by which it chooses a sensor; nil for the host's.
    package let nodeName: String?
    package private(set) var podNetworks: [IPNetwork]
    /// Whether `PODNET` is there and empty, as ExtraHop's manifest allows.
    ///
    /// The pod networks are then the on-link networks of the default route's interface, which are not
    /// known yet if there are none.
    package let takesOnLinkPodNetworks: Bool
    package let serviceNetworks: [IPNetwork]
    /// Addresses inside the pod networks that no agent covers.
    package let uncovered: [IPNetwork]
    /// The name under which the de-duplicated stream is offered.
    package let device: String
    /// Which edges are captured.
    package private(set) var edges: EdgeSelection
    /// The folder with the results of CNI plug-ins, for the names of pods; nil for no names.
    package let nameFolder: String?
    /// Where edges are captured.
    package let taps: TapSettings
    /// Whether each packet is reported once, or at every edge.
    package let deduplicates: Bool
    /// What every capture gets as a whole.
    package let capture: CaptureSettings
    /// Where metrics and probes are served, each address once; none for nowhere.
    package let http: [SocketAddress]
    /// The name of agents that hand over to each other; nil for none.
    package let handover: String?
    /// The name of the agent's version and settings, for readiness probes; nil for none.
    package let revision: String?
    package let log: LogSettings
    /// Passive mode; nil if the agent does not listen for clients.
    package let passive: PassiveSettings?
    /// The node's ports for data connections that clients open; nil for any.
    package let dataPorts: ClosedRange<UInt16>?
    /// The format of packets over UDP; nil for the usual one of the session's mode.
    package let datagramFormat: DatagramWriter.Format?
    /// TLS; nil for none.
    package let tls: TLSSettings?

    /// Whether calls that the node translates are looked up in connection tracking.
    package var tracksConnections: Bool { deduplicates }

    /// Reads options first, then the environment, then the defaults.
    ///
    /// - Parameters:
    ///   - options: The texts that were given with options.
    ///   - needsPeer: Whether a sensor or a listener is required, as for an agent.
    ///   - environment: Returns the value of a variable, or nil if it is not set.
    /// - Throws: The first setting that is missing or cannot be used.
    package init(
        options: [Setting: String], needsPeer: Bool = true, environment: (String) -> String?
    ) throws(SettingFailure) {
        try self.init(
            SettingsReader(options: options, environment: environment), needsPeer: needsPeer,
            needsPodNetworks: true)
    }

    /// Reads settings of which some may be required.
    init(
        _ reader: SettingsReader, needsPeer: Bool, needsPodNetworks: Bool
    ) throws(SettingFailure) {
        takesOnLinkPodNetworks = reader.isEmptyVariable(.podNetworks)
        podNetworks = try reader.list(
            .podNetworks, atLeastOne: needsPodNetworks && !takesOnLinkPodNetworks
        ) { IPNetwork($0) }
        serviceNetworks = try reader.list(.serviceNetworks) { IPNetwork($0) }
        uncovered = try reader.list(.uncovered) { IPNetwork($0) }
        let port = try reader.one(.sensorPort, Self.port)
        passive = try PassiveSettings(reader)
        var names: Set<String> = []
        sensors = try reader.list(.sensors, atLeastOne: needsPeer && passive == nil) {
            text throws(SensorName.Failure) in
            try SensorName(reading: text, standardPort: port)
        }.filter { names.insert($0.description).inserted }
        sensorPolicy = try reader.one(.sensorPolicy) { SensorPolicy(rawValue: $0) }
        guard sensorPolicy == .one || sensors.allSatisfy({ $0.weight == 1 }) else {
            throw reader.failure(
                .sensors,
                "weights are for nodes that choose: they need \(Setting.sensorPolicy.option) one")
        }
        nodeName = try reader.oneOrNone(.nodeName) { (1...253).contains($0.utf8.count) ? $0 : nil }
        device = try reader.one(.device) { (1...255).contains($0.utf8.count) ? $0 : nil }
        edges = try EdgeSelection(reader)
        nameFolder = try reader.one(.cniCache, Self.nameFolder)
        taps = try TapSettings(reader)
        deduplicates = try reader.isOn(.deduplication)
        dataPorts = try reader.oneOrNone(.dataPorts, Self.ports)
        let formats: [String: DatagramWriter.Format?] = [
            "auto": nil, "packet": .packet, "udpstr": .udpstr,
        ]
        datagramFormat = try reader.one(.udpFormat) { formats[$0] }
        tls = try TLSSettings(reader)
        capture = try CaptureSettings(reader)
        if let sensor = sensors.first(where: { $0.tunnel != nil }), !capture.restoresWireForm {
            throw reader.failure(
                .frames,
                """
                frames as the kernel has them are too long for the datagrams of \(sensor): leave \
                \(Setting.frames.option) out, or feed that sensor over RPCAP
                """)
        }
        http = try Self.httpAddresses(reader)
        handover = try reader.one(.handover, Self.handoverName)
        if handover != nil, passive != nil {
            throw reader.failure(
                .handover,
                """
                an agent that listens for clients (\(Setting.listen.option)) cannot hand over: its \
                port is taken until it ends, and clients dial again anyway
                """)
        }
        revision = try reader.oneOrNone(.revision) { Self.isName($0) ? $0 : nil }
        log = try LogSettings(reader)
    }

    /// The same with other pod networks.
    package func with(podNetworks: [IPNetwork]) -> Self {
        var settings = self
        settings.podNetworks = podNetworks
        settings.edges = edges.with(podNetworks: podNetworks)
        return settings
    }

    /// Reads an absolute path, or `off` for none.
    static func nameFolder(_ text: String) -> String?? {
        text == "off" ? .some(nil) : text.hasPrefix("/") ? .some(text) : nil
    }

    /// The most addresses at which metrics and probes are served: each is a socket that waits.
    private static let httpAddressCountMax = 8

    private static func httpAddresses(
        _ reader: SettingsReader
    ) throws(SettingFailure) -> [SocketAddress] {
        if try reader.one(.http, { $0 }) == "off" { return [] }
        var known: Set<SocketAddress> = []
        let addresses = try reader.list(.http, atLeastOne: true) { SocketAddress($0) }
            .filter { known.insert($0).inserted }
        guard addresses.count <= httpAddressCountMax else {
            throw reader.failure(.http, "more than \(httpAddressCountMax) addresses")
        }
        return addresses
    }

    private static func handoverName(_ text: String) -> String?? {
        text == "off" ? .some(nil) : isName(text) ? .some(text) : nil
    }

    private static func isName(_ text: String) -> Bool {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
            default: "._/-".utf8.contains(byte)
            }
        }
        return isPlain && (1...80).contains(text.utf8.count)
    }

    private static func port(_ text: String) -> UInt16? {
        UInt16(text).flatMap { $0 > 0 ? $0 : nil }
    }

    /// Reads `"40000"` or `"40000-40015"`.
    private static func ports(_ text: String) -> ClosedRange<UInt16>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = port(String(parts[0])),
            let last = port(String(parts[parts.count - 1])), first <= last
        else { return nil }
        return first...last
    }
}
