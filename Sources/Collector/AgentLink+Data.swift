import Addressing
import CaptureFiles
import Linux
import RPCAP

/// How packets come over a link.
extension AgentLink {
    /// Reads of one agent before the others have their turn: of a connection as many bytes as the
    /// buffer has each, of datagrams one each.
    private static let readCountPerTurn = 8
    private static let datagramCountPerTurn = 1024

    /// Does what the data path is ready for. Each packet goes to `body`; `afterRead` is called when
    /// some have, and may write them away.
    func advanceData(
        into buffer: inout [UInt8], _ body: (PacketRecord, RawSpan) -> Void,
        afterRead: () throws -> Void
    ) throws {
        switch path.kind {
        case .none: break
        case .listening: try acceptData()
        case .connecting: try finishConnecting()
        case .open:
            for _ in 0..<Self.readCountPerTurn {
                guard try readConnection(into: &buffer, body) else { return }
                try afterRead()
            }
        case .datagrams:
            try readDatagrams(into: &buffer, body)
            try afterRead()
        }
    }

    /// Takes the data connection, if it comes from the agent itself.
    private func acceptData() throws {
        guard let connection = try path.accept() else { return }
        guard connection.peer.address == peer.address else { return }
        try connection.watchPeer()
        try dataIsOpen(options.channel(over: connection, for: source))
    }

    private func finishConnecting() throws {
        switch path.take() {
        case .connecting(let pending):
            let connection = try pending.finish()
            try connection.watchPeer()
            try dataIsOpen(options.channel(over: connection, for: source))
        default: break
        }
    }

    /// Answers false when nothing more has arrived.
    private func readConnection(
        into buffer: inout [UInt8], _ body: (PacketRecord, RawSpan) -> Void
    ) throws -> Bool {
        guard let tally, let count = try path.receive(into: &buffer) else { return false }
        guard count > 0 else {
            try dataHasEnded()
            return false
        }
        stream.append(buffer[..<count])
        do throws(ProtocolFailure) {
            while try stream.next({ record, frame in
                tally.counts.delivered += 1
                tally.byteCount += UInt64(frame.byteCount)
                body(record, frame)
            }) {}
        } catch {
            let isStream = error == .unexpected(type: StreamDatagram.type)
            end(
                isStream
                    ? "data connection: the agent sends what only makes sense in datagrams, use --udp"
                    : "data connection: \(error)")
            return false
        }
        return true
    }

    private func dataHasEnded() throws {
        path = .none
        if hasEnded { return try complete() }
        if state != .ending { end("the agent closed the data connection") }
    }

    private func readDatagrams(
        into buffer: inout [UInt8], _ body: (PacketRecord, RawSpan) -> Void
    ) throws {
        guard let tally else { return }
        let before = datagrams.counts
        for _ in 0..<Self.datagramCountPerTurn {
            let received = try path.receiveDatagram(into: &buffer, from: peer.address)
            guard received != .nothing else { break }
            guard case .datagram(let byteCount) = received else {
                tally.strangers += 1
                note("datagrams from another host than the agent are passed over")
                continue
            }
            datagrams.read(buffer.wire.extracting(0..<byteCount)) { record, frame in
                tally.counts.delivered += 1
                tally.byteCount += UInt64(frame.byteCount)
                body(record, frame)
            }
        }
        let counts = datagrams.counts
        tally.add(
            lostDatagrams: counts.lostDatagrams &- before.lostDatagrams,
            lostPackets: counts.lostPackets &- before.lostPackets,
            notUnderstood: counts.notUnderstood &- before.notUnderstood)
    }
}
