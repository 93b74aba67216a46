package import Addressing
package import Linux

/// What a person has set about clients that dial the agent.
package struct PassiveSettings: Sendable {
    /// Clients that may be logged in at once: each may have a capture, with the memory of one.
    package static let clientCountMax = 16

    package let listen: SocketAddress
    /// Where clients may be; empty means anywhere.
    package let allowed: [IPNetwork]
    package let passwordFile: String?
    package let allowsNullLogin: Bool

    /// Nil if nobody is listened for.
    init?(_ reader: SettingsReader) throws(SettingFailure) {
        let address = try reader.oneOrNone(.listen) { SocketAddress($0) }
        let allowed = try reader.list(.allowed) { IPNetwork($0) }
        let passwordFile = try reader.oneOrNone(.passwordFile) { $0 }
        let allowsNullLogin = try reader.one(.nullLogin) { ["on": true, "off": false][$0] }
        guard let address else {
            for setting in [Setting.allowed, .passwordFile, .nullLogin]
            where reader.isSet(setting) {
                throw reader.failure(
                    setting, "nobody is listened for: give \(Setting.listen.option), too")
            }
            return nil
        }
        listen = address
        self.allowed = allowed
        self.passwordFile = passwordFile
        self.allowsNullLogin = allowsNullLogin
        guard passwordFile != nil || allowsNullLogin else {
            throw reader.failure(
                .listen,
                """
                nobody could log in: give \(Setting.passwordFile.option), or \
                \(Setting.nullLogin.option) for a listener that is not public
                """)
        }
        guard !allowsNullLogin || !isPublic else {
            throw reader.failure(
                .nullLogin,
                """
                anybody could capture here: listen at a private address, or name private networks \
                with \(Setting.allowed.option)
                """)
        }
    }

    /// Whether peers could be anywhere: neither the address is private, nor all that are allowed.
    var isPublic: Bool {
        let isAllowedPrivate = !allowed.isEmpty && allowed.allSatisfy(\.isPrivate)
        return !IPNetwork(listen.address, prefixBitCount: 128).isPrivate && !isAllowedPrivate
    }

    package func allows(_ peer: IPAddress) -> Bool {
        allowed.isEmpty || allowed.contains { $0.contains(peer) }
    }
}

extension IPNetwork {
    /// Loopback, link-local and private networks (RFC 1918, 3927, 4193, 6598).
    private static let privateNetworks = [
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "100.64.0.0/10", "::1/128", "fe80::/10", "fc00::/7",
    ].compactMap { IPNetwork($0) }

    fileprivate var isPrivate: Bool {
        Self.privateNetworks.contains { network in
            network.prefixBitCount <= prefixBitCount && network.contains(address)
        }
    }
}
