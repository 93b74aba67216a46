import Addressing
import Doctor
import Forwarding
import Settings
import Testing

/// What the doctor says of calls to services that are translated elsewhere than in the kernel.
@Suite("The doctor's check of service translation")
struct ServiceTranslationTests {
    private static func examination(
        _ more: [String: String] = [:], ipv4: CiliumTables.State = .absent,
        ipv6: CiliumTables.State = .absent, calls: ServiceCalls? = nil
    ) throws -> Examination {
        let environment = [
            "PODNET": "10.244.0.0/16", "SVCNET": "10.96.0.0/12", "EXTRAHOP_SENSOR_IP": "192.0.2.1",
        ]
        var examination = Examination(
            ExaminedSettings(options: [:]) { more[$0] ?? environment[$0] })
        examination.ciliumTables = [.ipv4: ipv4, .ipv6: ipv6]
        examination.serviceCalls = calls
        return examination
    }

    private static func findings(_ examination: Examination) -> [Finding] {
        Doctor.findings(examination).filter { $0.check == "service-translation" }
    }

    @Test("is content where nothing is unexplained")
    func fine() throws {
        let few = ServiceCalls(count: 1000, unexplainedCount: 9)
        let small = ServiceCalls(count: 1000, unexplainedCount: 49)
        for calls in [nil, few, small] {
            let findings = Self.findings(try Self.examination(calls: calls))
            #expect(findings.map(\.grade) == [.ok])
        }
        let both = Self.findings(try Self.examination(ipv4: .inUse, ipv6: .inUse))
        #expect(both.map(\.grade) == [.ok] && both[0].found.contains("IPv4 and IPv6"))
        for setting in [["SVCNET": ""], ["PODWIRE_DEDUP": "off"]] {
            let findings = Self.findings(
                try Self.examination(setting, calls: ServiceCalls(count: 20, unexplainedCount: 20)))
            #expect(findings.map(\.found) == ["not needed"])
        }
    }

    @Test("names the setting that helps where calls come twice")
    func unexplained() throws {
        let calls = ServiceCalls(count: 40, unexplainedCount: 30)
        let absent = Self.findings(try Self.examination(calls: calls))
        #expect(absent.map(\.grade) == [.warning])
        #expect(absent[0].found.contains("30 of 40 calls to services since"))
        for text in ["k8s/components/cilium-services", "CAP_BPF", "--services untracked"] {
            #expect(absent[0].remedy?.contains(text) == true)
        }
        let inUse = Self.findings(try Self.examination(ipv4: .inUse, calls: calls))
        #expect(inUse.map(\.grade) == [.warning])
        #expect(inUse[0].found.contains("and to Cilium's tables"))
        let leftOut = Self.findings(
            try Self.examination(["PODWIRE_SERVICES": "untracked"], calls: calls))
        #expect(leftOut.map(\.grade) == [.note])
    }

    @Test("says why tables cannot be used")
    func refused() throws {
        let state = CiliumTables.State.refused(reason: "not permitted", remedy: "needs CAP_BPF")
        let findings = Self.findings(try Self.examination(ipv4: state, ipv6: .inUse))
        #expect(findings.map(\.grade) == [.warning])
        #expect(findings[0].found.contains("IPv4") && findings[0].found.contains("not permitted"))
        #expect(findings[0].remedy == "needs CAP_BPF")
    }

    @Test("reads an agent's counts of all sensors")
    func metrics() {
        let page = """
            # TYPE podwire_service_calls_total counter
            podwire_service_calls_total{sensor="a"} 12
            podwire_service_calls_total{sensor="b"} 30
            podwire_service_calls_unexplained_total{sensor="a"} 5
            podwire_service_calls_unexplained_total{sensor="b"} x
            """
        #expect(ServiceCalls.read(page) == ServiceCalls(count: 42, unexplainedCount: 5))
        #expect(ServiceCalls.read("") == ServiceCalls(count: 0, unexplainedCount: 0))
    }
}
