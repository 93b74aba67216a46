import Settings
import Testing

@Suite("A variable that is no setting")
struct UnknownVariableTests {
    @Test(
        "is told with the nearest one",
        arguments: [
            ("PODWIRE_DEDUPE", "PODWIRE_DEDUP"), ("PODWIRE_LOGLEVEL", "PODWIRE_LOG_LEVEL"),
            ("PODWIRE_SENSOR", "EXTRAHOP_SENSOR_IP"), ("PODWIRE_POD_NETWORK", "PODNET"),
            ("PODWIRE_PODNET", "PODNET"), ("PODWIRE_SVCNET", "SVCNET"),
            ("PODWIRE_ALLOW_NULL_LOGINS", "PODWIRE_ALLOW_NULL_LOGIN"),
            ("PODWIRE_DEVICE", "INTERFACE"), ("PODWIRE_EXCLUDE_EDGE", "PODWIRE_EXCLUDE_EDGES"),
            ("PODWIRE_SOMETHING_ELSE", nil), ("PODWIRE_", nil),
        ] as [(String, String?)])
    func nearest(name: String, nearest: String?) {
        let found = UnknownVariable.all(among: ["PATH", name, "PODNET"])
        #expect(found.map(\.name) == [name] && found.map(\.nearest) == [nearest], "\(found)")
    }

    @Test("is none that a setting or another part of podwire has", arguments: Setting.all)
    func known(setting: Setting) {
        let others = ["PODWIRE_COLLECT_PASSWORD", "PODWIRE", "HOME"]
        #expect(UnknownVariable.all(among: [setting.variable] + others).isEmpty)
    }

    @Test("is none that Kubernetes makes for a service")
    func services() {
        let links = [
            "PODWIRE_SERVICE_HOST", "PODWIRE_SERVICE_PORT", "PODWIRE_SERVICE_PORT_HTTP",
            "PODWIRE_PORT", "PODWIRE_PORT_9464_TCP", "PODWIRE_PORT_9464_TCP_ADDR",
            "PODWIRE_COLLECTOR_SERVICE_HOST", "PODWIRE_COLLECTOR_PORT_2003_TCP_PROTO",
        ]
        #expect(UnknownVariable.all(among: links).isEmpty)
        let found = UnknownVariable.all(among: links + ["PODWIRE_PORTS", "PODWIRE_SERVICE"])
        #expect(
            found.map(\.description) == [
                "PODWIRE_PORTS is no setting",
                "PODWIRE_SERVICE is no setting; did you mean PODWIRE_SERVICES?",
            ])
    }
}
