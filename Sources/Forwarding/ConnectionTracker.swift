import Addressing
import Linux
import Netlink
import Observation
import Time

/// Tells the slow path which backends the node has chosen for calls to services and fronts.
///
/// The kernel's connection tracking knows, and where Cilium translates packet by packet, Cilium's tables.
/// It reads the events of new flows, lists the flows that exist when the capture begins, and looks up
/// the rest. After a loss of events it lists the calls to fronts again, part by part. It belongs to the
/// forwarder's thread. Its cost to that thread is bounded per second, since anybody can send packets to
/// service addresses that nobody knows.
struct ConnectionTracker: ~Copyable {
    private var events: ConntrackEvents
    private var table: Conntrack
    private let counters: CaptureCounters
    private var lookups = RateBound(countPerSecond: lookupCountPerSecondMax)
    /// The share of `lookups` that flows may take of which something is known already.
    private var renewals = RateBound(countPerSecond: lookupCountPerSecondMax / 2)
    private var cilium: CiliumTables?
    private var ciliumLookups = RateBound(countPerSecond: ciliumLookupCountPerSecondMax)
    /// The share of `ciliumLookups` that flows may take of which something is known already.
    private var ciliumRenewals = RateBound(countPerSecond: ciliumLookupCountPerSecondMax / 2)
    private var waits = RateBound(countPerSecond: waitCountPerSecondMax)
    /// When events are read next before a block.
    private var listensAt = MonotonicTime.zero
    private let clients: [IPNetwork]
    /// The listing of calls to fronts that is under way.
    private var listing: ConntrackListing?
    /// Whether events were lost since the last listing began.
    private var mustList = false
    /// When the next listing may begin.
    private var listsAt = MonotonicTime.zero
    /// When the next part of the listing is read.
    private var readsPartAt = MonotonicTime.zero

    /// The least time between two reads of events before blocks.
    ///
    /// Each is a system call. Under load blocks come faster, and the first call to a front that began
    /// since the last read may come in both forms, until the next one.
    private static let listenInterval = Duration.microseconds(100)
    /// The most lookups in a second: each takes the kernel about 5 µs, together a hundredth of a CPU.
    private static let lookupCountPerSecondMax = 2000
    /// The most lookups in Cilium's tables in a second: each takes 2 µs, together a sixteenth of a CPU.
    ///
    /// No events come from there. So each new flow is looked up.
    private static let ciliumLookupCountPerSecondMax = 32_000
    /// The most waits for a flow's entry in a second.
    ///
    /// A packet can be here a moment before its flow is in the table. Most flows without an entry
    /// never get one.
    private static let waitCountPerSecondMax = 20
    private static let waitMax = Duration.milliseconds(1)
    /// The least time between the beginnings of two listings, however often events are lost.
    private static let listingInterval = Duration.seconds(5)
    /// The time between two parts of a listing, which take 0.1 ms each: a twentieth of a CPU.
    private static let partInterval = Duration.milliseconds(2)

    /// Begins to listen, and then tells the slow path which flows exist.
    init(
        of plan: AddressPlan, ciliumFolder: String?, slowPath: inout SlowPath,
        counters: CaptureCounters, now: MonotonicTime
    ) throws(SystemError) {
        // In this order, or a flow that begins in between would be missed.
        let wanted = WantedFlows(
            towards: plan.serviceNetworks, throughFrontsFrom: plan.podNetworks)
        let events = try ConntrackEvents(wanted)
        let table = try Conntrack()
        var listing = try ConntrackListing(wanted)
        var room = ListingRoom()
        while try listing.readPart({ slowPath.learn(listed: $0, &room, now: now) }) {}
        self.events = events
        self.table = table
        self.counters = counters
        clients = plan.podNetworks
        if let ciliumFolder, !plan.serviceNetworks.isEmpty {
            cilium = .some(CiliumTables(in: ciliumFolder))
        }
    }

    /// Looks at Cilium's pins, unless that was done a moment ago.
    ///
    /// - Returns: The families whose tables have another state now, with that.
    mutating func refreshCilium(now: MonotonicTime) -> [(IPAddress.Family, CiliumTables.State)] {
        cilium?.refresh(now: now) ?? []
    }

    /// Reads the events of new flows, if that was not done a moment ago.
    ///
    /// This comes before each block of packets: the first call to a front is known by its event alone.
    mutating func listen(for slowPath: inout SlowPath, now: MonotonicTime) {
        guard now >= listensAt else { return }
        listensAt = now + Self.listenInterval
        readEvents(for: &slowPath, now: now)
        if mustList || listing != nil { listFronts(for: &slowPath, now: now) }
    }

    /// How often `listen` must be called even if no packet comes; nil if that does not matter.
    var interval: Duration? { listing == nil ? nil : Self.partInterval }

    private mutating func readEvents(for slowPath: inout SlowPath, now: MonotonicTime) {
        let isComplete = try? events.read { slowPath.learn($0, now: now) }
        guard isComplete != true else { return }
        // Flows whose events were lost are looked up when their packets come. But those through fronts
        // that are not known are not: nothing shows that they are translated.
        counters.add(1, to: .conntrackOverruns)
        slowPath.invalidate(before: now)
        mustList = true
    }

    /// Learns fronts whose events were lost: reads one part of a listing, and begins one if it is due.
    private mutating func listFronts(for slowPath: inout SlowPath, now: MonotonicTime) {
        guard now >= readsPartAt, listing != nil || now >= listsAt else { return }
        readsPartAt = now + Self.partInterval
        do throws(SystemError) {
            if listing == nil {
                (listsAt, mustList) = (now + Self.listingInterval, false)
                listing = try ConntrackListing(WantedFlows(towards: [], throughFrontsFrom: clients))
            }
            let hasMore = try listing?.readPart { slowPath.learnFront(of: $0, now: now) }
            guard hasMore != true else { return }
            counters.add(1, to: .conntrackListings)
        } catch {
            counters.add(1, to: .lookupFailures)
            mustList = true
        }
        listing = nil
    }

    /// Finds the flow that the slow path needs, which takes at most a millisecond.
    mutating func lookUp(_ flow: FlowKey, for slowPath: inout SlowPath, now: MonotonicTime) {
        let isKnown = slowPath.knows(flow, now: now)
        // Where Cilium translates no event tells of the flow, so none is read first.
        var answer = askCilium(for: flow, isKnown: isKnown, slowPath, now)
        if case .foundWithoutEvents? = answer {
            return slowPath.learn(answer ?? .notFound, about: flow, now: now)
        }
        readEvents(for: &slowPath, now: now)
        if slowPath.isCurrent(flow, now: now) { return }
        guard !isKnown || renewals.take(now) else {
            counters.add(1, to: .lookupsSkipped)
            return slowPath.learn(.notAsked, about: flow, now: now)
        }
        var result = ask(for: flow, now)
        if result == .notFound, waits.take(now) {
            _ = try? poll(
                [(events.fileDescriptor, .readable)], until: .now + Self.waitMax)
            readEvents(for: &slowPath, now: now)
            if slowPath.isCurrent(flow, now: now) { return }
            answer = askCilium(for: flow, isKnown: isKnown, slowPath, now)
            if case .foundWithoutEvents? = answer {
                return slowPath.learn(answer ?? .notFound, about: flow, now: now)
            }
            result = ask(for: flow, now)
        }
        if result == .notFound, answer == .notAsked { result = .notAsked }
        slowPath.learn(result, about: flow, now: now)
    }

    /// Asks Cilium's tables for the backend of a call to a service.
    ///
    /// - Returns: nil if there are no tables that could have it.
    private mutating func askCilium(
        for call: FlowKey, isKnown: Bool, _ slowPath: borrowing SlowPath, _ now: MonotonicTime
    ) -> LookupResult? {
        guard cilium?.canAnswer(about: call) == true,
            slowPath.rule.addressPlan.isService(call.destination),
            !isKnown || !slowPath.isCurrent(call, now: now)
        else { return nil }
        guard !isKnown || ciliumRenewals.take(now), ciliumLookups.take(now) else {
            counters.add(1, to: .ciliumLookupsSkipped)
            return .notAsked
        }
        counters.add(1, to: .ciliumLookups)
        do throws(SystemError) {
            return try (cilium?.flow(of: call, now: now) ?? nil).map { .foundWithoutEvents($0) }
                ?? .notFound
        } catch {
            counters.add(1, to: .ciliumLookupFailures)
            return .notAsked
        }
    }

    private mutating func ask(for flow: FlowKey, _ now: MonotonicTime) -> LookupResult {
        guard lookups.take(now) else {
            counters.add(1, to: .lookupsSkipped)
            return .notAsked
        }
        counters.add(1, to: .lookups)
        do throws(SystemError) {
            return try table.flow(flow).map { .tracked($0) } ?? .notFound
        } catch {
            counters.add(1, to: .lookupFailures)
            return .notAsked
        }
    }
}

/// A bound on how often something is done in each second of the clock.
private struct RateBound {
    private let countPerSecond: Int
    private var takenCount = 0
    private var second: UInt64 = 0

    init(countPerSecond: Int) { self.countPerSecond = countPerSecond }

    /// Takes one of the times that are left in this second.
    ///
    /// - Returns: False if none is left.
    mutating func take(_ now: MonotonicTime) -> Bool {
        let second = now.nanoseconds / 1_000_000_000
        if second != self.second { (self.second, takenCount) = (second, 0) }
        guard takenCount < countPerSecond else { return false }
        takenCount += 1
        return true
    }
}
