package import Addressing
import Cilium
package import Linux
import Packets
package import Time

/// The tables of Cilium on this node, in which the backends of calls to services are looked up.
///
/// Cilium may come, go, and replace its tables while the agent runs. So the pins are looked at now and
/// then; a table that is open and has no pin any more is a dead one.
package struct CiliumTables: ~Copyable {
    private let folder: String
    private var ipv4 = CiliumFamily(.ipv4)
    private var ipv6 = CiliumFamily(.ipv6)
    private var looksAt = MonotonicTime.zero

    /// What is the case with the tables of one family.
    package enum State: Equatable, Sendable {
        /// There are no pins: Cilium does not run here, or its folder is not visible.
        case absent
        case inUse
        /// There are pins, which cannot be used; why, and what to do.
        case refused(reason: String, remedy: String)
    }

    /// How often the pins are looked at, which takes a few microseconds.
    static let lookInterval = Duration.seconds(30)

    /// Tables whose pins are in this folder, none of which is open yet.
    package init(in folder: String) {
        self.folder = folder
    }

    /// The state of a family's tables.
    package func state(of family: IPAddress.Family) -> State {
        family == .ipv4 ? ipv4.state : ipv6.state
    }

    /// Looks at the pins, unless that was done a moment ago.
    ///
    /// - Returns: The families whose state is another one now, with that.
    package mutating func refresh(now: MonotonicTime) -> [(IPAddress.Family, State)] {
        guard now >= looksAt else { return [] }
        looksAt = now + Self.lookInterval
        return [
            ipv4.refresh(in: folder) ? (.ipv4, ipv4.state) : nil,
            ipv6.refresh(in: folder) ? (.ipv6, ipv6.state) : nil,
        ].compactMap { $0 }
    }

    /// Whether a call can be looked up: Cilium's programs translate what has ports.
    package func canAnswer(about call: FlowKey) -> Bool {
        state(of: call.source.family) == .inUse && IPProtocol.hasPorts(call.transport)
    }

    /// Looks up which backend a call to a service got, in one or two microseconds.
    ///
    /// - Returns: nil if no backend is known.
    package mutating func flow(
        of call: FlowKey, now: MonotonicTime
    ) throws(SystemError) -> TrackedFlow? {
        call.source.family == .ipv4 ? try ipv4.flow(of: call, now) : try ipv6.flow(of: call, now)
    }
}

/// The tables of one family.
private struct CiliumFamily: ~Copyable {
    private let family: IPAddress.Family
    private(set) var state = CiliumTables.State.absent
    private var maps: CiliumMaps?
    /// The pins that were found last, with what a file there is known by.
    private var stamps: [FileStamp?] = []
    /// The backends that were looked up a moment ago, so that a call takes one system call.
    ///
    /// Cilium gives the number of a backend that is gone to another one much later.
    private var known: [UInt32: CiliumBackend] = [:]
    private var forgetsAt = MonotonicTime.zero
    private var key: [UInt8] = []
    private var value = [UInt8](repeating: 0, count: 64)

    private static let knownAge = Duration.seconds(1)
    private static let knownCountMax = 1024

    init(_ family: IPAddress.Family) {
        self.family = family
        key.reserveCapacity(40)
    }

    /// Looks at the pins, and opens what is there anew if they have changed.
    ///
    /// Tables that were refused are tried again each time.
    ///
    /// - Returns: Whether the state is another one now.
    mutating func refresh(in folder: String) -> Bool {
        let before = state
        do throws(PinnedMap.Failure) {
            let current = try stamps(in: folder)
            guard current != stamps || state != .inUse else { return false }
            stamps = current
            maps = nil
            known.removeAll()
            guard current.contains(where: { $0 != nil }) else {
                state = .absent
                return state != before
            }
            maps = .some(try CiliumMaps(family, in: folder))
            state = .inUse
        } catch {
            maps = nil
            state = .refused(reason: "\(error)", remedy: error.remedy)
        }
        return state != before
    }

    private func stamps(in folder: String) throws(PinnedMap.Failure) -> [FileStamp?] {
        var stamps: [FileStamp?] = []
        for table in CiliumTable.all(of: family) {
            do throws(SystemError) {
                stamps.append(try FileStamp(of: "\(folder)/\(table.name)"))
            } catch {
                guard error.errno == .noSuchFileOrDirectory else { throw .system(error) }
                stamps.append(nil)
            }
        }
        return stamps
    }

    mutating func flow(of call: FlowKey, _ now: MonotonicTime) throws(SystemError) -> TrackedFlow? {
        guard let number = try maps?.backendNumber(of: call, &key, &value) ?? nil else {
            return nil
        }
        if now >= forgetsAt || known.count >= Self.knownCountMax {
            forgetsAt = now + Self.knownAge
            known.removeAll(keepingCapacity: true)
        }
        if let backend = known[number] { return CiliumCall.flow(of: call, to: backend) }
        guard let backend = try maps?.backend(number, family, &key, &value) ?? nil else {
            return nil
        }
        known[number] = backend
        return CiliumCall.flow(of: call, to: backend)
    }
}

/// The open tables of one family.
private struct CiliumMaps: ~Copyable {
    let tcp: PinnedMap
    let others: PinnedMap
    let backends: PinnedMap

    init(_ family: IPAddress.Family, in folder: String) throws(PinnedMap.Failure) {
        func open(_ content: CiliumTable.Content) throws(PinnedMap.Failure) -> PinnedMap {
            let table = CiliumTable(family, content)
            return try PinnedMap(
                "\(folder)/\(table.name)", keyByteCount: table.keyByteCount,
                valueByteCount: table.valueByteCount)
        }
        let tcp = try open(.tcpConnections)
        let others = try open(.otherConnections)
        let backends = try open(.backends)
        self.tcp = tcp
        self.others = others
        self.backends = backends
    }

    /// Looks up the number of a call's backend; key and value are scratch memory.
    func backendNumber(
        of call: FlowKey, _ key: inout [UInt8], _ value: inout [UInt8]
    ) throws(SystemError) -> UInt32? {
        CiliumCall.writeKey(of: call, to: &key)
        let isFound =
            call.transport == IPProtocol.tcp
            ? try tcp.lookUp(key, into: &value) : try others.lookUp(key, into: &value)
        guard isFound else { return nil }
        return CiliumCall.backendNumber(in: value.wire.extracting(0..<tcp.valueByteCount))
    }

    /// Looks a backend up.
    func backend(
        _ number: UInt32, _ family: IPAddress.Family, _ key: inout [UInt8], _ value: inout [UInt8]
    ) throws(SystemError) -> CiliumBackend? {
        CiliumCall.writeKey(ofBackend: number, to: &key)
        guard try backends.lookUp(key, into: &value) else { return nil }
        return CiliumBackend(
            family, in: value.wire.extracting(0..<backends.valueByteCount))
    }
}

extension PinnedMap.Failure {
    /// What to do about it.
    fileprivate var remedy: String {
        switch self {
        case .system(let error) where error.errno == .notPermitted:
            "\(MissingCapability(.bpf)), or take k8s/components/cilium-services"
        case .system(let error) where error.errno == .noSuchFileOrDirectory:
            """
            this version of Cilium is not known: its tables were read as 1.13 to 1.18 have them; \
            --services untracked leaves out what is not explained
            """
        case .system:
            "mount /sys/fs/bpf of the node, as k8s/components/cilium-services does"
        case .otherShape:
            """
            this version of Cilium is not known: tell podwire's makers; --services untracked leaves \
            out what is not explained
            """
        }
    }
}
