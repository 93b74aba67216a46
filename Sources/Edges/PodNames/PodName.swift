/// What Kubernetes calls a pod.
package struct PodName: Hashable, Sendable, CustomStringConvertible {
    package let namespace: String
    package let name: String

    /// Nil if these are no names of Kubernetes': an RFC 1123 label, and a subdomain. So whoever writes
    /// them down need not mind what is in them.
    package init?(namespace: String, name: String) {
        guard Self.isName(namespace, byteCountMax: 63, with: ""),
            Self.isName(name, byteCountMax: 253, with: ".")
        else { return nil }
        (self.namespace, self.name) = (namespace, name)
    }

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
