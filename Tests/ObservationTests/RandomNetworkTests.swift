import Addressing
import FuzzSupport
import Observation
import ObservationFixtures
import Testing

/// The promise itself, over all edges of two nodes: each packet is reported once, in pod form.
///
/// Guests, networks behind pods, flooded copies, groups, link-local addresses, calls to services and
/// fronts; programs, fast path, slow path and table of copies together.
@Suite("A packet in a network of two nodes")
struct RandomNetworkTests {
    @Test("is reported once, in pod form", arguments: Fuzz.seeds)
    func once(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            var network = RandomNetwork(with: &generator)
            for number in 0..<120 {
                // The programs know of calls a moment later than user space.
                if number % 50 == 0 { network.refresh() }
                for packet in network.packets(with: &generator) {
                    let reports = network.reports(of: packet, with: &generator)
                    guard network.nodes.allSatisfy({ $0.fault == nil }), reports.count == 1,
                        reports[0].isInFinalForm
                    else {
                        throw Fuzz.Complaint(
                            "packet \(number): \(reports), \(network.nodes.map(\.fault)), \(packet)"
                        )
                    }
                }
            }
        }
    }
}
