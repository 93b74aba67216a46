import Settings
import Testing

@Suite("Pod networks")
struct PodNetworkConcernTests {
    @Test(
        "of an odd form are warned about",
        arguments: [
            ("10.244.0.0/16", "10.96.0.0/12", []), ("10.244.0.0", "", ["10.244.0.0/32 is one"]),
            ("fd00::/128,10.244.0.0/16", "", ["fd00::/128 is one"]),
            ("10.244.0.0/16", "10.244.128.0/17", ["10.244.0.0/16 and the service networks"]),
            ("10.96.0.1", "10.96.0.0/12", ["10.96.0.1/32 is one", "10.96.0.1/32 and the service"]),
        ] as [(String, String, [String])])
    func shape(pods: String, services: String, found: [String]) throws {
        let settings = try Settings(options: [:]) {
            ["PODNET": pods, "SVCNET": services, "EXTRAHOP_SENSOR_IP": "192.0.2.1"][$0]
        }
        let concerns = settings.podNetworkConcerns
        #expect(concerns.count == found.count)
        for (concern, text) in zip(concerns, found) {
            #expect(concern.found.hasPrefix(text))
        }
    }
}
