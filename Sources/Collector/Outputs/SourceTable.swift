import Linux

/// The devices that have been captured from, with their names and counters.
package struct SourceTable: ~Copyable {
    /// The counters of all devices.
    package private(set) var counters: [SourceCounters] = []
    private var forgotten: [SourceCounters] = []
    /// Whether a device is needed until its file is complete.
    private var hasFile: Bool

    /// The most devices, more than a collector has agents for.
    ///
    /// An agent that comes with one new name after the other must not fill the memory.
    package static let countMax = 6144

    /// There is no place for another device.
    package struct Full: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// A table without devices.
    package init(hasFile: Bool) { self.hasFile = hasFile }

    /// Finds or creates the counters of an agent's device.
    ///
    /// A device that comes back has its own again. If these are taken, which is so while another
    /// agent of the same name captures, it has others, with a number in their name: `"eth0@h#2"`.
    ///
    /// A new device may take the place of one that is gone and whose file is complete.
    package mutating func makeCounters(
        named name: String, description: String, linkType: UInt16,
        isTaken: (SourceCounters) -> Bool = { _ in false }
    ) throws(Full) -> SourceCounters {
        var (number, numbered) = (1, name)
        while let known = counters.first(where: { $0.name == numbered && $0.linkType == linkType })
        {
            guard isTaken(known) else {
                known.describe(description)
                return known
            }
            number += 1
            numbered = "\(name)#\(number)"
        }
        if counters.count >= Self.countMax { try forgetOldest() }
        let presence = counters.first {
            $0.presence.name == name && $0.linkType == linkType
        }?.presence
        let new = SourceCounters(
            name: numbered, description: description, start: wallClockNanoseconds(),
            presence ?? DevicePresence(name: name, linkType: linkType))
        counters.append(new)
        return new
    }

    /// Forgets the oldest device that nothing needs.
    private mutating func forgetOldest() throws(Full) {
        guard let index = counters.firstIndex(where: { $0.isForgettable(withFile: hasFile) })
        else {
            throw Full(
                description: hasFile
                    ? "\(Self.countMax) devices are in the files that are written: "
                        + "--rotate-size or --rotate-time makes room"
                    : "\(Self.countMax) devices are captured from")
        }
        let device = counters.remove(at: index)
        device.isForgotten = true
        forgotten.append(device)
    }

    /// Has no device wait for a file any more, since there is none.
    mutating func giveUpFile() { hasFile = false }

    /// Takes the counters of devices that were forgotten, so that their last numbers can be shown.
    package mutating func takeForgotten() -> [SourceCounters] {
        defer { forgotten = [] }
        return forgotten
    }
}
