package import Linux

/// A file of a pod's network namespace, which the container runtime keeps in a folder.
package struct NamespaceFile: Hashable, Sendable {
    /// The path of the file.
    package let path: String
    /// The namespace behind the file: its number in nsfs.
    package let identity: FileIdentity

    /// A file by its parts.
    package init(path: String, identity: FileIdentity) {
        (self.path, self.identity) = (path, identity)
    }

    /// The file's name in its folder.
    package var name: String { String(path.split(separator: "/").last ?? "") }

    /// Opens the file, which needs no capability.
    ///
    /// The namespace lives for at least as long as the descriptor is open.
    ///
    /// - Throws: `ESTALE` if another namespace is behind the name by now, or none.
    package func open() throws(SystemError) -> Descriptor {
        let descriptor = try Descriptor(reading: path, waits: false)
        guard try descriptor.identity() == identity else {
            throw SystemError("open \(path)", .staleFileHandle)
        }
        return descriptor
    }

    /// Whether `open` has failed because the namespace has no file here any more.
    package func isGone(_ error: SystemError) -> Bool {
        [.noSuchFileOrDirectory, .staleFileHandle].contains(error.errno)
    }
}

/// The files of network namespaces in a folder, by the ids under which this namespace knows them.
package struct NamespaceListing: Equatable, Sendable {
    /// The file of each namespace that has an id here, by the id.
    package var files: [Int32: NamespaceFile] = [:]
    /// The files of namespaces that have no id here: no interface of this one has an end there, yet.
    package var unnumbered: [NamespaceFile] = []
    /// The paths of files about which nothing is known: beyond those that are looked at, or they could
    /// not be opened or asked about.
    ///
    /// The namespaces behind them may be alive.
    package var unknownPaths: Set<String> = []
    /// What is wrong with the folder; in order.
    package var problems: [NamespaceProblem] = []
    /// Whether a file is there that may become a namespace at any moment, so that a look soon is due.
    package var isUnsettled = false

    /// A listing of nothing.
    package init() {}

    /// A listing by its parts.
    package init(
        files: [Int32: NamespaceFile], unnumbered: [NamespaceFile] = [],
        unknownPaths: Set<String> = [], problems: [NamespaceProblem] = []
    ) {
        (self.files, self.unnumbered, self.problems) = (files, unnumbered, problems)
        self.unknownPaths = unknownPaths
    }

    /// Whether a namespace has lost its file, which it had before.
    ///
    /// A file that is there and could not be looked at is not lost.
    package func lacks(_ file: NamespaceFile) -> Bool {
        !unknownPaths.contains(file.path)
            && !unnumbered.contains { $0.identity == file.identity }
            && !files.values.contains { $0.identity == file.identity }
    }
}
