package import BPF
import Linux
package import Security

import RPCAP

/// What a collector asks each agent for.
package struct CaptureOptions: Sendable {
    /// Bytes per packet at most.
    package var snaplen: Int
    /// Which packets; nil takes all.
    package var filter: Program?
    /// Whether packets come as datagrams, which may get lost but never hold the agent up.
    package var usesDatagrams: Bool
    private(set) var sampling = Sampling.none
    /// Whom to believe that they are agents: for sources that want TLS, and for agents that dial. Nil
    /// for no TLS.
    package var sourceTrust: TLSClient?
    package var dialledTrust: TLSClient?

    package static let snaplenRange = 64...StartRequest.snaplenMax

    package init(
        snaplen: Int = StartRequest.snaplenMax, filter: Program? = nil, usesDatagrams: Bool = false
    ) {
        self.snaplen = snaplen
        self.filter = filter
        self.usesDatagrams = usesDatagrams
    }

    /// Reads `"1/10"`, one packet in ten, or `"10ms"`, one packet each ten milliseconds. Answers
    /// false, and changes nothing, for anything else.
    package mutating func sample(_ text: String) -> Bool {
        if text.hasPrefix("1/"), let count = UInt32(text.dropFirst(2)), count > 1 {
            sampling = .onePacketIn(count)
        } else if text.hasSuffix("ms"), let count = UInt32(text.dropLast(2)), count > 0 {
            sampling = .onePacketPerMilliseconds(count)
        } else {
            return false
        }
        return true
    }

    /// What an agent is spoken to over, for control or data: the agent is the server of TLS, whoever
    /// has dialled. The handshake takes its course with the first bytes.
    func channel(
        over connection: consuming Connection, for source: Source?
    ) throws(TLSFailure) -> Channel {
        guard
            let trust = source == nil ? dialledTrust : source?.isSecure == true ? sourceTrust : nil
        else { return Channel(connection) }
        return try Channel(beginning: trust.connect(connection, host: source?.host))
    }

    func startRequest(flags: StartRequest.Flags, dataPort: UInt16) -> StartRequest {
        StartRequest(
            snaplen: snaplen, flags: flags.union(.promiscuous), dataPort: dataPort,
            filter: filter?.instructions ?? [Instruction(.keep, UInt32(snaplen))])
    }
}
