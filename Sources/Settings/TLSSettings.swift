package import RPCAP

/// What a person has set about TLS: files, and with whom to speak it.
package struct TLSSettings: Sendable {
    package let certificate: String
    package let key: String
    /// Sensors are dialled in active mode, and clients dial in passive mode.
    package let modes: Set<ServerSession.Mode>

    /// Nil if there are no files.
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
                    "there is no TLS: give \(Setting.tlsCertificate.option) and \(Setting.tlsKey.option)"
                )
            }
            return nil
        case (nil, _):
            throw reader.failure(.tlsKey, "give \(Setting.tlsCertificate.option), too")
        case (_, nil):
            throw reader.failure(.tlsCertificate, "give \(Setting.tlsKey.option), too")
        }
    }
}
