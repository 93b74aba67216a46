import Linux
import Netlink
package import Taps

/// The network namespaces of pods, and where their edges are captured.
extension EdgeTable {
    /// Applies a listing of the files of network namespaces.
    ///
    /// If the folder cannot be read, what was known stays.
    package mutating func apply(_ listing: NamespaceListing) {
        guard !listing.problems.contains(where: \.isOfFolder) else { return }
        namespaces = listing
        removePodInterfaces(outside: listing)
        for index in entries.keys { findNamespace(of: index) }
    }

    /// Finds the file of the namespace to which an interface leads.
    ///
    /// A namespace that had a file and has none any more is about to go: its pod is deleted. Of one whose
    /// file could not be looked at nobody knows, so what was known stays.
    mutating func findNamespace(of index: UInt32) {
        guard tapPlan.needsNamespaces, let namespaces, let entry = entries[index],
            canQuery(entry.link), let id = entry.link.peerNamespace
        else { return }
        if let file = namespaces.files[id] {
            entries[index]?.file = file
            entries[index]?.isFileGone = false
        } else if let file = entry.file {
            // The kernel may have given the id up, and the namespace still has its file.
            entries[index]?.isFileGone = namespaces.lacks(file)
        }
    }

    /// Whether the file of some pod's namespace has not been found, so that a look at the folder is due.
    package var lacksNamespaces: Bool {
        tapPlan.needsNamespaces
            && entries.values.contains { canQuery($0.link) && $0.file == nil }
    }

    /// Where an edge is to be captured: inside its pod if that is wanted and can be found.
    func tap(_ entry: Entry) -> EdgeTap {
        if let interface = entry.podInterface { return .pod(interface.tap) }
        guard tapPlan.wantsPod(entry.link), !entry.isFileGone, let file = entry.file,
            let id = entry.link.peerNamespace, let index = entry.link.peerIndex, index != 0
        else { return .host }
        return .pod(PodTap(file: file, namespaceID: id, podIndex: index))
    }

    /// The incarnations of interfaces, as they are now.
    var incarnations: [UInt32: UInt64] { entries.mapValues(\.incarnation) }
}

extension NamespaceProblem {
    /// Whether the folder could not be listed at all.
    fileprivate var isOfFolder: Bool {
        if case .folder = self { true } else { false }
    }
}
