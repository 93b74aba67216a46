import CaptureFiles
import Linux
import Logging
import Time

/// Captures that begin.
extension Collector {
    /// Counts the link's packets from now on.
    ///
    /// An agent that comes back is the same interface again.
    func count(_ link: AgentLink, _ now: MonotonicTime) {
        guard link.counters == nil, link.endReason == nil else { return }
        let decision = admission.beginCapture(link.peer.address, as: link.id) { id in
            self.link(numbered: id)?.activeAt ?? .zero
        }
        switch decision {
        case .refused(let reason): return link.end(reason)
        case .admitted(let evicted):
            self.link(numbered: evicted)?.end(
                "all places are taken, most by its network, and it was silent longest")
        }
        let counters: SourceCounters
        // A device is not forgotten while its packets wait.
        merge.countWaiting()
        do throws(Outputs.Failure) {
            counters = try outputs.makeCounters(
                named: link.interfaceName, description: link.interfaceDescription,
                linkType: link.linkType, now: now
            ) { counters in
                links.contains {
                    $0.endReason == nil && $0.closeReason == nil && $0.counters === counters
                }
            }
        } catch {
            failure = failure ?? error.fatal
            return link.end("\(error)")
        }
        guard !counters.rests(now: now) else { return link.end(AgentLink.restReason) }
        link.count(in: counters, now: now)
        counters.describe(agent: link.source?.description ?? link.host, device: link.device)
        outputs.announce(counters)
        for forgotten in outputs.takeForgotten() {
            view.summarize(forgotten.statistics(now: now), logger)
        }
        noteCapture(of: link, counters, now)
        warnOfLinkTypes(link, counters)
    }

    /// Warns if the file has packets of another link type than the link's.
    private func warnOfLinkTypes(_ link: AgentLink, _ counters: SourceCounters) {
        guard !outputs.refusesInFile(counters) else {
            return view.warn(
                "packets not recorded",
                [
                    "agent": "\(link.label)",
                    "link_type": "\(LinkTypeName.text(counters.linkType))",
                    "reason": "a pcap file has one link type, and this one has another",
                    "remedy": "--split-link-types, or --format pcapng",
                ], logger)
        }
        guard let other = outputs.otherLinkType(inFileOf: counters) else { return }
        view.warn(
            "a second link type in the file",
            [
                "agent": "\(link.label)",
                "link_type": "\(LinkTypeName.text(counters.linkType))",
                "first_link_type": "\(LinkTypeName.text(other))",
                "meaning": "tcpdump and Zeek cannot read the file, Wireshark can",
                "remedy": "--split-link-types gives each link type a file of its own",
            ], logger)
    }
}
