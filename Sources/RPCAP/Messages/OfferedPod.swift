package import Addressing

/// A pod that a podwire agent offers as a device, as the device's description names it.
///
/// The description is `"the pod NAMESPACE/NAME at ADDRESS, ADDRESS"`, perhaps with more behind it. It is
/// a text of the peer's, who may write anything there: what is no name of Kubernetes is none here.
package struct OfferedPod: Equatable, Sendable {
    /// The pod's name.
    package let name: PodName
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
        guard let name = words.first.flatMap({ PodName($0) }) else { return nil }
        self.name = name
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
}
