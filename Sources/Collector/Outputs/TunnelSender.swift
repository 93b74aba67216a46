import Addressing
import Linux
import Tunnels

/// The sockets of a tunnel to one address, and the datagrams that wait there.
final class TunnelSender {
    private var fan: DatagramFan
    private let header: TunnelHeader

    /// Opens the sockets, which send nothing.
    init(to peer: SocketAddress, _ header: TunnelHeader) throws(SystemError) {
        fan = try DatagramFan(to: peer, from: FlowHash.ports)
        self.header = header
    }

    var peer: SocketAddress { fan.peer }

    /// The longest frame that a datagram has room for.
    var frameByteCountMax: Int { fan.payloadByteCountMax - TunnelHeader.byteCount }

    /// The longest frame that the route carries unfragmented, as far as the kernel knows by now.
    var routeFrameByteCountMax: Int? {
        (try? fan.routePayloadByteCountMax()).map { $0 - TunnelHeader.byteCount }
    }

    /// Adds a frame of at most `frameByteCountMax` bytes, and sends what waits if there is no room.
    func add(_ frame: RawSpan, _ outcomes: inout TunnelOutcomes) {
        let byteCount = TunnelHeader.byteCount + frame.byteCount
        if !fan.hasRoom(for: byteCount) {
            send(&outcomes)
            // What no socket takes now makes room for what is new.
            if !fan.hasRoom(for: byteCount) { outcomes.addQueueFull(count: fan.dropWaiting()) }
        }
        var room = fan.room
        header.store(into: &room)
        room.store(frame, at: TunnelHeader.byteCount)
        fan.append(
            byteCount: byteCount,
            from: FlowHash.index(of: FlowHash.hash(of: frame), count: fan.count))
    }

    /// Sends what the kernel takes now.
    func send(_ outcomes: inout TunnelOutcomes) {
        guard fan.waitingCount > 0 else { return }
        fan.send { outcomes.add($0) }
    }

    /// Drops what waits.
    ///
    /// - Returns: The number of packets.
    func dropWaiting() -> Int { fan.dropWaiting() }
}
