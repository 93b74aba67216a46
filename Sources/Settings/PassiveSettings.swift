package import Addressing
package import Linux

/// The settings of passive mode, in which clients dial the agent.
package struct PassiveSettings: Sendable {
    /// The most clients logged in at once; each may have a capture, with the memory of one.
    package static let clientCountMax = 16

    package let listen: SocketAddress
    /// The addresses and networks of clients that may dial; empty for any.
    package let allowed: [IPNetwork]
    package let passwordFile: String?
    package let allowsNullLogin: Bool

    /// Reads the settings of passive mode; nil if the agent does not listen for clients.
    ///
    /// - Throws: Also if no client could log in, or if any host could capture without a password.
    init?(_ reader: SettingsReader) throws(SettingFailure) {
        let address = try reader.oneOrNone(.listen) { SocketAddress($0) }
        let allowed = try reader.list(.allowed) { IPNetwork($0) }
        let passwordFile = try reader.oneOrNone(.passwordFile) { $0 }
        let allowsNullLogin = try reader.isOn(.nullLogin)
        guard let address else {
            for setting in [Setting.allowed, .passwordFile, .nullLogin]
            where reader.isSet(setting) {
                throw reader.failure(
                    setting, "the agent does not listen for clients: give \(Setting.listen.option)")
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
                \(Setting.nullLogin.option) if only private networks can reach the listener
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

    /// Whether peers can be anywhere: the address is public, and public networks are allowed.
    private var isPublic: Bool {
        let isAllowedPrivate = !allowed.isEmpty && allowed.allSatisfy(\.isPrivate)
        return !IPNetwork(listen.address, prefixBitCount: 128).isPrivate && !isAllowedPrivate
    }

    /// Whether a client at this address may dial.
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
