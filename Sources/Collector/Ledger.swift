/// What each agent has delivered, over all its sessions.
struct Ledger {
    private(set) var entries: [Entry] = []

    struct Entry {
        let name: String
        let interface: Int
        let start: UInt64
        var counts = InterfaceCounts()
        var byteCount: UInt64 = 0
    }

    func interface(named name: String) -> Int? {
        entries.first { $0.name == name }?.interface
    }

    mutating func add(_ name: String, _ interface: Int, at start: UInt64) {
        entries.append(Entry(name: name, interface: interface, start: start))
    }

    /// Adds what a session has brought; it has ended.
    mutating func close(_ link: AgentLink) {
        guard let index = entries.firstIndex(where: { $0.interface == link.interface }) else {
            return
        }
        entries[index].counts.received += link.counts.received
        entries[index].counts.droppedByInterface += link.counts.droppedByInterface
        entries[index].counts.droppedByKernel += link.counts.droppedByKernel
        entries[index].counts.delivered += link.counts.delivered
        entries[index].byteCount += link.byteCount
    }

    func rows(_ links: [AgentLink]) -> [[String]] {
        entries.map { entry in
            let dropped = entry.counts.droppedByKernel + entry.counts.droppedByInterface
            return [
                entry.name, "\(entry.counts.delivered)", Quantity.bytes(entry.byteCount),
                "\(dropped)",
            ]
        }
    }
}
