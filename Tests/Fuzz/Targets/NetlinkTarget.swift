import Addressing
import Netlink

/// Messages of the kernel's netlink, each read as everything that it might be.
enum NetlinkTarget {
    static let target = FuzzTarget(
        "netlink", "netlink messages: links, addresses, routes, neighbours, flows",
        byteCountMax: 8192, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var (offset, routeCount) = (0, 0)
        while let message = NetlinkMessage(bytes.wire, at: offset) {
            try require(message.alignedByteCount > 0, "a message that has no length")
            offset += message.alignedByteCount
            if let link = Link(message) { try require(link.index > 0, "\(link)") }
            if let address = InterfaceAddress(message) {
                try require(IPAddress("\(address.address)") == address.address, "\(address)")
            }
            let routes = Route.routes(in: message)
            let all = Route.routes(in: message, ofAnyTable: true)
            try require(routes.isEmpty || routes == all, "\(routes), and \(all)")
            routeCount += all.count
            for route in all {
                let bitCount = route.destination.family.bitCount
                try require(route.destination.prefixBitCount <= bitCount, "\(route)")
            }
            if let event = ForwardingEvent(message) { try check(event, ForwardingEntry(message)) }
            if let flow = TrackedFlow(message) {
                let families = Set([
                    flow.original.source.family, flow.original.destination.family,
                    flow.reply.source.family, flow.reply.destination.family,
                ])
                try require(families.count == 1, "\(flow)")
            }
            _ = LinkCounters(message)
        }
        // Each message has a header of 16 bytes, and each next hop one of 8.
        try require(routeCount <= 1 + bytes.count / 8, "\(routeCount) routes")
    }

    private static func check(
        _ event: ForwardingEvent, _ entry: ForwardingEntry?
    ) throws(BrokenLaw) {
        switch event {
        case .learned(let learned): try require(learned == entry && learned.port > 0, "\(learned)")
        case .forgotten(let gone): try require(gone == entry, "\(gone)")
        }
    }
}
