/// Checks whether the certificate and its key can be used.
enum TLSCheck: DoctorCheck {
    static let id = "tls"
    static let title = "TLS"

    static func findings(_ node: Examination) -> [Finding] {
        node.certificate.map(fileFindings) ?? []
    }
}
