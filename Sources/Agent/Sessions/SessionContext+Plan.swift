import BPF
import Edges
import Forwarding
import RPCAP
import Settings

extension SessionContext {
    /// The plan of the capture that a peer asks for.
    func plan(
        _ request: StartRequest, _ scope: CaptureScope, _ filter: Program,
        _ mode: ServerSession.Mode
    ) -> CapturePlan {
        var capture = settings.capture
        capture.snaplen = min(request.snaplen, capture.snaplen)
        var plan = CapturePlan(
            feed: feed, scope: scope, tracksConnections: tracksConnections && scope == .stream,
            agentFilter: self.filter.program,
            filter: filter.keepsAll(upTo: capture.snaplen) ? nil : filter, settings: capture,
            ringMemory: ringMemory, podSockets: podSockets,
            sampling: request.sampling,
            datagramFormat: request.flags.contains(.udp) ? datagramFormat(mode) : nil)
        plan.span = span
        return plan
    }

    /// The plan of the capture for a tunnel, whose other end asks for nothing.
    var tunnelPlan: CapturePlan {
        var plan = CapturePlan(
            feed: feed, tracksConnections: tracksConnections, agentFilter: filter.program,
            filter: nil,
            settings: settings.capture, ringMemory: ringMemory, podSockets: podSockets)
        plan.span = span
        return plan
    }

    /// Sensors expect what ExtraHop's daemon sends, and clients what libpcap's does.
    private func datagramFormat(_ mode: ServerSession.Mode) -> DatagramWriter.Format {
        settings.datagramFormat ?? (mode == .active ? .udpstr : .packet)
    }
}

extension Program {
    /// Whether it lets every packet pass, and cuts none to less than a length.
    ///
    /// A client without a filter sends such a program. As no filter it is one with that of a tunnel.
    fileprivate func keepsAll(upTo byteCount: Int) -> Bool {
        instructions.count == 1 && instructions[0].opcode == .keep
            && Int(instructions[0].operand) >= byteCount
    }

    /// The text for a filter in the log.
    var summary: String {
        let count = instructions.count
        // A client without a filter sends a program that keeps all.
        if count == 1, instructions[0].opcode == .keep, instructions[0].operand > 0 {
            return "none"
        }
        return count == 1 ? "1 instruction" : "\(count) instructions"
    }
}
