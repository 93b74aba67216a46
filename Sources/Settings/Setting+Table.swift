import Linux
import Logging
import Taps

/// The table of settings.
///
/// The first five variables are those of the DaemonSet that podwire replaces.
extension Setting {
    /// All settings, in the order of the documentation.
    package static let all: [Setting] = [
        sensors, sensorPort, sensorPolicy, nodeName, podNetworks, serviceNetworks, device,
        uncovered, edges, includedEdges,
        excludedEdges, cniCache, tap, namespaceFolder, opener, podInterfaces, deduplication,
        services, ciliumTables, listen, allowed, passwordFile, nullLogin, dataPorts,
        udpFormat, tlsCertificate, tlsKey, tlsPeers, frames, snaplen, filter, filterFile,
        flowSample,
        cutoff, ringMemory, queueMemory,
        rateLimit, processors, niceness, http, handover, revision, logLevel, logFormat,
    ]

    package static let sensors = Setting(
        "EXTRAHOP_SENSOR_IP", "--sensor", .required("required without `--listen`"),
        .text(
            "SENSORS",
            """
            HOST, HOST:PORT, [IPV6]:PORT or vxlan://HOST:PORT?vni=NUMBER, each with *WEIGHT behind it \
            or not, comma-separated
            """),
        """
        sensors to feed, comma-separated: `HOST`, `HOST:PORT`, `[IPV6]:PORT` to dial over RPCAP; \
        `vxlan://HOST` or `geneve://HOST`, with `:PORT` and `?vni=NUMBER` if need be, for a tunnel; with \
        a weight, as in `HOST:PORT*2`, for `--sensor-policy one`
        """)

    package static let sensorPort = Setting(
        "RPCAPD_TARGET_PORT", "--sensor-port", .value("2003"),
        .text("PORT", "a port from 1 to 65535"),
        "port of sensors that are given without one")

    package static let sensorPolicy = Setting(
        "PODWIRE_SENSOR_POLICY", "--sensor-policy", .value("all"),
        .words(SensorPolicy.allCases.map(\.rawValue)),
        """
        who gets the packets, of several sensors: `all` of them, or `one`, which each node chooses so \
        that the nodes share the sensors
        """)

    package static let nodeName = Setting(
        "PODWIRE_NODE_NAME", "--node-name", .unset("the host's name"),
        .text("NAME", "a name of 1 to 253 bytes"),
        "the node's name, by which it chooses its sensor; no two nodes should have the same")

    package static let podNetworks = Setting(
        "PODNET", "--pod-network", .required("required"), .text("NETWORKS", networks),
        "networks of pod addresses, comma-separated, IPv4 and IPv6; the same on every node")

    package static let serviceNetworks = Setting(
        "SVCNET", "--service-network", .unset(empty), .text("NETWORKS", networks),
        "networks of service addresses, comma-separated, IPv4 and IPv6")

    package static let device = Setting(
        "INTERFACE", "--device", .value("any-eth"), .text("NAME", "a name of 1 to 255 bytes"),
        "name under which the stream of all edges is offered")

    package static let uncovered = Setting(
        "PODWIRE_UNCOVERED", "--uncovered", .unset(empty),
        .text("NETWORKS", "addresses and networks, comma-separated"),
        "addresses and networks inside the pod networks that no agent covers")

    package static let edges = Setting(
        "PODWIRE_EDGES", "--edges", .value("pods"),
        .words(EdgeSelection.Scope.allCases.map(\.rawValue)),
        "veths to capture: `pods`, or `all` for those in none of the pod networks, too")

    package static let includedEdges = Setting(
        "PODWIRE_INCLUDE_EDGES", "--include-edges", .unset(empty), .interfaces(patterns),
        """
        names of edges to capture whatever their pods' addresses are, comma-separated, with `*` and \
        `?`
        """)

    package static let excludedEdges = Setting(
        "PODWIRE_EXCLUDE_EDGES", "--exclude-edges", .unset(empty), .interfaces(patterns),
        "names of edges not to capture, comma-separated, with `*` and `?`; wins over `--include-edges`"
    )

    package static let cniCache = Setting(
        "PODWIRE_CNI_CACHE", "--cni-cache", .value("/var/lib/cni/results"),
        .folder("a folder's absolute path", orOff: true),
        """
        folder in which the container runtime keeps CNI results, for the names of pods; `off` for \
        none
        """)

    package static let tap = Setting(
        "PODWIRE_TAP", "--tap", .value("host"), .words(TapSettings.Mode.allCases.map(\.rawValue)),
        """
        where edges are captured: at the `host` end of their pods' pairs, inside each `pod`, or `auto` \
        for inside where packets bypass the host's end; `pod` and `auto` need `podwire opener`
        """)

    package static let namespaceFolder = Setting(
        "PODWIRE_NETNS", "--netns", .value(NamespaceFolder.standardPath),
        .folder("a folder's absolute path"),
        "folder in which the container runtime keeps the pods' network namespaces, for `--tap`")

    package static let opener = Setting(
        "PODWIRE_OPENER", "--opener", .value(PodSocketClient.standardPath),
        .file("a socket's absolute path"),
        "socket of `podwire opener`, which opens sockets inside pods, for `--tap`")

    package static let podInterfaces = Setting(
        "PODWIRE_POD_INTERFACES", "--pod-interfaces", .value("off"), .words(["on", "off"]),
        """
        captures pods' interfaces that have no end in the node, such as macvlans and virtual functions, \
        too; needs `podwire opener --pod-interfaces`
        """)

    package static let deduplication = Setting(
        "PODWIRE_DEDUP", "--dedup", .value("on"), .words(["on", "off"]),
        "`on` reports each packet once, `off` at every edge that it passes")

    package static let services = Setting(
        "PODWIRE_SERVICES", "--services", .value("tracked"), .words(["tracked", "untracked"]),
        """
        calls to services that nothing explains: `tracked` reports them as they are, `untracked` \
        leaves them out
        """)

    package static let ciliumTables = Setting(
        "PODWIRE_CILIUM_TABLES", "--cilium-tables", .value("/sys/fs/bpf/tc/globals"),
        .folder("a folder's absolute path", orOff: true),
        """
        folder in which Cilium pins its tables, which tell the backends of calls to services; `off` \
        for none
        """)

    package static let listen = Setting(
        "PODWIRE_LISTEN", "--listen", .unset("off"),
        .text("[ADDRESS:]PORT", "ADDRESS:PORT or [IPV6]:PORT, or PORT alone for all addresses"),
        """
        where clients can dial the agent: `ADDRESS:PORT`, `[IPV6]:PORT` or `PORT`; the usual port is \
        2002
        """)

    package static let allowed = Setting(
        "PODWIRE_ALLOW", "--allow", .unset(empty),
        .text("NETWORKS", "addresses and networks of clients, comma-separated"),
        "addresses and networks of clients that may dial, comma-separated; empty for any")

    package static let passwordFile = Setting(
        "PODWIRE_PASSWORD_FILE", "--password-file", .unset(empty),
        .file("a file written by `podwire password`"),
        "file with names and hashed passwords of clients, written by `podwire password`")

    package static let nullLogin = Setting(
        "PODWIRE_ALLOW_NULL_LOGIN", "--allow-null-login", .value("off"), .words(["on", "off"]),
        "lets clients in without a password; only where they can be in private networks alone")

    package static let dataPorts = Setting(
        "PODWIRE_DATA_PORTS", "--data-ports", .unset("any"),
        .text("PORTS", "a port or a range such as 40000-40015"),
        "ports of the node for data connections that clients open, such as `40000-40015`")

    package static let udpFormat = Setting(
        "PODWIRE_UDP_FORMAT", "--udp-format", .value("auto"), .words(["auto", "packet", "udpstr"]),
        """
        format of packets over UDP: `packet`, `udpstr`, or `auto` for `udpstr` to sensors and \
        `packet` to clients
        """)

    package static let tlsCertificate = Setting(
        "PODWIRE_TLS_CERTIFICATE", "--tls-certificate", .unset(empty), .file("a PEM file"),
        "PEM file with the agent's certificate and its chain; switches TLS on")

    package static let tlsKey = Setting(
        "PODWIRE_TLS_KEY", "--tls-key", .unset(empty), .file("a PEM file"),
        "PEM file with the certificate's key")

    package static let tlsPeers = Setting(
        "PODWIRE_TLS_PEERS", "--tls-peers", .value("all"), .words(["all", "sensors", "clients"]),
        "peers to speak TLS with: `all`, `sensors` or `clients`")

    package static let frames = Setting(
        "PODWIRE_FRAMES", "--frames", .value("wire"), .words(["wire", "raw"]),
        """
        form of frames: `wire` as a cable would have carried them, `raw` as the kernel has them, \
        with GSO packets and partial checksums
        """)

    package static let snaplen = Setting(
        "PODWIRE_SNAPLEN", "--snaplen", .value("\(CaptureSettings.snaplens.upperBound)"),
        .text("BYTES", "a number of bytes from \(range(CaptureSettings.snaplens))"),
        "most bytes that are sent of a packet, whatever the sensor asks for")

    package static let filter = Setting(
        "PODWIRE_FILTER", "--filter", .unset(empty),
        .text(
            "FILTER",
            "a filter in the words of pcap-filter(7), such as: net 10.244.0.0/16 and not port 22"),
        """
        filter in the words of pcap-filter(7), such as `not port 22`, beside that of a sensor; it sees \
        packets as they are reported, before the kernel's large ones are cut into segments
        """)

    package static let filterFile = Setting(
        "PODWIRE_FILTER_FILE", "--filter-file", .unset(empty), .file("a file with a filter"),
        "file with such a filter, read again when it changes and on SIGHUP; lines with `#` are comments"
    )

    package static let flowSample = Setting(
        "PODWIRE_FLOW_SAMPLE", "--flow-sample", .value("off"),
        .text("1/N|off", "1/N with N from 2 to 4294967295, or off"),
        """
        part of the flows that is sent, such as `1/10`: each flow whole or not at all, by its addresses \
        and ports
        """)

    package static let cutoff = Setting(
        "PODWIRE_CUTOFF", "--cutoff", .value("off"),
        .text("SIZE|off", "off, or an amount from 1KiB to 1TiB, such as 1MiB"),
        """
        payload of a flow's direction after which only SYN, FIN and RST and packets without payload are \
        sent, such as `1MiB`
        """)

    package static let ringMemory = Setting(
        "PODWIRE_RING_MEMORY", "--ring-memory", .value("256MiB"),
        .text("SIZE", "an amount such as 256MiB, at least 1MiB"),
        "memory for the rings of all captures together")

    package static let queueMemory = Setting(
        "PODWIRE_QUEUE_MEMORY", "--queue-memory", .value("64MiB"),
        .text("SIZE", "an amount such as 64MiB, at least 1MiB"),
        "memory for the send queue of one session")

    package static let rateLimit = Setting(
        "PODWIRE_RATE_LIMIT", "--rate-limit", .value("off"),
        .text("SIZE|off", "off, or an amount a second such as 50MiB, at least 1MiB"),
        """
        most bytes a second that one session sends, such as `50MiB`; whole packets are left out, \
        evenly
        """)

    package static let processors = Setting(
        "PODWIRE_CPUS", "--cpus", .unset("any"),
        .text(
            "CPUS",
            "CPUs below \(ProcessorSet.countMax) and ranges of them, comma-separated, such as 2,3,6-7"
        ),
        "CPUs for the forwarding threads, such as `2,3,6-7`")

    package static let niceness = Setting(
        "PODWIRE_NICE", "--nice", .unset("the agent's"),
        .text("NUMBER", "a number from \(range(ThreadPlacement.nicenesses))"),
        "niceness of the forwarding threads, \(range(ThreadPlacement.nicenesses)); below 0 needs `CAP_SYS_NICE`"
    )

    package static let http = Setting(
        "PODWIRE_HTTP", "--http", .value("127.0.0.1:9464"),
        .text(
            "[ADDRESS:]PORT,…|off",
            """
            ADDRESS:PORT or [IPV6]:PORT, PORT alone for all addresses, several comma-separated, or off
            """),
        """
        where metrics and probes are served, comma-separated: `ADDRESS:PORT`, `[IPV6]:PORT`, `PORT` \
        for all addresses; or `off`
        """)

    package static let handover = Setting(
        "PODWIRE_HANDOVER", "--handover", .value("off"),
        .text("NAME|off", "\(name), or off"),
        """
        name of the installation: an agent takes over from an older one of the same name on its node, \
        without a gap; or `off`
        """)

    package static let revision = Setting(
        "PODWIRE_REVISION", "--revision", .unset("none"),
        .text("NAME", name),
        """
        name of this agent's version and settings, for probes where agents hand over: until this one \
        forwards, `/readyz?revision=NAME` is answered with 503
        """)

    package static let logLevel = Setting(
        "PODWIRE_LOG_LEVEL", "--log-level", .value("info"),
        .words(Logger.Level.allCases.map(\.rawValue)),
        "lowest level that is logged: \(alternatives(Logger.Level.allCases.map { "`\($0)`" }))")

    package static let logFormat = Setting(
        "PODWIRE_LOG_FORMAT", "--log-format", .value("text"),
        .words(["text", "json"]),
        "format of the log: `text` for lines of key=value, `json` for one object a line")

    private static func range(_ range: ClosedRange<some BinaryInteger>) -> String {
        "\(range.lowerBound) to \(range.upperBound)"
    }

    private static let name = "a name of 1 to 80 letters, digits and the characters . _ / -"
    private static let networks =
        "networks such as 10.244.0.0/16 or fd00:10:244::/56, comma-separated"
    private static let patterns =
        "interface names, comma-separated, in which * and ? stand for other characters"
}
