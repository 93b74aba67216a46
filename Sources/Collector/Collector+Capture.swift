import CaptureFiles
import Linux
import Time

/// Captures that begin.
extension Collector {
    /// Has the agents of a host leave out each other's feed, as all of them may capture it.
    func excludeNewConnections(_ now: MonotonicTime) {
        guard knownVersion != connections.version, now >= nextExclusion else { return }
        (knownVersion, nextExclusion) = (connections.version, now + Self.tickInterval)
        let counts = Dictionary(links.map { ($0.peer.address, 1) }, uniquingKeysWith: +)
        for link in links where link.feed.isOutdated && counts[link.peer.address, default: 0] > 1 {
            link.excludeFeed(now: now)
        }
    }

    /// Counts the link's packets from now on.
    ///
    /// An agent that comes back is the same interface again.
    func count(_ link: AgentLink, _ now: MonotonicTime) {
        guard link.counters == nil, link.endReason == nil else { return }
        guard admission.beginCapture(link.peer.address, as: link.id) else {
            return link.end("there are \(Self.linkCountMax) agents")
        }
        let counters: SourceCounters
        do throws(Recording.Failure) {
            counters = try recording.makeCounters(
                named: link.interfaceName, description: link.interfaceDescription,
                linkType: link.linkType, now: now
            ) { counters in
                links.contains { $0.endReason == nil && $0.counters === counters }
            }
        } catch {
            if case .system(let error) = error { failure = error }
            return link.end("\(error)")
        }
        guard !counters.rests(now: now) else { return link.end(AgentLink.restReason) }
        link.count(in: counters, now: now)
        for forgotten in recording.takeForgotten() {
            view.summarize(forgotten.statistics(now: now), logger)
        }
        view.note(
            "capture started",
            ["agent": link.label, "device": link.device, "interface": counters.name], logger)
        warnOfLinkTypes(link, counters)
    }

    /// Warns if the file has packets of another link type than the link's.
    private func warnOfLinkTypes(_ link: AgentLink, _ counters: SourceCounters) {
        guard let other = recording.otherLinkType(inFileOf: counters) else { return }
        view.warn(
            "a second link type in the file",
            [
                "agent": link.label, "link-type": LinkTypeName.text(counters.linkType),
                "first-link-type": LinkTypeName.text(other),
                "meaning": "tcpdump and Zeek cannot read the file, Wireshark can",
                "remedy": "--split-link-types gives each link type a file of its own",
            ], logger)
    }
}
