import Linux
import Logging
import Time

/// The names of pods, as agents say them.
extension Collector {
    /// Records the names that an agent has said, and tells the outputs.
    func takeNames(of link: AgentLink, _ now: MonotonicTime) {
        guard let pods = link.namedPods, let owner = link.counters?.name else { return }
        link.namedPods = nil
        let names = names.record(pods, of: link.host, owner, at: link.peer.address, now: now)
        if !names.isEmpty { outputs.add(names) }
    }

    /// Asks agents for names, and writes the inventory; to be called each second.
    func tickNames(_ now: MonotonicTime) {
        for link in links { link.askForDevices(now: now) }
        warn(names.tick(now: now))
    }

    /// Writes the inventory for the last time.
    func writeNames() { warn(names.write()) }

    private func warn(_ failure: SystemError?) {
        guard let failure else { return }
        view.warn("inventory not written", ["reason": "\(failure)"], logger)
    }
}
