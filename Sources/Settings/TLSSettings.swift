package import RPCAP

/// The settings of TLS: the agent's files, and the peers to speak it with.
package struct TLSSettings: Sendable {
    package let certificate: String
    package let key: String
    /// The modes in which sessions use TLS: active to sensors, passive from clients.
    package let modes: Set<ServerSession.Mode>

    /// Whether sensors are among the peers.
    package var isForSensors: Bool { modes.contains(.active) }

    /// Reads the settings of TLS; nil if no files are given.
    init?(_ reader: SettingsReader) throws(SettingFailure) {
        let certificate = try reader.oneOrNone(.tlsCertificate) { $0 }
        let key = try reader.oneOrNone(.tlsKey) { $0 }
        let names: [String: Set<ServerSession.Mode>] = [
            "all": [.active, .passive], "sensors": [.active], "clients": [.passive],
        ]
        modes = try reader.one(.tlsPeers) { names[$0] }
        switch (certificate, key) {
        case (let certificate?, let key?): (self.certificate, self.key) = (certificate, key)
        case (nil, nil):
            guard !reader.isSet(.tlsPeers) else {
                throw reader.failure(
                    .tlsPeers,
                    """
                    there is no TLS: give \(Setting.tlsCertificate.option) and \
                    \(Setting.tlsKey.option)
                    """)
            }
            return nil
        case (nil, _):
            throw reader.failure(.tlsKey, "there is no \(Setting.tlsCertificate.option): give both")
        case (_, nil):
            throw reader.failure(.tlsCertificate, "there is no \(Setting.tlsKey.option): give both")
        }
    }
}
