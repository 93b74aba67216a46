import Edges
import Formats
import Linux
import Netlink

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
        return netkit(network) + bypass(node)
    }

    private static func netkit(_ network: Node) -> [Finding] {
        let names = network.links.values.filter { $0.kind == "netkit" }.map(\.name).sorted()
        guard !names.isEmpty else { return [] }
        return [
            finding(
                network.capturedVeths.isEmpty ? .failed : .warning,
                "\(Wording.count(names.count, "device")) of kind netkit: \(Wording.few(names))",
                meaning: "pods behind them are not captured, since their packets pass no veth",
                remedy: "configure the network plug-in to use veths (Cilium: bpf.datapathMode=veth)"
            )
        ]
    }

    private static func bypass(_ node: Examination) -> [Finding] {
        switch node.vethCounters {
        case nil: return []
        case .failure(let error):
            return [
                finding(
                    .note, "cannot be judged: \(error)",
                    meaning: "packets may reach pods where they cannot be captured",
                    remedy: "run the doctor again")
            ]
        case .success(let veths):
            return [bypass(veths) ?? suspicion(veths, node.kernel) ?? ok(passed(veths.count))]
        }
    }

    private static func passed(_ count: Int) -> String {
        """
        all packets that \(Wording.count(count, "pod")) received passed \
        \(count == 1 ? "its veth" : "their veths")
        """
    }

    private static func bypass(_ veths: [VethCounters]) -> Finding? {
        let bypassed = veths.filter { $0.missedCount >= missedCountMin }
        guard !bypassed.isEmpty else { return nil }
        let texts = bypassed.map {
            "\($0.name) (\($0.missedCount) of \($0.pod.receivedPacketCount))"
        }
        return finding(
            .warning, "packets to pods bypass their veths: \(Wording.few(texts))",
            meaning: """
                something, mostly an eBPF program of the network plug-in, hands packets straight to \
                the pods' devices, where no agent on the node can capture them
                """,
            remedy: """
                configure the plug-in to deliver through the veths (Cilium: \
                bpf.hostLegacyRouting=true)
                """)
    }

    private static func suspicion(_ veths: [VethCounters], _ release: KernelRelease?) -> Finding? {
        let oneSided = veths.filter(\.isOneSided)
        guard let release, release < .redirectCounters, !oneSided.isEmpty else { return nil }
        return finding(
            .note, "pods send much and get little here: \(Wording.few(oneSided.map(\.name)))",
            meaning: """
                packets to them may bypass their veths; before Linux \
                \(KernelRelease.redirectCounters) pods' devices do not count such packets, so this \
                cannot be known
                """,
            remedy: "find out whether the network plug-in forwards by eBPF, past the veths")
    }
}

extension VethCounters {
    /// The number of packets that the pod has received and the host's end has not sent.
    fileprivate var missedCount: UInt64 {
        pod.receivedPacketCount - min(pod.receivedPacketCount, host.sentPacketCount)
    }

    /// Whether the pod sends much and receives next to nothing, as far as the host's end knows.
    fileprivate var isOneSided: Bool {
        host.receivedPacketCount >= 1000
            && host.sentPacketCount < host.receivedPacketCount / 10
    }
}
