import Linux

/// The descriptors of all links, which the kernel watches from turn to turn.
///
/// A collector has thousands of links, of which few are ready at a time.
struct LinkWatch: ~Copyable {
    /// A link's control connection, or its data path.
    struct Key: PollerKey, Hashable {
        let link: Int
        let isData: Bool

        init(_ link: Int, isData: Bool) { (self.link, self.isData) = (link, isData) }

        init(pollerKey: UInt64) { self.init(Int(pollerKey >> 1), isData: pollerKey & 1 == 1) }

        var pollerKey: UInt64 { UInt64(link) << 1 | (isData ? 1 : 0) }
    }

    /// What the kernel watches under a key.
    private struct Watched: Equatable {
        let fileDescriptor: CInt
        let interest: Readiness
        /// The state of a data path: another one has another socket, perhaps with the same number.
        let state: DataPath.State?
    }

    private var poller: Poller<Key>
    private var watched: [Key: Watched] = [:]
    /// Links with bytes that the kernel does not know of, since TLS has read them.
    private var buffering: Set<Int> = []

    /// Watches nothing yet.
    init() throws(SystemError) { poller = try Poller() }

    /// Readable while a link is ready.
    var fileDescriptor: CInt { poller.fileDescriptor }

    /// Whether a link is ready of which the kernel does not know.
    var hasBuffering: Bool { !buffering.isEmpty }

    /// Watches what a link waits for now; to be called when that may have changed.
    mutating func refresh(_ link: AgentLink) throws(SystemError) {
        try set(Key(link.id, isData: false), link.controlRequest, state: nil)
        try set(Key(link.id, isData: true), link.dataRequest, state: link.path.state)
        if link.hasControlBytes || link.hasDataBytes {
            buffering.insert(link.id)
        } else {
            buffering.remove(link.id)
        }
    }

    private mutating func set(
        _ key: Key, _ request: (fileDescriptor: CInt, interest: Readiness),
        state: DataPath.State?
    ) throws(SystemError) {
        guard request.fileDescriptor >= 0 else { return end(key) }
        let wanted = Watched(
            fileDescriptor: request.fileDescriptor, interest: request.interest, state: state)
        guard watched[key] != wanted else { return }
        watched[key] = nil
        do throws(SystemError) {
            try poller.setInterest(of: wanted.fileDescriptor, as: key, to: wanted.interest)
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
            try poller.add(wanted.fileDescriptor, as: key, for: wanted.interest)
        }
        watched[key] = wanted
    }

    /// Watches a connection no longer.
    ///
    /// The socket of a control connection is open as long as its link is there. That of a data path is
    /// closed, and the kernel has forgotten it: its number may be another's.
    private mutating func end(_ key: Key) {
        guard let old = watched.removeValue(forKey: key), !key.isData else { return }
        try? poller.remove(old.fileDescriptor)
    }

    /// Watches a link no longer that is about to be closed.
    mutating func remove(_ link: AgentLink) {
        let key = Key(link.id, isData: true)
        if let old = watched[key], old.state == link.path.state,
            old.fileDescriptor == link.dataRequest.fileDescriptor
        {
            try? poller.remove(old.fileDescriptor)
        }
        end(key)
        end(Key(link.id, isData: false))
        buffering.remove(link.id)
    }

    /// Takes the links that are ready, some of them if there are many; does not wait.
    mutating func takeReady() throws(SystemError) -> Ready {
        var ready = Ready(links: buffering)
        let count = try poller.wait(milliseconds: 0)
        for index in 0..<count {
            let key = poller.key(at: index)
            ready.links.insert(key.link)
            ready.keys.insert(key)
        }
        return ready
    }

    /// Links that are ready.
    struct Ready {
        fileprivate(set) var links: Set<Int> = []
        fileprivate(set) var keys: Set<Key> = []
    }
}
