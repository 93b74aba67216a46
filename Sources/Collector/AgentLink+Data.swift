import Linux
import RPCAP
import Security
import Time

/// The data path.
extension AgentLink {
    /// Does what the data path is ready for.
    ///
    /// `body` is called with each packet; the frame is lent for the call. `afterRead` is called when
    /// packets have been read, and may write them to a file.
    func readData(
        into buffer: inout [UInt8], now: MonotonicTime, _ body: (PacketRecord, RawSpan) -> Void,
        afterRead: () -> Void
    ) {
        do throws(TLSFailure) {
            switch path.state {
            case .none, .bound: break
            case .listening, .connecting: try openPath()
            case .open, .datagrams: try readPackets(into: &buffer, now, body, afterRead)
            }
        } catch {
            end(closeReason ?? error.text, remedy: Remedy.text(for: error, of: source))
        }
    }

    private func openPath() throws(TLSFailure) {
        let opened: Connection?
        do throws(SystemError) {
            opened = try path.takeConnection()
        } catch {
            throw .system(error)
        }
        guard let connection = opened else {
            if let stranger = path.stranger {
                note(
                    "a data connection from \(stranger) is turned away, since the agent is "
                        + "\(peer.address): it has to come from the same address")
            }
            return
        }
        path.open(try options.channel(over: connection, for: source))
        dataDeadline = nil
    }

    private func readPackets(
        into buffer: inout [UInt8], _ now: MonotonicTime, _ body: (PacketRecord, RawSpan) -> Void,
        _ afterRead: () -> Void
    ) throws(TLSFailure) {
        guard let counters else { return }
        guard path.state == .open else {
            let strangers = counters.strangers
            _ = try path.read(into: &buffer, counters, body)
            afterRead()
            if counters.strangers > strangers {
                note("datagrams from another host than the agent are ignored")
            }
            return
        }
        for _ in 0..<Self.readCountPerTurn {
            switch try path.read(into: &buffer, counters, body) {
            case .some: afterRead()
            case .nothing: return
            case .end: return try recordDataEnd(now)
            case .malformed(let text): return end("data connection: \(text)")
            }
        }
    }

    private func recordDataEnd(_ now: MonotonicTime) throws(TLSFailure) {
        path.close()
        isDrained = true
        if let closeReason {
            end(closeReason)
        } else if hasEnded {
            complete()
            try carryOutActions(now)
        } else if state != .ending {
            end("the agent closed the data connection")
        }
    }
}
