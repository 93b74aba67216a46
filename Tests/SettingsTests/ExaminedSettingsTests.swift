import Addressing
import Settings
import Testing

@Suite("Settings that are examined")
struct ExaminedSettingsTests {
    private func examined(_ environment: [String: String]) -> ExaminedSettings {
        ExaminedSettings(options: [:], variables: Array(environment.keys)) { environment[$0] }
    }

    @Test(
        "are read as far as they can be understood",
        arguments: [
            ([:], []), (["PODNET": "10.244.0.0/33"], ["PODNET"]),
            (["PODWIRE_NICE": "very", "PODWIRE_FRAMES": "x"], ["PODWIRE_FRAMES", "PODWIRE_NICE"]),
            // What follows from a fault is none of its own.
            (
                [
                    "PODWIRE_SENSOR_POLICY": "some",
                    "EXTRAHOP_SENSOR_IP": "192.0.2.1*2,192.0.2.2",
                ], ["PODWIRE_SENSOR_POLICY"]
            ),
            (
                [
                    "PODWIRE_LISTEN": "0.0.0.0:2002", "PODWIRE_ALLOW": "10.0.0.0/33",
                    "PODWIRE_ALLOW_NULL_LOGIN": "on",
                ], ["PODWIRE_ALLOW"]
            ),
            (["PODWIRE_LISTEN": "2002"], ["PODWIRE_LISTEN"]),
            (["PODWIRE_TLS_KEY": "/key", "PODWIRE_TLS_PEERS": "all"], ["PODWIRE_TLS_KEY"]),
            // Both are.
            (
                ["PODWIRE_FILTER": "no filter", "PODWIRE_TLS_CERTIFICATE": "/certificate"],
                ["PODWIRE_TLS_CERTIFICATE", "PODWIRE_FILTER"]
            ),
        ] as [([String: String], [String])])
    func faults(environment: [String: String], faulty: [String]) {
        let found = examined(environment)
        #expect(
            Set(found.faults.map(\.setting.variable)) == Set(faulty)
                && found.faults.count == faulty.count, "\(found.faults)")
        #expect(found.given.count == environment.count)
    }

    @Test("go on with a default where one cannot be understood")
    func others() {
        let found = examined([
            "PODNET": "10.244.0.0/16", "SVCNET": "services", "PODWIRE_DEDUP": "off",
            "EXTRAHOP_SENSOR_IP": "192.0.2.1", "RPCAPD_TARGET_PORT": "0",
        ])
        #expect(found.settings.podNetworks.map(\.description) == ["10.244.0.0/16"])
        #expect(found.settings.serviceNetworks.isEmpty && !found.settings.deduplicates)
        #expect(found.settings.sensors.map(\.description) == ["192.0.2.1:2003"])
        #expect(found.hasFault(of: .serviceNetworks) && found.hasFault(of: .device, .sensorPort))
        #expect(!found.hasFault(of: .sensors))
    }

    @Test("tell an empty PODNET from one that is not set")
    func emptyPodNetworks() throws {
        let sensor = ["EXTRAHOP_SENSOR_IP": "192.0.2.1"]
        let empty = try Settings(options: [:]) { (sensor.merging(["PODNET": ""]) { $1 })[$0] }
        #expect(empty.takesOnLinkPodNetworks && empty.podNetworks.isEmpty)
        let network = try #require(IPNetwork("192.0.2.0/24"))
        let resolved = empty.with(podNetworks: [network])
        #expect(resolved.podNetworks == [network] && resolved.edges.podNetworks == [network])
        #expect(throws: SettingFailure.self) { try Settings(options: [:]) { sensor[$0] } }
        // A shell makes an empty option of a variable that it does not have.
        #expect(throws: SettingFailure.self) {
            try Settings(options: [.podNetworks: ""]) { sensor[$0] }
        }
        let given = try Settings(options: [.podNetworks: "192.0.2.0/24"]) {
            (sensor.merging(["PODNET": ""]) { $1 })[$0]
        }
        #expect(!given.takesOnLinkPodNetworks)
    }
}
