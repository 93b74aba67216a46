package import Addressing
package import CaptureFiles

/// The last name of each address, for outputs that begin with all names or look some up.
///
/// It belongs to the collector's thread.
package final class KnownNames {
    /// The names by their addresses, also of pods that are gone.
    package private(set) var byAddress: [IPAddress: String] = [:]

    /// The most names, those of the largest cluster and as many of pods that are gone.
    private static let countMax = 2 * NameTable.countMax

    package init() {}

    /// All names, in no order.
    var all: [AddressName] { byAddress.map { AddressName($0.key, $0.value) } }

    /// Adds names; forgets all others if there are too many.
    package func add(_ names: [AddressName]) {
        if byAddress.count + names.count > Self.countMax { byAddress = [:] }
        for name in names { byAddress[name.address] = name.name }
    }
}
