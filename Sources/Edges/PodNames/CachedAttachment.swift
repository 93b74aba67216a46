package import Addressing

import FoundationEssentials

/// What a container runtime remembers of having connected a pod to a network: a file of the cache that
/// libcni keeps for it (`cachedInfo` in libcni's api.go, the result in the form of any version of the CNI
/// specification).
///
/// containerd and CRI-O give libcni the pod's name as arguments for the plug-ins, and libcni writes
/// those down. What it wrote before it had `cniCacheV1` has no names.
package struct CachedAttachment: Equatable, Sendable {
    package let pod: PodName
    /// Of the interfaces inside the pod.
    package let macs: Set<MACAddress>
    package let addresses: Set<IPAddress>
    /// Names of interfaces on the node: the pod's edge, and often a bridge.
    package let nodeInterfaces: Set<String>

    package init(
        pod: PodName, macs: Set<MACAddress>, addresses: Set<IPAddress>, nodeInterfaces: Set<String>
    ) {
        self.pod = pod
        self.macs = macs
        self.addresses = addresses
        self.nodeInterfaces = nodeInterfaces
    }

    /// Reads a file; nil if it is none of these, tells no pod's name, or nothing by which the pod could
    /// be known.
    package init?(_ bytes: [UInt8]) {
        guard let file = try? JSONDecoder().decode(File.self, from: Data(bytes)),
            file.kind == "cniCacheV1", file.ifName != "lo"
        else { return nil }
        let arguments = file.cniArgs ?? []
        func argument(_ key: String) -> String {
            // Plug-ins are given one after the other, so that the last one counts.
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

    /// A pod has a few interfaces and addresses of one network. What is kept of many files must stay small.
    private static let countMax = 64
    /// The longest name that an interface can have (IFNAMSIZ).
    private static let nameByteCountMax = 15

    /// Of `"10.244.1.2/24"`.
    private static func address(_ prefix: String) -> IPAddress? {
        let text = prefix.prefix { $0 != "/" }
        return IPAddress(String(text)).flatMap { $0.isLoopback ? nil : $0 }
    }

    /// As much of a file as matters.
    private struct File: Decodable {
        let kind: String?
        let ifName: String?
        let cniArgs: [[String]]?
        let result: Result?

        struct Result: Decodable {
            let interfaces: [Interface]?
            let ips: [Prefix]?
            /// Before version 0.3.0 of the specification.
            let ip4: OldPrefix?
            let ip6: OldPrefix?

            var prefixes: [String] {
                (ips ?? []).compactMap(\.address) + [ip4, ip6].compactMap { $0?.ip }
            }
        }

        struct Interface: Decodable {
            let name: String?
            let mac: String?
            /// Absent or empty on the node.
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
