package import Addressing
import FoundationEssentials

/// The attachment of a pod to a network, as libcni caches it for the container runtime.
///
/// The file has the form of `cachedInfo` in libcni's api.go, and its result that of any version of the
/// CNI specification. containerd and CRI-O pass the pod's name to libcni as an argument for the
/// plug-ins, and libcni caches the arguments. Files from before `cniCacheV1` have no names.
package struct CachedAttachment: Equatable, Sendable {
    /// The pod's name.
    package let pod: PodName
    /// The MAC addresses of the interfaces inside the pod.
    package let macs: Set<MACAddress>
    /// The pod's addresses.
    package let addresses: Set<IPAddress>
    /// The names of interfaces on the node: the pod's edge, and often a bridge.
    package let nodeInterfaces: Set<String>

    /// An attachment by its parts.
    package init(
        pod: PodName, macs: Set<MACAddress>, addresses: Set<IPAddress>, nodeInterfaces: Set<String>
    ) {
        self.pod = pod
        self.macs = macs
        self.addresses = addresses
        self.nodeInterfaces = nodeInterfaces
    }

    /// Parses a file; nil if it is no such file, or lacks the pod's name or all its addresses.
    package init?(_ bytes: [UInt8]) {
        guard let file = try? JSONDecoder().decode(File.self, from: Data(bytes)),
            file.kind == "cniCacheV1", file.ifName != "lo"
        else { return nil }
        let arguments = file.cniArgs ?? []
        func argument(_ key: String) -> String {
            // If an argument is given twice, the last one counts.
            arguments.last { $0.count == 2 && $0[0] == key }?[1] ?? ""
        }
        guard
            let pod = PodName(
                namespace: argument("K8S_POD_NAMESPACE"), name: argument("K8S_POD_NAME"))
        else { return nil }
        self.pod = pod
        let interfaces = (file.result?.interfaces ?? []).prefix(Self.countMax)
        let isInside = { (interface: File.Interface) in interface.sandbox?.isEmpty == false }
        macs = Set(
            interfaces.filter(isInside).compactMap { $0.mac.flatMap { MACAddress($0) } }
                .filter { $0.value != 0 })
        nodeInterfaces = Set(
            interfaces.filter { !isInside($0) }.compactMap(\.name)
                .filter { $0.utf8.count <= Self.nameByteCountMax })
        let prefixes = (file.result?.prefixes ?? []).prefix(Self.countMax)
        addresses = Set(prefixes.compactMap(Self.address))
        if macs.isEmpty && addresses.isEmpty { return nil }
    }

    /// The most interfaces and addresses that are kept of a file; a pod has a few.
    private static let countMax = 64
    /// The length of the longest name of an interface (IFNAMSIZ).
    private static let nameByteCountMax = 15

    /// The address in `"10.244.1.2/24"`.
    private static func address(_ prefix: String) -> IPAddress? {
        let text = prefix.prefix { $0 != "/" }
        return IPAddress(String(text)).flatMap { $0.isLoopback ? nil : $0 }
    }

    /// The part of a file that matters.
    private struct File: Decodable {
        let kind: String?
        let ifName: String?
        let cniArgs: [[String]]?
        let result: Result?

        struct Result: Decodable {
            let interfaces: [Interface]?
            let ips: [Prefix]?
            /// The form before version 0.3.0 of the specification.
            let ip4: OldPrefix?
            let ip6: OldPrefix?

            var prefixes: [String] {
                (ips ?? []).compactMap(\.address) + [ip4, ip6].compactMap { $0?.ip }
            }
        }

        struct Interface: Decodable {
            let name: String?
            let mac: String?
            /// The pod's namespace; absent or empty for an interface on the node.
            let sandbox: String?
        }

        struct Prefix: Decodable {
            let address: String?
        }

        struct OldPrefix: Decodable {
            let ip: String?
        }
    }
}
