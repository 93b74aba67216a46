import COpenSSL
import Linux

/// A file of certificates or a key as text, and what can be wrong with one.
struct PEMFile {
    private let path: String

    init(_ path: String) { self.path = path }

    /// Throws if the file cannot be opened, with more of the reason than OpenSSL keeps.
    func check() throws(TLSFailure) {
        let stamp: FileStamp
        do throws(SystemError) {
            stamp = try FileStamp(of: path)
            _ = try Descriptor(reading: path, waits: false)
        } catch {
            throw .file(
                path, fault: "\(error.reason): give a file in PEM form that this user may read")
        }
        guard stamp.isRegularFile else {
            throw .file(path, fault: "this is no file: give one in PEM form")
        }
    }

    func noCertificate(_ error: OpenSSLError) -> TLSFailure {
        if error.isMissingStart {
            return .file(
                path,
                fault: """
                    there is no certificate in PEM form here, which begins with \
                    -----BEGIN CERTIFICATE-----
                    """)
        }
        return .file(path, fault: "this certificate cannot be used: \(error.reason)")
    }

    func noKey(_ error: OpenSSLError) -> TLSFailure {
        // Of either of the two forms in which keys are encrypted.
        let bytes = (try? readFile(path, byteCountMax: 1 << 20)) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        if text.contains("ENCRYPTED") {
            return .file(
                path,
                fault: """
                    this key is encrypted, and nobody is there to enter its password: `openssl pkey` \
                    writes it without
                    """)
        }
        guard text.contains("PRIVATE KEY-----") else {
            return .file(
                path,
                fault: """
                    there is no private key in PEM form here, which begins with \
                    -----BEGIN PRIVATE KEY-----
                    """)
        }
        return .file(path, fault: "this private key cannot be used: \(error.reason)")
    }
}

extension OpenSSLError {
    /// Whether a file in PEM form has nothing of the kind that was looked for.
    fileprivate var isMissingStart: Bool {
        (library == ERR_LIB_PEM && number == PEM_R_NO_START_LINE)
            || (library == ERR_LIB_X509 && number == X509_R_NO_CERTIFICATE_OR_CRL_FOUND)
    }
}
