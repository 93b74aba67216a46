import Settings
import Testing

@Suite("The table of settings")
struct SettingTests {
    /// Options that every setting can stand beside.
    private static let least: [Setting: String] = [
        .podNetworks: "10.244.0.0/16", .sensors: "192.0.2.1", .listen: "127.0.0.1:2002",
        .passwordFile: "/users", .tlsCertificate: "/certificate", .tlsKey: "/key",
    ]

    @Test("has each variable, each option and each meaning once")
    func unique() {
        for path in [\Setting.variable, \.option, \.meaning] {
            #expect(Set(Setting.all.map { $0[keyPath: path] }).count == Setting.all.count)
        }
    }

    @Test("has names in the forms that people know", arguments: Setting.all)
    func names(setting: Setting) {
        #expect(setting.option == "--\(setting.name)" && !setting.name.contains { $0.isUppercase })
        let inherited: [Setting] = [
            .sensors, .sensorPort, .podNetworks, .serviceNetworks, .device,
        ]
        #expect(setting.variable.hasPrefix("PODWIRE_") != inherited.contains(setting))
    }

    @Test("understands its own defaults and words", arguments: Setting.all)
    func understood(setting: Setting) throws {
        var values: [String] = []
        if case .value(let value) = setting.standard { values.append(value) }
        if case .words(let words) = setting.form { values += words }
        for value in values {
            var options = Self.least
            options[setting] = value
            #expect(throws: Never.self) {
                try Settings(options: options, environment: { _ in nil })
            }
        }
    }

    @Test("has help texts with the variable and the default")
    func help() {
        #expect(
            Setting.sensorPort.help
                == "Port of sensors that are given without one. (RPCAPD_TARGET_PORT, default 2003)")
        #expect(Setting.processors.help.hasSuffix("(PODWIRE_CPUS, default: any)"))
        #expect(Setting.allowed.help.hasSuffix("empty for any. (PODWIRE_ALLOW)"))
        #expect(Setting.podNetworks.help.hasSuffix("(PODNET, required)"))
        #expect(Setting.deduplication.help.hasPrefix("on reports each packet once, off at"))
    }

    @Test("says what is missing, misunderstood or of no use")
    func failures() {
        func failure(_ options: [Setting: String]) -> String? {
            do throws(SettingFailure) {
                _ = try Settings(
                    options: options, environment: { $0 == "PODWIRE_FRAMES" ? "new" : nil })
                return nil
            } catch {
                return error.description
            }
        }
        var options = Self.least
        #expect(failure(options) == "PODWIRE_FRAMES=new cannot be understood: it takes wire or raw")
        options[.frames] = "old"
        #expect(failure(options) == "--frames old cannot be understood: it takes wire or raw")
        options[.tlsKey] = ""
        #expect(
            failure(options)
                == "--tls-certificate=/certificate: there is no --tls-key: give both")
        options[.podNetworks] = nil
        #expect(
            failure(options) == """
                PODNET is not set: give it or --pod-network; it takes networks such as \
                10.244.0.0/16 or fd00:10:244::/56, comma-separated
                """)
    }
}
