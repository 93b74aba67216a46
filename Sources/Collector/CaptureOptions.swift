package import Addressing
package import BPF
package import CaptureFiles
import Formats
import Linux
import RPCAP
package import Security

/// The capture that each agent is asked for.
package struct CaptureOptions: Sendable {
    /// The most bytes of a packet.
    package var snaplen: Int
    /// The packets that are wanted; nil for all.
    package var filter: Program?
    /// The filter as a person wrote it; nil if there is none, or only a program.
    package var filterText: String?
    /// Whether packets come as datagrams, which may get lost but never hold up the agent.
    package var usesDatagrams: Bool
    private(set) var sampling = Sampling.none
    /// The most agents that dial and capture at a time.
    package var agentCountMax = AgentAdmission.capturingCountMax
    /// The pod to capture of agents that are dialled; nil for what a source names.
    package var pod: PodName?
    /// Whether agents are asked for the names of their pods.
    package var wantsNames = true
    /// The files to which names are written; nil for none.
    package var inventory: Inventory?
    /// TLS with sources whose URL wants it, and the certificates that identify them.
    package var sourceTrust: TLSClient?
    /// TLS with agents that dial, and the certificates that identify them; nil for no TLS.
    package var dialledTrust: TLSClient?

    /// The snap lengths that agents take.
    package static let snaplenRange = 64...StartRequest.snaplenMax

    package init(
        snaplen: Int = StartRequest.snaplenMax, filter: Program? = nil, usesDatagrams: Bool = false
    ) {
        self.snaplen = snaplen
        self.filter = filter
        self.usesDatagrams = usesDatagrams
    }

    /// Reads a sampling: `"1/10"`, one packet in ten, or `"10ms"`, one packet in ten milliseconds.
    ///
    /// - Returns: False for anything else, which changes nothing.
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

    /// The channel to an agent over a connection, for control or data.
    ///
    /// The agent is the server of TLS, whichever side has dialled. The handshake goes on with the
    /// first bytes.
    func channel(
        over connection: consuming Connection, for source: Source?
    ) throws(TLSFailure) -> Channel {
        guard
            let trust = source == nil ? dialledTrust : source?.isSecure == true ? sourceTrust : nil
        else { return Channel(connection) }
        return try Channel(beginning: trust.connect(connection, host: source?.host))
    }

    /// What keeps packets out, in words for the description of an interface.
    var limits: [String] {
        let sampling: String? =
            switch sampling {
            case .none: nil
            case .onePacketIn(let count): "one packet in \(count) asked for"
            case .onePacketPerMilliseconds(let time): "one packet in \(time) ms asked for"
            }
        let filter = filter.map { program in
            filterText.map { "the filter \($0)" }
                ?? "a filter of \(Wording.count(program.instructions.count, "instruction"))"
        }
        return [sampling, filter].compactMap(\.self)
    }

    /// The filter that agents are asked for, or the one that keeps everything.
    var wantedFilter: Program { filter ?? .keepAll.truncating(to: UInt32(snaplen)) }

    /// The filter as capture files describe it.
    package var fileFilter: CaptureFilter? {
        if let filterText { return .text(filterText) }
        return filter.map { program in
            .program(
                program.instructions.map { step in
                    UInt64(step.opcode.rawValue) | UInt64(step.ifTrue) << 16
                        | UInt64(step.ifFalse) << 24 | UInt64(step.operand) << 32
                })
        }
    }

    /// The request to start the capture.
    func startRequest(
        flags: StartRequest.Flags, dataPort: UInt16, filter: Program
    ) -> StartRequest {
        StartRequest(
            snaplen: snaplen, flags: flags.union(.promiscuous), dataPort: dataPort,
            filter: filter.instructions)
    }
}
