import Addressing
import Netlink
import Observation

/// What the node's bridges have learned: which MAC address lives behind which port.
///
/// A bridge forgets an address that has been silent for five minutes, and floods frames to it then.
/// The address still lives where it did, so it is kept until it appears elsewhere, its port is gone,
/// or the room is needed.
struct ForwardingTable: Equatable, Sendable {
    private var entries: [Key: Entry] = [:]
    private var countOfPort: [UInt32: Count] = [:]
    /// The number of addresses that bridges know now.
    private var currentCount = 0
    /// The ports behind which more addresses were learned than are kept.
    ///
    /// A port is no longer one of them when there is room again.
    private(set) var crowdedPorts: Set<UInt32> = []
    /// The ports behind which something was learned since `takeChangedPorts`.
    private var changedPorts: Set<UInt32> = []
    /// The number of events so far.
    private(set) var changeCount = 0
    /// The number of addresses that were not kept for lack of room.
    private(set) var notKeptCount = 0

    /// The most addresses of one port.
    ///
    /// A pod can send from any number of addresses.
    static let countMaxPerPort = 512
    /// The most addresses of all bridges, of about 50 bytes each.
    static let countMax = 16_384
    /// The number of addresses that a port gives up at once when the table is full.
    static let countGivenUp = countMaxPerPort / 4

    private struct Count: Equatable, Sendable {
        var all = 0
        /// The number of addresses that the bridge knows now.
        var current = 0
    }

    private struct Key: Hashable, Sendable {
        let bridge: UInt32
        let mac: MACAddress
    }

    private struct Entry: Equatable, Sendable {
        var port: UInt32
        var isLocal: Bool
        /// Whether the bridge knows the address now.
        var isCurrent = true
        /// The number of the last change; 0 if the entry was listed.
        var change = 0
    }

    /// Applies an event.
    mutating func apply(_ event: ForwardingEvent) {
        changeCount += 1
        switch event {
        case .learned(let entry): learn(entry, change: changeCount)
        case .forgotten(let entry):
            let key = Key(bridge: entry.bridge, mac: entry.mac)
            guard entries[key]?.port == entry.port else { return }
            if entry.isLocal {
                remove(key)
            } else {
                entries[key]?.change = changeCount
                markForgotten(key)
            }
            relieve()
        }
    }

    /// Takes the ports behind which something was learned since the last call.
    mutating func takeChangedPorts() -> Set<UInt32> {
        defer { changedPorts = [] }
        return changedPorts
    }

    /// Takes over a listing, but for what events have said since it was asked for.
    mutating func apply(_ listing: BridgeListing) {
        // A port that is not listed to its end may have more addresses than the list.
        let whole = listing.ports.filter { !BridgeListing.isCut($0.value) }
        for (key, entry) in entries
        where entry.change <= listing.changeCount && whole[entry.port] != nil {
            markForgotten(key)
        }
        relieve()
        for entry in listing.ports.values.joined() {
            let key = Key(bridge: entry.bridge, mac: entry.mac)
            guard entries[key].map({ $0.change <= listing.changeCount }) ?? true else { continue }
            learn(entry, change: 0)
        }
    }

    /// Removes what was learned behind a port that is gone, or no port any more.
    mutating func removePort(_ port: UInt32) {
        crowdedPorts.remove(port)
        guard countOfPort[port] != nil else { return }
        for (key, entry) in entries where entry.port == port { remove(key) }
        relieve()
    }

    private mutating func learn(_ entry: ForwardingEntry, change: Int) {
        let key = Key(bridge: entry.bridge, mac: entry.mac)
        let new = Entry(port: entry.port, isLocal: entry.isLocal, change: change)
        var isSame = false
        if let old = entries[key] {
            if old == new { return }
            isSame = old.port == new.port && old.isLocal == new.isLocal && old.isCurrent
            remove(key)
        }
        makeRoom(at: entry.port)
        guard entries.count < Self.countMax,
            countOfPort[entry.port, default: Count()].all < Self.countMaxPerPort || entry.isLocal
        else {
            crowdedPorts.insert(entry.port)
            notKeptCount += 1
            return
        }
        entries[key] = new
        if !isSame { changedPorts.insert(entry.port) }
        countOfPort[entry.port, default: Count()].all += 1
        countOfPort[entry.port, default: Count()].current += 1
        currentCount += 1
    }

    /// Makes room for an address of a port.
    ///
    /// What bridges have forgotten themselves goes first. If all ports together know too much, the
    /// one that knows most gives some up: a port that knows little must not suffer from others.
    private mutating func makeRoom(at port: UInt32) {
        let count = countOfPort[port, default: Count()]
        if count.all >= Self.countMaxPerPort, count.current < count.all {
            for (key, entry) in entries where !entry.isCurrent && entry.port == port { remove(key) }
        }
        guard entries.count >= Self.countMax else { return }
        if currentCount < entries.count {
            for (key, entry) in entries where !entry.isCurrent { remove(key) }
        }
        guard entries.count >= Self.countMax,
            let most = countOfPort.max(by: { $0.value.all < $1.value.all }), most.key != port
        else { return }
        crowdedPorts.insert(most.key)
        // Some at once, since looking for them takes time.
        let victims = entries.lazy.filter { $0.value.port == most.key && !$0.value.isLocal }
            .prefix(Self.countGivenUp).map(\.key)
        for key in Array(victims) {
            remove(key)
            notKeptCount += 1
        }
    }

    /// Takes ports for crowded no longer that know little by now.
    private mutating func relieve() {
        guard !crowdedPorts.isEmpty, currentCount < Self.countMax - Self.countMax / 4 else {
            return
        }
        crowdedPorts = crowdedPorts.filter { port in
            countOfPort[port, default: Count()].current >= Self.countMaxPerPort / 2
        }
    }

    private mutating func markForgotten(_ key: Key) {
        guard let entry = entries[key], entry.isCurrent else { return }
        entries[key]?.isCurrent = false
        countOfPort[entry.port]?.current -= 1
        currentCount -= 1
    }

    private mutating func remove(_ key: Key) {
        markForgotten(key)
        guard let old = entries.removeValue(forKey: key) else { return }
        countOfPort[old.port]?.all -= 1
        if countOfPort[old.port]?.all == 0 { countOfPort[old.port] = nil }
    }

    /// Adds to a table what bridges know, or what they have known.
    ///
    /// - Parameters:
    ///   - table: The table.
    ///   - isCurrent: Whether what they know now is added, or the rest.
    ///   - isPort: Whether an interface is a port of a bridge.
    ///   - isEdge: Whether a port is an edge.
    func add(
        to table: inout MACTable, isCurrent: Bool, isPort: (UInt32, UInt32) -> Bool,
        isEdge: (UInt32) -> Bool
    ) {
        for (key, entry) in entries where entry.isCurrent == isCurrent {
            guard entry.port == key.bridge || isPort(entry.port, key.bridge) else { continue }
            let place: MACTable.Place =
                !entry.isLocal && isEdge(entry.port) ? .edge(entry.port) : .elsewhere
            table.add(key.mac, on: key.bridge, at: place)
        }
    }
}
