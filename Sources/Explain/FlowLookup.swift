package import Addressing
import Forwarding
import Linux
import Netlink
import Time

/// Looks tracked connections up: in Cilium's tables and the kernel, or in a list.
package struct FlowLookup: ~Copyable {
    private var kernel: Conntrack?
    private var cilium: CiliumTables?
    private let list: [TrackedFlow]?

    /// A lookup in a list.
    package init(_ flows: [TrackedFlow]) {
        list = flows
        kernel = nil
        cilium = nil
    }

    /// A lookup in the kernel, which needs CAP_NET_ADMIN; without it the lookup is unavailable.
    ///
    /// - Parameter ciliumFolder: Where Cilium pins its tables; nil if they are not to be asked.
    init(ciliumFolder: String?) {
        list = nil
        kernel = try? Conntrack()
        cilium = nil
        guard let ciliumFolder else { return }
        var tables = CiliumTables(in: ciliumFolder)
        _ = tables.refresh(now: .now)
        cilium = .some(tables)
    }

    /// Whether lookups are possible.
    var isAvailable: Bool {
        switch kernel {
        case .some: true
        case nil: list != nil
        }
    }

    /// The flow that has these addresses and ports in one of its directions, or nil.
    mutating func flow(_ key: FlowKey) throws(SystemError) -> TrackedFlow? {
        if let list { return list.first { $0.original == key || $0.reply == key } }
        if cilium?.canAnswer(about: key) == true {
            let flow = try cilium?.flow(of: key, now: .now) ?? nil
            if let flow { return flow }
        }
        return try kernel?.flow(key) ?? nil
    }
}
