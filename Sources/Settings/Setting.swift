/// One thing that can be set: by an option, or else by a variable of the environment.
///
/// The first five variables are those of the DaemonSet that podwire replaces.
package enum Setting: String, CaseIterable, Sendable {
    case sensors = "EXTRAHOP_SENSOR_IP"
    case sensorPort = "RPCAPD_TARGET_PORT"
    case podNetworks = "PODNET"
    case serviceNetworks = "SVCNET"
    case device = "INTERFACE"
    case uncovered = "PODWIRE_UNCOVERED"
    case edges = "PODWIRE_EDGES"
    case includedEdges = "PODWIRE_INCLUDE_EDGES"
    case excludedEdges = "PODWIRE_EXCLUDE_EDGES"
    case cniCache = "PODWIRE_CNI_CACHE"
    case deduplication = "PODWIRE_DEDUP"
    case listen = "PODWIRE_LISTEN"
    case allowed = "PODWIRE_ALLOW"
    case passwordFile = "PODWIRE_PASSWORD_FILE"
    case nullLogin = "PODWIRE_ALLOW_NULL_LOGIN"
    case dataPorts = "PODWIRE_DATA_PORTS"
    case udpFormat = "PODWIRE_UDP_FORMAT"
    case tlsCertificate = "PODWIRE_TLS_CERTIFICATE"
    case tlsKey = "PODWIRE_TLS_KEY"
    case tlsPeers = "PODWIRE_TLS_PEERS"
    case frames = "PODWIRE_FRAMES"
    case snaplen = "PODWIRE_SNAPLEN"
    case ringMemory = "PODWIRE_RING_MEMORY"
    case queueMemory = "PODWIRE_QUEUE_MEMORY"
    case rateLimit = "PODWIRE_RATE_LIMIT"
    case processors = "PODWIRE_CPUS"
    case niceness = "PODWIRE_NICE"
    case http = "PODWIRE_HTTP"
    case logLevel = "PODWIRE_LOG_LEVEL"
    case logFormat = "PODWIRE_LOG_FORMAT"

    package var variable: String { rawValue }

    package var option: String {
        switch self {
        case .sensors: "--sensor"
        case .sensorPort: "--sensor-port"
        case .podNetworks: "--pod-network"
        case .serviceNetworks: "--service-network"
        case .device: "--device"
        case .uncovered: "--uncovered"
        case .edges: "--edges"
        case .includedEdges: "--include-edges"
        case .excludedEdges: "--exclude-edges"
        case .cniCache: "--cni-cache"
        case .deduplication: "--dedup"
        case .listen: "--listen"
        case .allowed: "--allow"
        case .passwordFile: "--password-file"
        case .nullLogin: "--allow-null-login"
        case .dataPorts: "--data-ports"
        case .udpFormat: "--udp-format"
        case .tlsCertificate: "--tls-certificate"
        case .tlsKey: "--tls-key"
        case .tlsPeers: "--tls-peers"
        case .frames: "--frames"
        case .snaplen: "--snaplen"
        case .ringMemory: "--ring-memory"
        case .queueMemory: "--queue-memory"
        case .rateLimit: "--rate-limit"
        case .processors: "--cpus"
        case .niceness: "--nice"
        case .http: "--http"
        case .logLevel: "--log-level"
        case .logFormat: "--log-format"
        }
    }

    /// What counts when neither is given; nil where somebody has to say.
    package var standard: String? {
        switch self {
        case .sensors, .podNetworks: nil
        case .sensorPort: "2003"
        case .serviceNetworks, .uncovered, .includedEdges, .excludedEdges: ""
        case .listen, .allowed, .passwordFile, .dataPorts, .tlsCertificate, .tlsKey: ""
        case .processors, .niceness: ""
        case .nullLogin: "off"
        case .udpFormat: "auto"
        case .tlsPeers: "all"
        case .edges: "pods"
        case .cniCache: "/var/lib/cni/results"
        case .device: "any-eth"
        case .deduplication: "on"
        case .frames: "wire"
        case .snaplen: "262144"
        case .ringMemory: "256MiB"
        case .queueMemory: "64MiB"
        case .rateLimit: "off"
        case .http: "127.0.0.1:9464"
        case .logLevel: "info"
        case .logFormat: "text"
        }
    }

    /// What a value has to look like, as the end of a sentence.
    var form: String {
        switch self {
        case .sensors: "HOST, HOST:PORT or [IPV6]:PORT, comma-separated"
        case .sensorPort: "a port from 1 to 65535"
        case .podNetworks, .serviceNetworks:
            "networks such as 10.244.0.0/16 or fd00:10:244::/56, comma-separated"
        case .uncovered: "addresses and networks, comma-separated"
        case .device: "a name of 1 to 255 bytes"
        case .frames: "wire or raw"
        case .edges: "pods or all"
        case .includedEdges, .excludedEdges:
            "interface names, comma-separated, in which * and ? stand for other characters"
        case .cniCache: "a folder's path, from the root on, or off"
        case .deduplication, .nullLogin: "on or off"
        case .listen: "ADDRESS:PORT or [IPV6]:PORT, or PORT alone for all addresses"
        case .allowed: "addresses and networks of clients, comma-separated"
        case .passwordFile: "a file that `podwire password` has made"
        case .dataPorts: "a port or a range such as 40000-40015"
        case .udpFormat: "auto, packet or udpstr"
        case .tlsCertificate, .tlsKey: "a PEM file"
        case .tlsPeers: "all, sensors or clients"
        case .snaplen: "a number of bytes from 64 to 262144"
        case .ringMemory: "an amount such as 256MiB, at least 1MiB"
        case .queueMemory: "an amount such as 64MiB, at least 1MiB"
        case .rateLimit: "off, or an amount a second such as 50MiB, at least 1MiB"
        case .processors: "CPUs below 8192 and ranges of them, comma-separated, such as 2,3,6-7"
        case .niceness: "a number from -20 to 19"
        case .http: "ADDRESS:PORT or [IPV6]:PORT, PORT alone for all addresses, or off"
        case .logLevel: "trace, debug, info, notice, warning, error or critical"
        case .logFormat: "text or json"
        }
    }
}

/// A setting that cannot be understood, in one line: its name, its value, and what would be right.
package struct SettingFailure: Error, Equatable, CustomStringConvertible {
    package let setting: Setting
    /// The part of the value that is wrong; nil if there is none and there has to be one.
    package let value: String?
    /// Whether the value came by the option and not by the variable.
    let isOption: Bool
    /// Why a value that can be understood cannot be, and what to do about it.
    let reason: String?

    package init(setting: Setting, value: String?, isOption: Bool, reason: String? = nil) {
        (self.setting, self.value, self.isOption) = (setting, value, isOption)
        self.reason = reason
    }

    package var description: String {
        if let reason {
            return "\(isOption ? setting.option : setting.variable)=\(value ?? ""): \(reason)"
        }
        guard let value else {
            let other = setting == .sensors ? "; or \(Setting.listen.option) for clients" : ""
            return "\(setting.variable) is not set: give it, or \(setting.option), "
                + setting.form + other
        }
        let origin = isOption ? "\(setting.option) \(value)" : "\(setting.variable)=\(value)"
        return "\(origin) cannot be understood: it takes \(setting.form)"
    }
}
