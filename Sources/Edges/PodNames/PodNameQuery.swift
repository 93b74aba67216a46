package import Addressing

/// A query for the name of an edge's pod, with what is known of the pod.
package struct PodNameQuery: Hashable, Sendable {
    /// The edge's incarnation.
    package let incarnation: UInt64
    /// The edge's name.
    package let interface: String
    /// The pod's MAC address, if it is known.
    package let podMAC: MACAddress?
    /// The pod's addresses, without link-local ones.
    package let podAddresses: Set<IPAddress>
    /// When the edge appeared, in nanoseconds since 1970; nil if it was there before the agent.
    package let appearedAt: UInt64?

    /// A query by its parts.
    package init(
        incarnation: UInt64, interface: String, podMAC: MACAddress?, podAddresses: Set<IPAddress>,
        appearedAt: UInt64?
    ) {
        self.incarnation = incarnation
        self.interface = interface
        self.podMAC = podMAC
        self.podAddresses = podAddresses
        self.appearedAt = appearedAt
    }

    /// How much older than the edge a file may be.
    ///
    /// A runtime writes its file after it has made the edge. But the agent may see the edge late, and
    /// the clock may be set meanwhile.
    private static let slackNanoseconds: UInt64 = 10_000_000_000

    /// Whether an attachment may be that of this edge.
    ///
    /// Interfaces' names prove nothing, since they are used again. So are addresses: everything that
    /// is known has to agree.
    private func matches(_ file: AttachmentFile) -> Bool {
        let attachment = file.attachment
        if let appearedAt,
            appearedAt - min(appearedAt, file.writtenAt) > Self.slackNanoseconds
        {
            return false
        }
        var isProven = false
        if let podMAC, !attachment.macs.isEmpty {
            guard attachment.macs.contains(podMAC) else { return false }
            isProven = true
        }
        if !podAddresses.isEmpty, !attachment.addresses.isEmpty {
            guard !attachment.addresses.isDisjoint(with: podAddresses) else { return false }
            isProven = true
        }
        return isProven
    }

    /// The name of the pod.
    ///
    /// If several attachments match, one that names the interface wins, and then the newest.
    package func name(among files: [AttachmentFile]) -> PodName? {
        func rank(_ file: AttachmentFile) -> (Int, UInt64) {
            (file.attachment.nodeInterfaces.contains(interface) ? 1 : 0, file.writtenAt)
        }
        return files.filter(matches).max { rank($0) < rank($1) }?.attachment.pod
    }
}
