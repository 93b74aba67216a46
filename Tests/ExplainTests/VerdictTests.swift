import Addressing
import Explain
import Observation
import Testing
import Time

/// Every combination of a client here, elsewhere and outside with a service, a pod and the world.
@Suite("A verdict")
struct VerdictTests {
    private func explained(
        _ text: String, _ flows: [TrackedFlow] = []
    ) throws -> (views: [Explainer.View], verdict: String) {
        let packet = try DescribedPacket(words: text.split(separator: " ").map(String.init))
        var explainer = TestNode.explainer(flows: flows)
        let views = explainer.explain(packet, now: MonotonicTime(nanoseconds: 1 << 40))
        return (views, Verdict(packet, views, explainer).description)
    }

    private static let isNotGoingOn = """
        Unknown: it is of a call to a service that is not going on now, and which pod serves it decides.
        """
    private static let isServedElsewhere =
        "Unknown here: the node of 10.244.2.3 knows which pod serves the call."

    static let rows: [(packet: String, edges: [String], verdict: String)] = [
        // From a pod of this node.
        ("tcp 10.244.1.2:40000 10.96.0.10:80", ["va"], isNotGoingOn),
        (
            "tcp 10.244.1.2:40000 10.244.1.3:80", ["va", "vb"], "Reported by vb; not by va."
        ),
        (
            "tcp 10.244.1.2:40000 10.244.2.3:80", ["va", "of 10.244.2.3, on its node"],
            "Reported by 10.244.2.3's edge, on its node; not by va."
        ),
        ("tcp 10.244.1.2:40000 198.51.100.1:80", ["va"], "Reported by va."),
        // From a pod of another node.
        (
            "tcp 10.244.2.3:40000 10.96.0.10:80", ["of 10.244.2.3, on its node"],
            isServedElsewhere
        ),
        (
            "tcp 10.244.2.3:40000 10.244.1.2:80", ["of 10.244.2.3, on its node", "va"],
            "Reported by va; not by 10.244.2.3's edge, on its node."
        ),
        (
            "tcp 10.244.2.3:40000 198.51.100.1:80", ["of 10.244.2.3, on its node"],
            "Reported by 10.244.2.3's edge, on its node."
        ),
        // From outside.
        (
            "tcp 198.51.100.1:40000 10.96.0.10:80", [],
            """
            No pod's edge sees it in this form: the pod that serves the call has its own address, so \
            explain that.
            """
        ),
        ("tcp 198.51.100.1:40000 10.244.1.2:80", ["va"], "Reported by va."),
        (
            "tcp 198.51.100.1:40000 10.244.2.3:80", ["of 10.244.2.3, on its node"],
            "Reported by 10.244.2.3's edge, on its node."
        ),
        ("tcp 198.51.100.1:40000 198.51.100.2:80", [], "No pod's edge sees it."),
        // The answers.
        ("tcp 10.96.0.10:80 10.244.1.2:40000", ["va"], isNotGoingOn),
        (
            "tcp 10.96.0.10:80 10.244.2.3:40000", ["of 10.244.2.3, on its node"],
            isServedElsewhere
        ),
        // Nobody has the address.
        (
            "tcp 10.244.1.2:40000 10.244.1.77:80", ["va", "of 10.244.1.77, which no pod has"],
            "Reported by 10.244.1.77's edge, which no pod has; not by va."
        ),
    ]

    @Test(
        "names the edges that see a packet, and the one that reports it", arguments: 0..<rows.count)
    func combinations(row: Int) throws {
        let (packet, edges, verdict) = Self.rows[row]
        let found = try explained(packet)
        #expect(found.views.map(\.edge) == edges && found.verdict == verdict, "\(packet): \(found)")
    }

    @Test("knows the pod that serves a call while it goes on")
    func goingOn() throws {
        let found = try explained("tcp 10.244.1.2:40000 10.96.0.10:80", [TestNode.call])
        #expect(found.verdict == "Reported by vb; not by va.", "\(found)")
    }

    @Test("tells who reports a ping with its answer, and without one")
    func ping() throws {
        let found = try explained("icmp 10.244.1.2 10.244.1.3")
        #expect(found.verdict == "Reported by va; not by vb.", "\(found)")
        let held = try explained("icmp 10.244.2.3 10.244.1.2")
        #expect(
            held.verdict
                == "If it is answered, reported by va; if not, by 10.244.2.3's edge, on its node.",
            "\(held)")
    }
}
