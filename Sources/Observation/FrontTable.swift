package import Addressing
import Packets
import Time

/// The fronts that user space has learned about: what this node translates to pods beside services.
///
/// A front is an address, a protocol and a port outside the service networks, behind which connection
/// tracking has found a pod that sees its client as it is: a node port with
/// `externalTrafficPolicy: Local`, a host port, a load balancer's address or an external one. Calls to
/// it pass two edges in two forms. An entry stays for as long as there is room: a call may be silent for
/// hours, and nothing would tell of it again.
package struct FrontTable: Sendable {
    private var fronts: [ServiceKey: Front] = [:]
    /// The number of fronts of each address.
    private var addressCounts: [IPAddress: Int] = [:]
    /// Increases whenever another set of fronts is known.
    package private(set) var changeCount = 0
    /// The number of calls whose front found no room, so that they are reported in both forms.
    package private(set) var notLearnedCount: UInt64 = 0

    /// More fronts than the pods of one node call in most clusters.
    ///
    /// Each takes about ten instructions of a program.
    package static let countMax = 128
    /// The most ports of one address that are told apart.
    ///
    /// If there are more, all packets with the address go through user space: an address may be
    /// translated as a whole, and a pod that scans its ports must not fill the table.
    package static let portCountMax = 64
    /// The time without a packet after which a front may give its room to another one.
    static let idleTime = Duration.seconds(3600)

    private struct Front: Sendable {
        /// Whether the backend's edge is sure to report when the backend's port is the lower one.
        var isPodBacked: Bool
        var highestPort: UInt16
        var usedAt: MonotonicTime
    }

    package init() {}

    /// The fronts, for programs.
    ///
    /// One whose protocol and port are 0 stands for its whole address.
    package var keys: Set<ServiceKey> { Set(fronts.keys) }

    /// Stores what a tracked flow shows about the front that it goes to.
    ///
    /// - Returns: Whether it goes to a front.
    mutating func learn(_ flow: TrackedFlow, _ plan: AddressPlan, now: MonotonicTime) -> Bool {
        let key = ServiceKey(front: flow.original)
        let isThroughFront = Self.front(of: flow, plan) != nil
        if let known = entry(of: key) {
            touch(known, flow, isThroughFront: isThroughFront, now)
            return true
        }
        guard isThroughFront else { return false }
        guard makeRoom(for: key.address, now) else {
            notLearnedCount += 1
            return false
        }
        let isWhole = addressCounts[key.address, default: 0] >= Self.portCountMax
        if isWhole { forget { $0.address == key.address } }
        insert(isWhole ? ServiceKey(wholeAddress: key.address) : key, flow, now)
        return true
    }

    private mutating func insert(_ key: ServiceKey, _ flow: TrackedFlow, _ now: MonotonicTime) {
        fronts[key] = Front(
            isPodBacked: Self.isPodBacked(flow) && !key.isWholeAddress,
            highestPort: flow.reply.sourcePort, usedAt: now)
        addressCounts[key.address, default: 0] += 1
        changeCount += 1
    }

    private mutating func touch(
        _ key: ServiceKey, _ flow: TrackedFlow, isThroughFront: Bool, _ now: MonotonicTime
    ) {
        guard var front = fronts[key] else { return }
        front.isPodBacked = front.isPodBacked && isThroughFront && Self.isPodBacked(flow)
        front.highestPort = max(front.highestPort, flow.reply.sourcePort)
        front.usedAt = now
        fronts[key] = front
    }

    /// Whether the backend's edge sees the client and its port as they are, and is not the client's.
    private static func isPodBacked(_ flow: TrackedFlow) -> Bool {
        !flow.isPortChanged && flow.original.source != flow.reply.source
    }

    /// The front that a pod calls, if it is neither a pod nor a service, and a pod answers.
    package static func front(of flow: TrackedFlow, _ plan: AddressPlan) -> ServiceKey? {
        let called = flow.original.destination
        guard flow.isThroughFront, plan.isPod(flow.original.source),
            plan.isPod(flow.reply.source), !plan.isPod(called), !plan.isService(called)
        else { return nil }
        return ServiceKey(front: flow.original)
    }

    /// Makes room for one more front, at the expense of the one that has been idle for longest.
    ///
    /// - Returns: False if all are in use.
    private mutating func makeRoom(for address: IPAddress, _ now: MonotonicTime) -> Bool {
        guard fronts.count >= Self.countMax,
            addressCounts[address, default: 0] < Self.portCountMax
        else { return true }
        guard let idlest = fronts.min(by: { $0.value.usedAt < $1.value.usedAt }),
            now - idlest.value.usedAt >= Self.idleTime
        else { return false }
        forget { $0 == idlest.key }
        return true
    }

    private mutating func forget(where isForgotten: (ServiceKey) -> Bool) {
        for key in fronts.keys.filter(isForgotten) {
            fronts[key] = nil
            let count = addressCounts[key.address, default: 0] - 1
            addressCounts[key.address] = count > 0 ? count : nil
        }
        changeCount += 1
    }

    /// The key by which a front is stored: its own, or that of its whole address.
    private func entry(of key: ServiceKey) -> ServiceKey? {
        if fronts.isEmpty { return nil }
        if fronts[key] != nil { return key }
        let whole = ServiceKey(wholeAddress: key.address)
        return fronts[whole] != nil ? whole : nil
    }
}

/// Packets of calls to fronts.
extension FrontTable {
    /// The call to a front that a packet belongs to, which has the address of one.
    ///
    /// - Parameters:
    ///   - flow: The packet's flow; for an ICMP error, the quoted one, reversed.
    ///   - packet: The packet itself.
    ///   - direction: The direction at the edge: a front is called by the pod, and answers to it.
    /// - Returns: The call, from the client to the front; nil if there is none.
    func call(_ flow: FlowKey, _ packet: IPPacket, _ direction: Direction) -> FlowKey? {
        let call = direction == .fromPod ? flow : flow.reversed
        guard call.destination == Self.called(by: packet, direction) else { return nil }
        // What has no ports may be of any front of the address.
        let hasPorts = IPProtocol.hasPorts(call.transport)
        return !hasPorts || entry(of: ServiceKey(front: call)) != nil ? call : nil
    }

    /// Whether the end of a packet that a pod may call is the address of a front.
    func hasAddress(calledBy packet: IPPacket, _ direction: Direction) -> Bool {
        !fronts.isEmpty && addressCounts[Self.called(by: packet, direction)] != nil
    }

    private static func called(by packet: IPPacket, _ direction: Direction) -> IPAddress {
        direction == .fromPod ? packet.destination : packet.source
    }

    /// Whether an end of a packet is the address of a front.
    func hasAddress(of packet: IPPacket) -> Bool {
        !fronts.isEmpty
            && (addressCounts[packet.source] != nil || addressCounts[packet.destination] != nil)
    }

    /// Returns the highest backend port of the front of a call, and marks the front as used.
    ///
    /// - Returns: nil if the front is not known, or has more than pods behind it.
    mutating func touchHighestBackendPort(of call: FlowKey, now: MonotonicTime) -> UInt16? {
        guard let key = entry(of: ServiceKey(front: call)), var front = fronts[key] else {
            return nil
        }
        front.usedAt = now
        fronts[key] = front
        return front.isPodBacked ? front.highestPort : nil
    }
}

extension ServiceKey {
    /// Takes the front from a call to it; the port is 0 if the protocol has none.
    fileprivate init(front call: FlowKey) {
        self.init(
            transport: call.transport, address: call.destination,
            port: IPProtocol.hasPorts(call.transport) ? call.destinationPort : 0)
    }

    fileprivate init(wholeAddress address: IPAddress) {
        self.init(transport: 0, address: address, port: 0)
    }

    /// Whether the key stands for all ports of all protocols of its address.
    var isWholeAddress: Bool { transport == 0 && port == 0 }
}

/// The fronts in a form that is read for each frame.
///
/// A frame with other addresses costs two tests of a bit. One whose address has the same last six bits
/// costs a short search.
struct FrontFilter: Sendable {
    private(set) var bits = AddressBits()
    private var addresses = AddressTable([:])
    private var keys: Set<ServiceKey> = []

    init() {}

    init(_ keys: Set<ServiceKey>) {
        self.keys = keys
        for key in keys { bits.insert(key.address.low) }
        addresses = AddressTable(
            Dictionary(keys.map { ($0.address, $0.isWholeAddress ? 1 : 0) }) { max($0, $1) })
    }

    func containsAddress(_ address: IPAddress) -> Bool { addresses[address] != nil }

    /// Whether an end of a packet with ports is a front.
    func contains(_ address: IPAddress, _ transport: UInt8, _ port: UInt16) -> Bool {
        guard let isWhole = addresses[address] else { return false }
        return isWhole == 1
            || keys.contains(ServiceKey(transport: transport, address: address, port: port))
    }
}
