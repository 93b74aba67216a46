import Agent
import Forwarding
import Metrics
import Testing

@Suite("The families of an agent's metrics")
struct AgentMetricsTests {
    private let families = AgentMetrics.families

    @Test("have names and texts as Prometheus wants them")
    func form() {
        #expect(Set(families.map(\.name)).count == families.count)
        for family in families {
            #expect(family.name.hasPrefix("podwire_") || family.name.hasPrefix("process_"))
            #expect(family.name.hasSuffix("_total") == (family.kind == .counter), "\(family.name)")
            #expect(family.help.hasSuffix(".") && !family.help.contains("\n"), "\(family.name)")
        }
    }

    @Test("have each metric of a capture, with the peer's name and the reason if it has one")
    func captures() throws {
        for metric in CaptureMetric.allCases {
            let family = try #require(
                families.first { $0.name == "podwire_\(metric.name)" }, "\(metric)")
            #expect(family.labels == ["sensor"] + (metric.reason == nil ? [] : ["reason"]))
            #expect(family.kind == .counter && family.help == metric.help)
        }
    }
}
