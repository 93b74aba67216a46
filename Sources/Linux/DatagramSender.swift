import Addressing
import Glibc

/// A UDP socket that sends to one peer and never waits.
///
/// A datagram that cannot be sent is no reason to stop, since the next one may arrive. Sending
/// therefore returns what happened and throws nothing.
package struct DatagramSender: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The address that the socket is bound to.
    package let local: SocketAddress
    /// The address that the datagrams go to.
    package let peer: SocketAddress

    /// What the kernel does with a datagram that is longer than the route carries.
    package enum Fragmentation: Sendable {
        /// It refuses the datagram with `EMSGSIZE`: for senders that can make it shorter.
        case refused
        /// It sends the datagram in fragments: for senders that cannot choose its length.
        ///
        /// A lost fragment costs the whole datagram, but cutting packets short would cost more.
        case allowed
    }

    /// The result of sending a batch.
    package enum Outcome: Equatable, Sendable {
        /// The kernel took this number of datagrams, which are no longer in the batch.
        case sent(Int)
        /// The kernel takes no more until the socket is writable.
        case wouldBlock
        /// The first datagram was not sent, and all are still in the batch.
        ///
        /// The network may have reported the reason for an earlier datagram.
        case failed(Errno)
    }

    /// Room for some milliseconds at 10 Gbit/s, until a thread that waits for the socket runs again.
    ///
    /// What waits longer stays in the sender's own queue. The kernel doubles the number for its own
    /// use (socket(7)).
    private static let bufferByteCount: CInt = 2 << 20

    /// Connects the socket, which sends nothing: the peer need not be there.
    ///
    /// - Parameters:
    ///   - peer: The address to send to.
    ///   - ports: The local ports to choose from, the first free one being taken; nil for any.
    ///   - fragmentation: What the kernel does with datagrams longer than the route carries.
    /// - Throws: `EADDRINUSE` if none of the ports is free.
    package init(
        to peer: SocketAddress, from ports: ClosedRange<UInt16>? = nil,
        fragmentation: Fragmentation
    ) throws(SystemError) {
        let descriptor = try Descriptor.datagrams(peer.domain)
        try descriptor.set(fragmentation, peer.domain)
        try descriptor.setSendBuffer(byteCount: Self.bufferByteCount)
        if let ports { try descriptor.bind(to: ports, peer.wildcard) }
        try call("connect \(peer)") {
            unsafe peer.withKernelForm { unsafe connect(descriptor.fileDescriptor, $0, $1) }
        }
        let local = try descriptor.localAddress()
        self.descriptor = descriptor
        self.local = local
        self.peer = peer
    }

    /// The descriptor, for a poll set: readable after a network error or a datagram of the peer.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// The longest payload that the route carries unfragmented, as far as the kernel knows by now.
    package func payloadByteCountMax() throws(SystemError) -> Int {
        try descriptor.routePayloadByteCountMax(peer.domain)
    }

    /// Sends the datagrams of a batch in order, as many as the kernel takes in one call.
    package func send(_ batch: inout DatagramBatch) -> Outcome {
        while true {
            let count = batch.send(to: fileDescriptor)
            if count >= 0 {
                batch.removeFirst(Int(count))
                return .sent(Int(count))
            }
            switch Errno.current {
            case .interrupted: continue
            case .wouldBlock: return .wouldBlock
            case let errno: return .failed(errno)
            }
        }
    }

    /// Drops what the peer has sent, and takes the errors that the network has reported.
    ///
    /// - Returns: The number of errors.
    package func takeReceived() -> Int {
        var errorCount = 0
        for _ in 0..<Self.receivedCountMax {
            // Safety: the call writes at most one byte, and cuts the datagram.
            var byte: UInt8 = 0
            if unsafe recv(fileDescriptor, &byte, 1, CInt(MSG_DONTWAIT)) >= 0 { continue }
            let errno = Errno.current
            if errno == .wouldBlock { break }
            if errno != .interrupted { errorCount += 1 }
        }
        return errorCount
    }

    /// A peer that floods the socket must not keep the thread; the rest is read the next time.
    private static let receivedCountMax = 64
}
