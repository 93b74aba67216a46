import Addressing
import Linux
import Settings
import Testing
import Tunnels

@Suite("Settings")
struct SettingsTests {
    private static let least = ["PODNET": "10.244.0.0/16", "EXTRAHOP_SENSOR_IP": "192.0.2.1"]

    private func read(
        _ environment: [String: String], _ options: [Setting: String] = [:]
    ) throws(SettingFailure) -> Settings {
        try Settings(options: options, environment: { environment[$0] })
    }

    @Test("are read from the variables of the DaemonSet that podwire replaces")
    func daemonSet() throws {
        let settings = try read([
            "EXTRAHOP_SENSOR_IP":
                "192.0.2.1,eda.example:2010,[2001:db8::1]:7,2001:db8::2,[192.0.2.2]:8",
            "RPCAPD_TARGET_PORT": "2004", "PODNET": "10.244.0.0/16, fd00:10:244::/56",
            "SVCNET": "", "INTERFACE": "any-eth",
        ])
        #expect(
            settings.sensors.map(\.description) == [
                "192.0.2.1:2004", "eda.example:2010", "[2001:db8::1]:7", "[2001:db8::2]:2004",
                "192.0.2.2:8",
            ])
        #expect(settings.podNetworks.map(\.description) == ["10.244.0.0/16", "fd00:10:244::/56"])
        #expect(settings.serviceNetworks.isEmpty && settings.device == "any-eth")
        #expect(
            settings.capture.snaplen == 262_144 && settings.capture.ringByteCountMax == 256 << 20)
        #expect(settings.capture.queueByteCountMax == 64 << 20 && settings.deduplicates)
    }

    @Test("prefer an option to its variable")
    func options() throws {
        let settings = try read(Self.least, [.podNetworks: "10.0.0.0/8", .deduplication: "off"])
        #expect(settings.podNetworks.map(\.description) == ["10.0.0.0/8"] && !settings.deduplicates)
    }

    @Test(
        "that cannot be understood are named, with what would be right",
        arguments: [
            ("PODNET", "10.244.0.0/33"), ("PODNET", "pods"), ("SVCNET", "10.96.0.0/12,x"),
            ("RPCAPD_TARGET_PORT", "70000"), ("RPCAPD_TARGET_PORT", "0"),
            ("EXTRAHOP_SENSOR_IP", "host:99999"), ("EXTRAHOP_SENSOR_IP", "[::1"),
            ("EXTRAHOP_SENSOR_IP", "a b/c"), ("EXTRAHOP_SENSOR_IP", "[192.0.2.1"),
            ("EXTRAHOP_SENSOR_IP", "[host]:2003"), ("EXTRAHOP_SENSOR_IP", "192.0.2.1:0"),
            ("PODWIRE_UNCOVERED", "10.0.0.300"), ("PODWIRE_DEDUP", "maybe"),
            ("PODWIRE_SNAPLEN", "63"),
            ("PODWIRE_SNAPLEN", "262145"), ("PODWIRE_RING_MEMORY", "1"),
            ("PODWIRE_RING_MEMORY", "-5MiB"), ("PODWIRE_RING_MEMORY", "1025GiB"),
            ("PODWIRE_QUEUE_MEMORY", "99999999999999999999"), ("PODWIRE_QUEUE_MEMORY", "5 cats"),
            ("PODWIRE_RATE_LIMIT", "50 cats"), ("PODWIRE_RATE_LIMIT", "1K"),
            ("PODWIRE_RATE_LIMIT", "0"),
            ("PODWIRE_CPUS", "2,"), ("PODWIRE_CPUS", "3-2"), ("PODWIRE_CPUS", "-1"),
            ("PODWIRE_CPUS", "8192"), ("PODWIRE_CPUS", "1-2-3"), ("PODWIRE_CPUS", "all"),
            ("PODWIRE_HTTP", "on"), ("PODWIRE_HTTP", "127.0.0.1"), ("PODWIRE_HTTP", "0"),
            ("PODWIRE_HTTP", "localhost:9464"), ("PODWIRE_HTTP", "::1:9464"),
            ("PODWIRE_HTTP", "[192.0.2.1:80"), ("PODWIRE_HTTP", "[192.0.2.1]"),
            ("PODWIRE_HTTP", "[]:80"),
            ("PODWIRE_CPUS", "+1"), ("PODWIRE_NICE", "20"), ("PODWIRE_NICE", "-21"),
            ("PODWIRE_NICE", "very"),
            ("PODWIRE_LOG_LEVEL", "loud"), ("PODWIRE_LOG_FORMAT", "xml"),
        ])
    func misunderstood(variable: String, value: String) throws {
        var environment = Self.least
        environment[variable] = value
        let failure = #expect(throws: SettingFailure.self) { try read(environment) }
        let text = try #require(failure).description
        #expect(text.hasPrefix("\(variable)=") && text.contains("it takes") && !text.contains("\n"))
    }

    @Test("that have to be there are asked for", arguments: ["PODNET", "EXTRAHOP_SENSOR_IP"])
    func missing(variable: String) throws {
        var environment = Self.least
        environment[variable] = variable == "PODNET" ? nil : ""
        let failure = #expect(throws: SettingFailure.self) { try read(environment) }
        #expect(try #require(failure).description.hasPrefix("\(variable) is not set"))
    }

    @Test(
        "understand amounts of memory as people write them",
        arguments: [
            ("1MiB", 1), ("64Mi", 64), ("2G", 2048), ("3 GB", 3072), ("4194304", 4),
            ("256 MiB", 256), ("1TiB", 1_048_576),
        ])
    func memory(text: String, mebibyteCount: Int) throws {
        var environment = Self.least
        for variable in ["PODWIRE_RING_MEMORY", "PODWIRE_QUEUE_MEMORY", "PODWIRE_RATE_LIMIT"] {
            environment[variable] = text
        }
        let capture = try read(environment).capture
        let byteCount = mebibyteCount << 20
        #expect(capture.ringByteCountMax == byteCount && capture.queueByteCountMax == byteCount)
        #expect(capture.bytesPerSecondMax == byteCount)
    }

    @Test(
        "understand a sensor by name, by address, with a port and in brackets",
        arguments: [
            ("192.0.2.1", "192.0.2.1:2003"), ("[192.0.2.1]", "192.0.2.1:2003"),
            ("[192.0.2.1]:7", "192.0.2.1:7"), ("[2001:db8::1]:7", "[2001:db8::1]:7"),
            ("2001:db8::1", "[2001:db8::1]:2003"), ("sensor.example", "sensor.example:2003"),
            ("fe80::1%eth0", "[fe80::1%eth0]:2003"),
        ])
    func sensor(text: String, description: String) throws {
        var environment = Self.least
        environment["EXTRAHOP_SENSOR_IP"] = text
        #expect(try read(environment).sensors.map(\.description) == [description])
    }

    @Test("have each sensor once, with its weight where a node chooses one")
    func weights() throws {
        var environment = Self.least
        environment["EXTRAHOP_SENSOR_IP"] = "a*2,b,a:2003,[fd00::1]:7*100"
        environment["PODWIRE_SENSOR_POLICY"] = "one"
        environment["PODWIRE_NODE_NAME"] = "node1"
        let settings = try read(environment)
        #expect(settings.sensors.map(\.description) == ["a:2003", "b:2003", "[fd00::1]:7"])
        #expect(settings.sensors.map(\.weight) == [2, 1, 100])
        #expect(settings.sensorPolicy == .one && settings.nodeName == "node1")
        environment["PODWIRE_SENSOR_POLICY"] = "all"
        #expect(throws: SettingFailure.self) { try read(environment) }
    }

    @Test(
        "refuse weights that are none",
        arguments: ["a*", "a*0", "a*101", "a*-1", "a*1.5", "a*2*3", "*2", "a* 2"])
    func wrongWeight(text: String) throws {
        var environment = Self.least
        environment["EXTRAHOP_SENSOR_IP"] = text
        environment["PODWIRE_SENSOR_POLICY"] = "one"
        #expect(throws: SettingFailure.self) { try read(environment) }
    }

    @Test(
        "understand a sensor at the end of a tunnel",
        arguments: [
            ("vxlan://192.0.2.1", "vxlan://192.0.2.1:4789?vni=1"),
            ("VXLAN://zeek.example:14789?vni=0", "vxlan://zeek.example:14789?vni=0"),
            ("vxlan://[2001:db8::1]:7?vni=16777215", "vxlan://[2001:db8::1]:7?vni=16777215"),
            ("geneve://192.0.2.1?vni=42", "geneve://192.0.2.1:6081?vni=42"),
        ])
    func tunnel(text: String, description: String) throws {
        var environment = Self.least
        environment["EXTRAHOP_SENSOR_IP"] = "192.0.2.2,\(text)"
        environment["RPCAPD_TARGET_PORT"] = "2004"
        let sensors = try read(environment).sensors
        #expect(sensors.map(\.description) == ["192.0.2.2:2004", description])
        #expect(sensors[0].tunnel == nil && sensors[1].tunnel?.description == description)
        #expect(SensorName(description, standardPort: 1) == sensors[1])
    }

    @Test(
        "say what is wrong with a sensor",
        arguments: [
            ("rpcap://192.0.2.1", "vxlan:// or geneve://, or is a host for RPCAP"),
            ("vxlan://", "it names no host"),
            ("vxlan://192.0.2.1:0", "a port is a number from 1 to 65535"),
            ("vxlan://192.0.2.1?vni=16777216", "vni is a number from 0 to 16777215"),
            ("vxlan://192.0.2.1?id=1", "as in ?vni=7"), ("vxlan://192.0.2.1/", "no path"),
            ("vxlan://fd00::1", "in brackets"), ("192.0.2.1:99999", "a port is a number"),
        ])
    func strangeSensor(text: String, reason: String) throws {
        let failure = #expect(throws: SettingFailure.self) {
            try read(Self.least, [.sensors: text])
        }
        let line = try #require(failure).description
        #expect(line.hasPrefix("--sensor \(text) cannot be understood: ") && line.contains(reason))
        #expect(line.contains("; it takes HOST"))
    }

    @Test("refuse frames as the kernel has them for a tunnel, whose datagrams cannot hold them")
    func rawFrames() throws {
        var environment = Self.least
        environment["PODWIRE_FRAMES"] = "raw"
        #expect(!(try read(environment)).capture.restoresWireForm)
        environment["EXTRAHOP_SENSOR_IP"]? += ",vxlan://192.0.2.2"
        let failure = #expect(throws: SettingFailure.self) { try read(environment) }
        let line = try #require(failure).description
        #expect(line.hasPrefix("PODWIRE_FRAMES=raw: ") && line.contains("vxlan://192.0.2.2:4789"))
    }

    @Test(
        "have no limit of the feed's rate where none is given",
        arguments: [("", nil), ("off", nil), ("50MiB", 50 << 20), ("1M", 1 << 20)])
    func rateLimit(text: String, bytesPerSecondMax: Int?) throws {
        var environment = Self.least
        environment["PODWIRE_RATE_LIMIT"] = text
        #expect(try read(environment).capture.bytesPerSecondMax == bytesPerSecondMax)
    }

    @Test(
        "understand lists of processors as taskset does",
        arguments: [
            ("0", [0], "0"), ("2,3,6-7", [2, 3, 6, 7], "2-3,6-7"), ("63,64", [63, 64], "63-64"),
            ("1-1,5,5,4", [1, 4, 5], "1,4-5"), ("1024,8191", [1024, 8191], "1024,8191"),
        ])
    func processors(text: String, numbers: [Int], description: String) throws {
        var environment = Self.least
        #expect(try read(environment).capture.placement.processors == nil)
        environment["PODWIRE_CPUS"] = text
        let processors = try #require(try read(environment).capture.placement.processors)
        #expect(processors.numbers == numbers && processors.description == description)
    }

    @Test(
        "have metrics answered on loopback where nothing else is said",
        arguments: [
            ("", ["127.0.0.1:9464"]), ("off", []), ("192.0.2.1:80", ["192.0.2.1:80"]),
            ("[::1]:9464", ["[::1]:9464"]), ("[192.0.2.1]:80", ["192.0.2.1:80"]),
            ("9465", ["[::]:9465"]),
            ("127.0.0.1:9464,[fd00::1]:9464", ["127.0.0.1:9464", "[fd00::1]:9464"]),
            ("127.0.0.1:80, 127.0.0.1:80", ["127.0.0.1:80"]),
        ])
    func http(text: String, addresses: [String]) throws {
        var environment = Self.least
        environment["PODWIRE_HTTP"] = text
        #expect(try read(environment).http.map(\.description) == addresses)
    }

    @Test(
        "refuse addresses for metrics of another form, and too many",
        arguments: [
            ",", "127.0.0.1:80,off", "127.0.0.1:80,[::1]", "localhost:80",
            (1...9).map { "127.0.0.\($0):80" }.joined(separator: ","),
        ])
    func noHTTP(text: String) {
        var environment = Self.least
        environment["PODWIRE_HTTP"] = text
        #expect(throws: SettingFailure.self) { try read(environment) }
    }

    @Test(
        "understand the name of a handover",
        arguments: [
            ("", nil), ("off", nil), ("podwire", "podwire"), ("net-obs/a_b.c", "net-obs/a_b.c"),
        ])
    func handover(text: String, name: String?) throws {
        var environment = Self.least
        environment["PODWIRE_HANDOVER"] = text
        #expect(try read(environment).handover == name)
    }

    @Test(
        "understand the name of a revision",
        arguments: [("", nil), ("off", "off"), ("0.2.0", "0.2.0"), ("3f9a0c", "3f9a0c")])
    func revision(text: String, name: String?) throws {
        var environment = Self.least
        environment["PODWIRE_REVISION"] = text
        #expect(try read(environment).revision == name)
    }

    @Test(
        "refuse other names for a handover and a revision",
        arguments: ["a b", "ä", "@x", String(repeating: "x", count: 81)],
        ["PODWIRE_HANDOVER", "PODWIRE_REVISION"])
    func noName(text: String, variable: String) {
        var environment = Self.least
        environment[variable] = text
        #expect(throws: SettingFailure.self) { try read(environment) }
    }

    @Test("understand niceness with its sign", arguments: [-20, -1, 0, 19])
    func niceness(niceness: Int) throws {
        var environment = Self.least
        #expect(try read(environment).capture.placement.niceness == nil)
        environment["PODWIRE_NICE"] = "\(niceness)"
        #expect(try read(environment).capture.placement.niceness == CInt(niceness))
    }
}
