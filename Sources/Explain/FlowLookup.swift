package import Addressing
import Linux
import Netlink

/// Looks tracked connections up: in the kernel, or in a list.
package struct FlowLookup: ~Copyable {
    private var kernel: Conntrack?
    private let list: [TrackedFlow]?

    /// A lookup in a list.
    package init(_ flows: [TrackedFlow]) {
        list = flows
        kernel = nil
    }

    /// A lookup in the kernel, which needs CAP_NET_ADMIN; without it the lookup is unavailable.
    init() {
        list = nil
        kernel = try? Conntrack()
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
        return try kernel?.flow(key) ?? nil
    }
}
