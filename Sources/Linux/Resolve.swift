import CLinux
import Glibc

/// A host name that could not be resolved, and the resolver's reason.
package struct ResolveFailure: Error, CustomStringConvertible {
    /// The name.
    package let host: String
    /// The resolver's words.
    package let reason: String

    /// A name and the reason why it has no address.
    package init(host: String, reason: String) { (self.host, self.reason) = (host, reason) }

    /// The name and the reason: `"resolve sensor: Name or service not known"`.
    package var description: String { "resolve \(host): \(reason)" }
}

/// Resolves a host to addresses, in the order in which they should be tried (getaddrinfo(3)).
///
/// Waits for the resolver, as long as its own time-outs allow.
package func resolve(
    _ host: String, port: UInt16
) throws(ResolveFailure) -> [SocketAddress] {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    // Safety: the list is ours from a successful call until it is freed at the end.
    var list: UnsafeMutablePointer<addrinfo>?
    let code = unsafe getaddrinfo(host, nil, &hints, &list)
    guard code == 0 else {
        let errno = Errno.current
        guard code != EAI_SYSTEM else {
            throw ResolveFailure(host: host, reason: errno.description)
        }
        throw ResolveFailure(
            host: host, reason: unsafe gai_strerror(code).map { unsafe String(cString: $0) } ?? "?")
    }
    defer { unsafe freeaddrinfo(list) }
    var addresses: [SocketAddress] = []
    var next = unsafe list
    while let entry = unsafe next {
        let bytes = unsafe RawSpan(
            _unsafeStart: entry.pointee.ai_addr, byteCount: Int(entry.pointee.ai_addrlen))
        if let address = SocketAddress(kernelForm: bytes) {
            addresses.append(address.with(port: port))
        }
        unsafe next = entry.pointee.ai_next
    }
    guard !addresses.isEmpty else {
        throw ResolveFailure(host: host, reason: "it has no IPv4 or IPv6 address")
    }
    return addresses
}
