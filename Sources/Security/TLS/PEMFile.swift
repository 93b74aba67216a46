import COpenSSL
import Linux

/// A file in PEM form with certificates or a key, and what can be wrong with it.
struct PEMFile {
    private let path: String

    init(_ path: String) { self.path = path }

    /// Checks that the file can be opened, since OpenSSL does not keep the whole reason.
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
            throw .file(path, fault: "this is not a regular file: give a file in PEM form")
        }
    }

    /// The failure to read a certificate from the file.
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

    /// The failure to read a key from the file.
    func noKey(_ error: OpenSSLError) -> TLSFailure {
        // The word stands in both forms of encrypted keys.
        let bytes = (try? readFile(path, byteCountMax: 1 << 20)) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        if text.contains("ENCRYPTED") {
            return .file(
                path,
                fault: """
                    this key is encrypted, and nobody can enter its password here: `openssl pkey` \
                    writes it without encryption
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
    /// Whether the file has no object of the kind that was looked for.
    fileprivate var isMissingStart: Bool {
        (library == ERR_LIB_PEM && number == PEM_R_NO_START_LINE)
            || (library == ERR_LIB_X509 && number == X509_R_NO_CERTIFICATE_OR_CRL_FOUND)
    }
}
