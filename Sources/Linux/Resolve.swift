import Glibc

/// A name that has no address, and what the resolver says to that.
package struct ResolveFailure: Error, CustomStringConvertible {
    package let host: String
    package let reason: String

    package init(host: String, reason: String) { (self.host, self.reason) = (host, reason) }

    package var description: String { "resolve \(host): \(reason)" }
}

/// The addresses of a host, in the order in which they should be tried (getaddrinfo(3)). Waits for
/// the resolver, as long as its own time-outs allow.
package func resolve(
    _ host: String, port: UInt16
) throws(ResolveFailure) -> [SocketAddress] {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    // Safety: the list is ours from a successful call until it is freed at the end.
    var list: UnsafeMutablePointer<addrinfo>?
    let code = unsafe getaddrinfo(host, nil, &hints, &list)
    guard code == 0 else {
        let reason =
            unsafe code == EAI_SYSTEM
            ? strerror(errno) : UnsafeMutablePointer(mutating: gai_strerror(code))
        throw ResolveFailure(
            host: host, reason: unsafe reason.map { unsafe String(cString: $0) } ?? "?")
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
