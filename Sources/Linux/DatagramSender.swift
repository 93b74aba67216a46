import Addressing
import Glibc

/// A UDP socket that sends to one peer and never waits.
///
/// Whatever goes wrong with a datagram is no reason to stop: the next one may arrive. So sending
/// answers what happened and throws nothing.
package struct DatagramSender: ~Copyable, Sendable {
    private let descriptor: Descriptor
    package let local: SocketAddress
    package let peer: SocketAddress

    package enum Fragmentation: Sendable {
        /// Datagrams longer than the route carries are refused with `EMSGSIZE`: for a sender who
        /// can make them shorter.
        case refused
        /// They travel in fragments: for datagrams whose length is not the sender's to choose. Any
        /// lost fragment costs the whole, but cutting packets short would cost more.
        case allowed
    }

    /// What became of datagrams that were to be sent.
    package enum Outcome: Equatable, Sendable {
        /// The kernel took so many, which are no longer in the batch.
        case sent(Int)
        /// It takes no more before the socket is writable.
        case wouldBlock
        /// The first one was not sent; all are still in the batch. The reason may be that of an
        /// earlier one, which the network has reported in the meantime.
        case failed(CInt)
    }

    /// Bridges the time until a thread that waits for the socket runs again: some milliseconds at
    /// 10 Gbit/s. What waits for longer has its place in the sender's own queue. The kernel doubles
    /// it for its own use (socket(7)).
    private static let bufferByteCount: CInt = 2 << 20

    /// Connects, which sends nothing: the peer need not be there. A local port is chosen from those
    /// given, the first that is free, or else by the kernel; throws `EADDRINUSE` if none is free.
    package init(
        to peer: SocketAddress, from ports: ClosedRange<UInt16>? = nil,
        fragmentation: Fragmentation
    ) throws(SystemError) {
        let descriptor = try Descriptor.datagrams(peer.domain)
        try descriptor.set(fragmentation, peer.domain)
        // Without CAP_NET_ADMIN it is as large as `net.core.wmem_max` allows, which still serves.
        do throws(SystemError) {
            try descriptor.set(
                SO_SNDBUFFORCE, of: SOL_SOCKET, to: Self.bufferByteCount, "SO_SNDBUFFORCE")
        } catch {
            try descriptor.set(SO_SNDBUF, of: SOL_SOCKET, to: Self.bufferByteCount, "SO_SNDBUF")
        }
        if let ports { try descriptor.bind(to: ports, peer.wildcard) }
        try call("connect \(peer)") {
            unsafe peer.withKernelForm { unsafe connect(descriptor.fileDescriptor, $0, $1) }
        }
        let local = try descriptor.localAddress()
        self.descriptor = descriptor
        self.local = local
        self.peer = peer
    }

    /// For a poll set: readable when the network has reported an error, or the peer sends something.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// How long a datagram may be so that the route carries it in one piece, as far as the kernel
    /// knows the route by now.
    package func payloadByteCountMax() throws(SystemError) -> Int {
        if peer.domain == AF_INET {
            let route = try descriptor.get(IP_MTU, of: CInt(IPPROTO_IP), into: CInt(0), "IP_MTU")
            return Int(route) - Self.ipv4HeadersByteCount
        }
        let route = try descriptor.get(IPV6_MTU, of: CInt(IPPROTO_IPV6), into: CInt(0), "IPV6_MTU")
        return Int(route) - Self.ipv6HeadersByteCount
    }

    private static let udpHeaderByteCount = 8
    private static let ipv4HeadersByteCount = 20 + udpHeaderByteCount
    private static let ipv6HeadersByteCount = 40 + udpHeaderByteCount

    /// Sends the datagrams of a batch in order, as many as the kernel takes in one call.
    package func send(_ batch: inout DatagramBatch) -> Outcome {
        while true {
            let count = batch.send(to: fileDescriptor)
            if count >= 0 {
                batch.removeFirst(Int(count))
                return .sent(Int(count))
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case let code: return .failed(code)
            }
        }
    }

    /// Takes what the socket holds for its reader: what the peer sent, which is thrown away, and the
    /// errors that the network has reported. Answers how many errors.
    package func takeReceived() -> Int {
        var errorCount = 0
        for _ in 0..<Self.receivedCountMax {
            // Safety: the call writes at most one byte, and cuts the datagram.
            var byte: UInt8 = 0
            if unsafe recv(fileDescriptor, &byte, 1, CInt(MSG_DONTWAIT)) >= 0 { continue }
            if errno == EAGAIN { break }
            if errno != EINTR { errorCount += 1 }
        }
        return errorCount
    }

    /// The rest comes the next time: a peer that floods us must not keep the thread.
    private static let receivedCountMax = 64
}

extension SocketAddress {
    /// All of this host's addresses of the same family, at any port.
    fileprivate var wildcard: SocketAddress {
        SocketAddress(
            address.family == .ipv4 ? IPAddress(ipv4: 0) : IPAddress(ipv6High: 0, low: 0), port: 0)
    }
}

extension Descriptor {
    fileprivate func set(
        _ fragmentation: DatagramSender.Fragmentation, _ domain: CInt
    ) throws(SystemError) {
        if domain == AF_INET {
            let value = fragmentation == .refused ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT
            try set(IP_MTU_DISCOVER, of: CInt(IPPROTO_IP), to: CInt(value), "IP_MTU_DISCOVER")
        } else {
            let value = fragmentation == .refused ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_DONT
            try set(
                IPV6_MTU_DISCOVER, of: CInt(IPPROTO_IPV6), to: CInt(value), "IPV6_MTU_DISCOVER")
        }
    }

    /// Takes the first port that is free.
    fileprivate func bind(
        to ports: ClosedRange<UInt16>, _ wildcard: SocketAddress
    ) throws(SystemError) {
        for port in ports {
            let address = wildcard.with(port: port)
            let result = unsafe address.withKernelForm { unsafe Glibc.bind(fileDescriptor, $0, $1) }
            if result == 0 { return }
            guard errno == EADDRINUSE else { throw SystemError("bind \(address)") }
        }
        throw SystemError("bind ports \(ports.lowerBound) to \(ports.upperBound)", EADDRINUSE)
    }
}
