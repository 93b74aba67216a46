package import Addressing
import Glibc

/// The address of a socket: an IP address and a port.
package struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// The host's address.
    package let address: IPAddress
    /// The port of the host.
    package let port: UInt16
    /// The interface of an IPv6 link-local address; 0 for all other addresses.
    package let scope: UInt32

    /// An address by its parts.
    package init(_ address: IPAddress, port: UInt16, scope: UInt32 = 0) {
        (self.address, self.port, self.scope) = (address, port, scope)
    }

    /// Parses `"192.0.2.1:2002"` or `"[2001:db8::1]:2002"`; a port alone means all addresses.
    ///
    /// An IPv4 address may have brackets.
    package init?(_ text: String) {
        guard text.contains(":") else {
            guard let port = UInt16(text), port > 0 else { return nil }
            self.init(IPAddress(ipv6High: 0, low: 0), port: port)
            return
        }
        guard let name = try? HostPort(text), let port = name.port,
            let address = IPAddress(name.host)
        else { return nil }
        self.init(address, port: port)
    }

    /// The same host at another port.
    package func with(port: UInt16) -> Self { Self(address, port: port, scope: scope) }

    /// The text that `init(_:)` parses.
    package var description: String {
        HostPort(host: "\(address)", port: port).description
    }

    var domain: CInt { address.family == .ipv4 ? AF_INET : AF_INET6 }

    /// Calls `body` with the address as the kernel takes it, for the length of the call.
    func withKernelForm<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        // Safety: `sockaddr_storage` is as large and as aligned as any socket address.
        var storage = sockaddr_storage()
        return unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            let length = unsafe fill(bytes)
            return unsafe body(bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), length)
        }
    }

    @unsafe
    private func fill(_ bytes: UnsafeMutableRawBufferPointer) -> socklen_t {
        switch address.family {
        case .ipv4:
            var form = sockaddr_in()
            form.sin_family = sa_family_t(AF_INET)
            form.sin_port = port.bigEndian
            form.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
            unsafe bytes.storeBytes(of: form, as: sockaddr_in.self)
            return socklen_t(MemoryLayout<sockaddr_in>.size)
        case .ipv6:
            var form = sockaddr_in6()
            form.sin6_family = sa_family_t(AF_INET6)
            form.sin6_port = port.bigEndian
            form.sin6_scope_id = scope
            unsafe bytes.storeBytes(of: form, as: sockaddr_in6.self)
            // The address stands behind family, port and flow label (`<netinet/in.h>`).
            unsafe bytes.storeBytes(
                of: address.high.bigEndian, toByteOffset: 8, as: UInt64.self)
            unsafe bytes.storeBytes(
                of: address.low.bigEndian, toByteOffset: 16, as: UInt64.self)
            return socklen_t(MemoryLayout<sockaddr_in6>.size)
        }
    }

    /// Reads an address that the kernel wrote; nil for families other than IPv4 and IPv6.
    ///
    /// An IPv4 address that an IPv6 socket shows as `::ffff:1.2.3.4` becomes an IPv4 address again.
    init?(kernelForm bytes: RawSpan) {
        guard bytes.byteCount >= MemoryLayout<sockaddr_in>.size else { return nil }
        let port = bytes.uint16(at: 2)
        switch CInt(bytes.nativeUInt16(at: 0)) {
        case AF_INET:
            self.init(IPAddress(.ipv4, bytes, at: 4), port: port)
        case AF_INET6 where bytes.byteCount >= MemoryLayout<sockaddr_in6>.size:
            let address = IPAddress(.ipv6, bytes, at: 8)
            if address.high == 0, address.low >> 32 == 0xffff {
                self.init(
                    IPAddress(ipv4: UInt32(truncatingIfNeeded: address.low)), port: port)
            } else {
                self.init(
                    address, port: port,
                    scope: address.isLinkLocalIPv6 ? bytes.nativeUInt32(at: 24) : 0)
            }
        default: return nil
        }
    }
}
