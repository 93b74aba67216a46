import Linux
import Settings
import Testing

@Suite("The rights of an agent")
struct RightsTests {
    /// What files of other users need.
    private static let reading =
        Capability.dacReadSearch.isHeld ? "CAP_DAC_READ_SEARCH" : "CAP_DAC_OVERRIDE"

    @Test(
        "are those that its settings need",
        arguments: [
            ([:], []),
            (["PODWIRE_NICE": "-5"], ["CAP_SYS_NICE"]),
            (["PODWIRE_CPUS": "0"], []),
            (["PODWIRE_HTTP": "127.0.0.1:9464,127.0.0.1:80"], ["CAP_NET_BIND_SERVICE"]),
            (["PODWIRE_HTTP": "off"], []),
            (["PODWIRE_DATA_PORTS": "1000-1100"], ["CAP_NET_BIND_SERVICE"]),
            (["PODWIRE_LISTEN": "10.0.0.1:1023"], ["CAP_NET_BIND_SERVICE"]),
            (["PODWIRE_LISTEN": "10.0.0.1:2002"], []),
            (["PODWIRE_CNI_CACHE": "off", "PODWIRE_CILIUM_TABLES": "off"], []),
            (["PODWIRE_CNI_CACHE": "/srv/cni"], [reading]),
            (["PODWIRE_CILIUM_TABLES": "/srv/tables"], [reading]),
        ] as [([String: String], [String])])
    func rights(variables: [String: String], more: [String]) throws {
        let least = ["EXTRAHOP_SENSOR_IP": "192.0.2.1", "PODNET": "10.244.0.0/16"]
        var environment = least.merging(variables) { $1 }
        if environment["PODWIRE_LISTEN"] != nil { environment["PODWIRE_ALLOW_NULL_LOGIN"] = "on" }
        let settings = try Settings(options: [:]) { [environment] in environment[$0] }
        let always = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_BROADCAST", "CAP_NET_RAW"]
        #expect(Set(settings.capabilities.map(\.name)) == Set(always + more))
    }
}
