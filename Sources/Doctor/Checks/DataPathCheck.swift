import Edges
import Formats
import Linux
import Netlink
import Observation
import Settings

/// Checks whether packets reach pods past the host's end of their veths, where nobody can capture.
///
/// An eBPF program can hand a packet straight to the pod's device (`bpf_redirect_peer`). The presence
/// of such a program proves nothing, since it may also forward in the ordinary way. The counters
/// do: one end of a veth pair has received, packet for packet, what the other end has sent, unless
/// something came from elsewhere.
enum DataPathCheck: DoctorCheck {
    static let id = "data-path"
    static let title = "data path"

    /// The fewest packets that count as a data path.
    ///
    /// The counts agree to the packet, since the pods' are read first.
    private static let missedCountMin = 10

    static func findings(_ node: Examination) -> [Finding] {
        guard let network = node.node else { return [] }
        return netkit(network) + bypass(node, network)
    }

    private static func netkit(_ network: Node) -> [Finding] {
        let names = network.veths.filter { $0.status == .needsPodTap }.map(\.link.name)
        guard !names.isEmpty else { return [] }
        return [
            finding(
                network.capturedVeths.isEmpty ? .failed : .warning,
                "\(Wording.count(names.count, "device")) of kind netkit: \(Wording.few(names))",
                meaning: """
                    pods behind them are not captured: at the host's end of such a pair the kernel \
                    shows half of its packets
                    """,
                remedy: """
                    set \(Setting.tap.option) pod or auto, with `podwire opener` beside the agent \
                    (k8s/components/pod-taps)
                    """)
        ]
    }

    private static func bypass(_ node: Examination, _ network: Node) -> [Finding] {
        switch node.pairCounters {
        case nil: return []
        case .failure(let error):
            return [
                finding(
                    .note, "cannot be judged: \(error)",
                    meaning: "packets may reach pods where they cannot be captured",
                    remedy: "run the doctor again")
            ]
        case .success(let pairs):
            // What is captured inside a pod lacks nothing.
            let inside = Set(
                network.capturedVeths.filter { $0.tap.side == .pod }.map(\.link.index))
            let atHost = pairs.filter {
                !inside.contains($0.link.index) && !$0.link.isNetkit
            }
            let isAuto = node.settings.taps.mode == .auto
            if let finding = bypass(atHost, isAuto) ?? suspicion(atHost, node.kernel) {
                return [finding]
            }
            let passed = atHost.isEmpty && !inside.isEmpty ? [] : [ok(passed(atHost.count))]
            return passed
                + (inside.isEmpty
                    ? []
                    : [ok(planned(inside.count))])
        }
    }

    private static func planned(_ count: Int) -> String {
        "\(Wording.count(count, "edge")) \(count == 1 ? "is" : "are") to be captured inside the pod"
    }

    private static func passed(_ count: Int) -> String {
        """
        all packets that \(Wording.count(count, "pod")) received passed \
        \(count == 1 ? "its veth" : "their veths")
        """
    }

    private static func bypass(_ pairs: [PairCounters], _ isAuto: Bool) -> Finding? {
        let bypassed = pairs.filter { $0.missedCount >= missedCountMin }
        guard !bypassed.isEmpty else { return nil }
        let texts = bypassed.map {
            "\($0.link.name) (\($0.missedCount) of \($0.carriedCount))"
        }
        return finding(
            isAuto ? .note : .warning, "packets to pods bypass their veths: \(Wording.few(texts))",
            meaning: """
                something, mostly an eBPF program of the network plug-in, hands packets straight to \
                the pods' devices, where no agent at the host's ends of the veths can capture them
                """,
            remedy: isAuto
                ? "nothing: an agent with \(Setting.tap.option) auto captures inside pods then"
                : """
                set \(Setting.tap.option) pod or auto, with `podwire opener` beside the agent \
                (k8s/components/pod-taps); or configure the plug-in to deliver through the veths \
                (Cilium: bpf.hostLegacyRouting=true)
                """)
    }

    private static func suspicion(_ pairs: [PairCounters], _ release: KernelRelease?) -> Finding? {
        let oneSided = pairs.filter(\.isOneSided)
        guard let release, release < .redirectCounters, !oneSided.isEmpty else { return nil }
        return finding(
            .note, "pods send much and get little here: \(Wording.few(oneSided.map(\.link.name)))",
            meaning: """
                packets to them may bypass their veths; before Linux \
                \(KernelRelease.redirectCounters) pods' devices do not count such packets, so this \
                cannot be known
                """,
            remedy: """
                find out whether the network plug-in forwards by eBPF, past the veths; if so, set \
                \(Setting.tap.option) pod
                """)
    }
}

extension PairCounters {
    /// Whether the pod sends much and receives next to nothing, as far as the host's end knows.
    fileprivate var isOneSided: Bool {
        host.receivedPacketCount >= 1000
            && host.sentPacketCount < host.receivedPacketCount / 10
    }
}
