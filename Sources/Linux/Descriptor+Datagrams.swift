import Addressing
import Glibc

extension SocketAddress {
    /// The wildcard address of the same family, at any port.
    var wildcard: SocketAddress {
        SocketAddress(
            address.family == .ipv4 ? IPAddress(ipv4: 0) : IPAddress(ipv6High: 0, low: 0), port: 0)
    }
}

/// What UDP sockets that send to one peer have in common.
extension Descriptor {
    func set(
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

    /// Binds the socket to the first port that is free.
    func bind(
        to ports: ClosedRange<UInt16>, _ wildcard: SocketAddress
    ) throws(SystemError) {
        for port in ports {
            let address = wildcard.with(port: port)
            let result = unsafe address.withKernelForm { unsafe Glibc.bind(fileDescriptor, $0, $1) }
            if result == 0 { return }
            guard Errno.current == .addressInUse else { throw SystemError("bind \(address)") }
        }
        throw SystemError("bind ports \(ports.lowerBound) to \(ports.upperBound)", .addressInUse)
    }

    /// Makes room for bytes that wait to be sent; the kernel doubles the number (socket(7)).
    ///
    /// Without CAP_NET_ADMIN the room is limited by `net.core.wmem_max`, which still serves.
    func setSendBuffer(byteCount: CInt) throws(SystemError) {
        do throws(SystemError) {
            try set(SO_SNDBUFFORCE, of: SOL_SOCKET, to: byteCount, "SO_SNDBUFFORCE")
        } catch {
            try set(SO_SNDBUF, of: SOL_SOCKET, to: byteCount, "SO_SNDBUF")
        }
    }

    /// The longest payload that the route of a connected socket carries unfragmented.
    func routePayloadByteCountMax(_ domain: CInt) throws(SystemError) -> Int {
        let udpHeaderByteCount = 8
        if domain == AF_INET {
            let route = try get(IP_MTU, of: CInt(IPPROTO_IP), into: CInt(0), "IP_MTU")
            return Int(route) - 20 - udpHeaderByteCount
        }
        let route = try get(IPV6_MTU, of: CInt(IPPROTO_IPV6), into: CInt(0), "IPV6_MTU")
        return Int(route) - 40 - udpHeaderByteCount
    }

    /// Takes the errors that the network has reported, and empties the queue of errors.
    func takeErrors() -> [Errno] {
        // The kernel holds one beside the queue; another may come meanwhile.
        let countMax = 16
        var errors: [Errno] = []
        while errors.count < countMax, let errno = try? takePendingError() {
            errors.append(errno)
        }
        dropErrors()
        return errors
    }

    /// Empties the socket's queue of errors: while one is there, poll(2) finds the socket ready.
    func dropErrors() {
        // More than a small buffer for receiving has room for; the rest is dropped the next time.
        let countMax = 16
        for _ in 0..<countMax {
            // Safety: the call writes at most one byte. It does not wait (recv(2)).
            var byte: UInt8 = 0
            if unsafe recv(fileDescriptor, &byte, 1, CInt(MSG_ERRQUEUE)) < 0 { return }
        }
    }
}
