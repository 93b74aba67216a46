package import Addressing

/// A pod that a podwire agent offers as a device, as the device's description names it.
///
/// The description is `"the pod NAMESPACE/NAME at ADDRESS, ADDRESS"`, perhaps with more behind it. It is
/// a text of the peer's, who may write anything there: what is no name of Kubernetes is none here.
package struct OfferedPod: Equatable, Sendable {
    /// The namespace, an RFC 1123 label.
    package let namespace: String
    /// The name, an RFC 1123 subdomain.
    package let name: String
    /// The pod's addresses, as many as the description has, and at most `addressCountMax`.
    package let addresses: [IPAddress]

    /// The most addresses of one pod, more than an agent says.
    package static let addressCountMax = 8
    private static let beginning = "the pod "

    /// The pod that a device stands for; nil if its description names none.
    package init?(_ device: Device) {
        guard device.description.hasPrefix(Self.beginning) else { return nil }
        let words = device.description.dropFirst(Self.beginning.count)
            .split(separator: " ", maxSplits: 3 + Self.addressCountMax)
        guard let full = words.first else { return nil }
        let parts = full.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, Self.isName(parts[0], byteCountMax: 63, with: ""),
            Self.isName(parts[1], byteCountMax: 253, with: ".")
        else { return nil }
        (namespace, name) = (String(parts[0]), String(parts[1]))
        var addresses: [IPAddress] = []
        if words.count > 2, words[1] == "at" {
            for word in words[2...].prefix(Self.addressCountMax) {
                guard let address = IPAddress(String(word.last == "," ? word.dropLast() : word))
                else { break }
                addresses.append(address)
                if word.last != "," { break }
            }
        }
        self.addresses = addresses
    }

    /// Both parts: `"shop/web-1"`.
    package var fullName: String { "\(namespace)/\(name)" }

    /// Whether a text is both parts of a pod's name.
    package static func isFullName(_ text: String) -> Bool {
        Self(Device(name: "", description: beginning + text))?.fullName == text
    }

    private static func isName(
        _ text: Substring, byteCountMax: Int, with more: String
    ) -> Bool {
        guard (1...byteCountMax).contains(text.utf8.count) else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: byte == UInt8(ascii: "-") || more.utf8.contains(byte)
            }
        }
    }
}
