import Formats
import Security

/// Whether the agent could use a file that a setting names.
package enum FileState: Sendable {
    /// The file can be used; the text says what is in it.
    case usable(String)
    /// The file can be used, with these warnings.
    case doubtful([String])
    /// The file cannot be used, for this reason.
    case unusable(String)

    /// Reads a password file.
    static func readPasswords(_ path: String) -> Self {
        do throws(UserFile.Failure) {
            let file = try UserFile(path)
            return Self(file.takeReloadEvents(), usable: Wording.count(file.count, "user"))
        } catch {
            return .unusable("\(error)")
        }
    }

    /// Reads a certificate and its key.
    static func readCertificate(_ certificate: String, key: String) -> Self {
        do throws(TLSFailure) {
            let server = try TLSServer(certificate: certificate, key: key)
            return Self(
                server.takeReloadEvents(), usable: "\(certificate) and its key can be used")
        } catch {
            return .unusable("\(error)")
        }
    }

    private init(_ events: [ReloadEvent], usable: String) {
        let warnings = events.filter(\.isWarning).map { "\($0)" }
        self = warnings.isEmpty ? .usable(usable) : .doubtful(warnings)
    }
}
