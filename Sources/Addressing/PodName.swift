/// The name of a pod in Kubernetes.
package struct PodName: Hashable, Sendable, CustomStringConvertible {
    /// The namespace.
    package let namespace: String
    /// The name inside the namespace.
    package let name: String

    /// Checks a name; nil if it is not an RFC 1123 label and an RFC 1123 subdomain.
    ///
    /// A name can therefore be written anywhere without escapes.
    package init?(namespace: String, name: String) {
        guard Self.isName(namespace, byteCountMax: 63, with: ""),
            Self.isName(name, byteCountMax: 253, with: ".")
        else { return nil }
        (self.namespace, self.name) = (namespace, name)
    }

    /// Reads both parts: `"shop/web-1"`.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        self.init(namespace: String(parts[0]), name: String(parts[1]))
    }

    /// Both parts: `"shop/web-1"`.
    package var description: String { "\(namespace)/\(name)" }

    private static func isName(_ text: String, byteCountMax: Int, with more: String) -> Bool {
        guard (1...byteCountMax).contains(text.utf8.count) else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: byte == UInt8(ascii: "-") || more.utf8.contains(byte)
            }
        }
    }
}
