import Linux

/// What a collector's poll loop waits for: a few descriptors of its own, two of each link, and one
/// of each source that is being dialled; in this order.
struct PollSet {
    private var requests: [(fileDescriptor: CInt, interest: Readiness)] = []
    private let ownCount: Int
    private let linkCount: Int
    /// Places that have something to read already, whatever poll says.
    private var buffered: [Int] = []

    /// What was found ready, in the places where it was asked for.
    struct Ready {
        fileprivate let states: [Readiness]
        fileprivate let ownCount: Int
        /// Links that have come since stand behind these.
        let linkCount: Int

        func own(_ index: Int) -> Bool { states[index].contains(.readable) }

        /// The control connection and the data path of a link.
        func link(_ index: Int) -> (control: Readiness, data: Readiness) {
            let base = ownCount + index * 2
            return (states[base], states[base + 1])
        }

        func dialer(_ index: Int) -> Bool { !states[ownCount + linkCount * 2 + index].isEmpty }
    }

    /// Descriptors that are negative are passed over.
    init(own: [CInt], _ links: [AgentLink], _ dialers: [SourceDialer]) {
        (ownCount, linkCount) = (own.count, links.count)
        requests.reserveCapacity(own.count + links.count * 2 + dialers.count)
        for number in own { requests.append((number, .readable)) }
        for link in links {
            if link.hasControlBytes { buffered.append(requests.count) }
            if link.path.hasBytes { buffered.append(requests.count + 1) }
            requests.append((link.controlNumber, link.controlInterest))
            requests.append((link.path.number, link.path.interest))
        }
        for dialer in dialers { requests.append((dialer.number, dialer.interest)) }
    }

    func wait(milliseconds: CInt) throws(SystemError) -> Ready {
        var states = try poll(requests, milliseconds: buffered.isEmpty ? milliseconds : 0)
        for place in buffered { states[place].insert(.readable) }
        return Ready(states: states, ownCount: ownCount, linkCount: linkCount)
    }
}
