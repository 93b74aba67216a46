package import Linux

extension Settings {
    /// The first port that every program may listen at (`net.ipv4.ip_unprivileged_port_start`).
    private static let openPortMin: UInt16 = 1024

    /// The capabilities that an agent with these settings can use; it gives up all others.
    ///
    /// What a file needs that belongs to another user stays for as long as the agent runs, since files
    /// are read again when they change. What a port needs stays, since a port that is taken is tried
    /// again. An agent does without those that it was not given.
    package var capabilities: Set<Capability> {
        var needed: Set<Capability> = [.netRaw, .netAdmin, .netBroadcast, .bpf]
        if capture.placement.niceness != nil { needed.insert(.sysNice) }
        if ports.contains(where: { $0 < Self.openPortMin }) { needed.insert(.netBindService) }
        if readsGivenFiles {
            // Runtimes differ in which of the two they grant.
            needed.insert(Capability.dacReadSearch.isHeld ? .dacReadSearch : .dacOverride)
        }
        return needed
    }

    /// The lowest ports at which the agent listens, or from which it sends.
    private var ports: [UInt16] {
        http.map(\.port) + [passive?.listen.port, dataPorts?.lowerBound].compactMap { $0 }
    }

    /// Whether settings name files and folders, which may be anybody's; those that are the standard are root's.
    private var readsGivenFiles: Bool {
        passive?.passwordFile != nil || tls != nil || capture.selection.filterFile != nil
            || Self.isGiven(nameFolder, .cniCache)
            || Self.isGiven(capture.ciliumFolder, .ciliumTables)
    }

    private static func isGiven(_ folder: String?, _ setting: Setting) -> Bool {
        guard let folder else { return false }
        return setting.standard != .value(folder)
    }
}
