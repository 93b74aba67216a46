import Glibc
package import Linux
import Netlink
package import Time

/// The folder in which a container runtime keeps a file for each pod's network namespace.
///
/// It is listed as a whole: which namespace is behind a file is asked of the kernel each time, without
/// entering the namespace and without a capability. 250 files take 2 ms.
package struct NamespaceFolder: ~Copyable {
    private let lister: Lister

    /// The folder of containerd, CRI-O, k3s and iproute2.
    package static let standardPath = "/run/netns"
    /// The interval at which the folder is read though no change has been reported.
    package static let refreshInterval = Duration.seconds(30)
    /// The delay of the next look at files that are about to become namespaces.
    package static let settlingInterval = Duration.milliseconds(10)
    /// The most files that are looked at: four times what the largest nodes have pods.
    package static let fileCountMax = 2048

    /// A folder, which need not exist yet.
    ///
    /// - Parameters:
    ///   - path: The path of the folder.
    ///   - assignsIDs: Whether namespaces get an id here that have none, which needs CAP_NET_ADMIN. An
    ///     id is how the kernel is asked about a namespace, and changes nothing in it.
    /// - Throws: The kernel's reason if there is no netlink.
    package init(_ path: String, assignsIDs: Bool = false) throws(SystemError) {
        lister = try Lister(path, assignsIDs)
    }

    /// The descriptor for a poll set, readable when a name has come or gone until the folder is read.
    ///
    /// It is -1 if the kernel allows no watch.
    package var fileDescriptor: CInt { lister.fileDescriptor }

    /// Reads the folder again and again until new files have become what they will be.
    ///
    /// Waits, until a deadline at most.
    package mutating func readSettled(by deadline: MonotonicTime) -> NamespaceListing {
        var listing = read()
        while listing.isUnsettled, MonotonicTime.now < deadline {
            sleep(until: .now + Self.settlingInterval)
            listing = read()
        }
        return listing
    }

    /// Reads the folder.
    ///
    /// Does not wait.
    package mutating func read() -> NamespaceListing { lister.read() }
}

/// What a folder is read with.
private final class Lister {
    private let path: String
    private let assignsIDs: Bool
    private let watch: WatchState
    private var netlink: NetlinkSocket
    /// When each file that is no namespace was first seen, for as long as it is none.
    private var strangeSince: [String: MonotonicTime] = [:]

    /// The time after which a file that is no namespace counts as one that stays so.
    ///
    /// Runtimes make an empty file, which not even root may read with iproute2, and mount the
    /// namespace over it at once.
    private static let settlingTimeMax = Duration.seconds(1)

    init(_ path: String, _ assignsIDs: Bool) throws(SystemError) {
        netlink = try NetlinkSocket()
        (self.path, self.assignsIDs) = (path, assignsIDs)
        watch = WatchState()
    }

    var fileDescriptor: CInt { watch.fileDescriptor }

    func read() -> NamespaceListing {
        var listing = NamespaceListing()
        // Before the names are read, so that no change after that goes unnoticed.
        let failure = watch.renew(path)
        do throws(SystemError) {
            var names = try fileNames(in: path).filter { $0 != "." && $0 != ".." }.sorted()
            if let failure { listing.problems.append(.watch(path, failure)) }
            if names.count > NamespaceFolder.fileCountMax {
                listing.problems.append(
                    .tooManyFiles(path, countMax: NamespaceFolder.fileCountMax))
                listing.unknownPaths = Set(
                    names.dropFirst(NamespaceFolder.fileCountMax).map { "\(path)/\($0)" })
                names = Array(names.prefix(NamespaceFolder.fileCountMax))
            }
            add(names, to: &listing)
        } catch {
            listing.problems.append(.folder(path, error))
            strangeSince = [:]
        }
        return listing
    }

    private func add(_ names: [String], to listing: inout NamespaceListing) {
        let own = try? FileIdentity.ofOwnNetwork()
        var seen: Set<FileIdentity> = []
        var strange: [(path: String, error: SystemError?)] = []
        for name in names {
            let path = "\(path)/\(name)"
            do throws(SystemError) {
                let descriptor = try Descriptor(reading: path, waits: false)
                guard try descriptor.isNetworkNamespace() else {
                    strange.append((path, nil))
                    continue
                }
                let file = NamespaceFile(path: path, identity: try descriptor.identity())
                // A namespace may have several names.
                guard file.identity != own, seen.insert(file.identity).inserted else { continue }
                if let id = try id(of: descriptor) {
                    listing.files[id] = file
                } else {
                    listing.unnumbered.append(file)
                }
            } catch {
                // A file that has gone meanwhile is none.
                guard error.errno != .noSuchFileOrDirectory else { continue }
                strange.append((path, error))
                listing.unknownPaths.insert(path)
            }
        }
        record(strange, in: &listing)
    }

    private func id(of namespace: borrowing Descriptor) throws(SystemError) -> Int32? {
        if let id = try netlink.namespaceID(of: namespace) { return id }
        guard assignsIDs else { return nil }
        do throws(SystemError) {
            try netlink.assignNamespaceID(to: namespace)
        } catch {
            // Somebody else has assigned one meanwhile, or the process may not.
            guard [.fileExists, .notPermitted].contains(error.errno) else { throw error }
        }
        return try netlink.namespaceID(of: namespace)
    }

    /// Reports the files that have been no namespaces for long, and keeps the others in mind.
    private func record(
        _ strange: [(path: String, error: SystemError?)], in listing: inout NamespaceListing
    ) {
        let now = MonotonicTime.now
        strangeSince = Dictionary(
            strange.map { ($0.path, strangeSince[$0.path] ?? now) }
        ) { first, _ in first }
        let settled = strange.filter {
            now - (strangeSince[$0.path] ?? now) >= Self.settlingTimeMax
        }
        listing.isUnsettled = settled.count < strange.count
        let plain = settled.filter { $0.error == nil }
        if let example = plain.first {
            listing.problems.append(.plainFiles(plain.count, example: example.path))
        }
        // One stands for all: they have the same cause.
        if let unreadable = settled.first(where: { $0.error != nil }), let error = unreadable.error
        {
            listing.problems.append(.file(unreadable.path, error))
        }
    }
}

/// The watch over a folder, or why there is none.
private final class WatchState {
    private let watch: FolderWatchBox?
    private let failure: SystemError?

    init() {
        do throws(SystemError) {
            watch = FolderWatchBox(try FolderWatch())
            failure = nil
        } catch {
            watch = nil
            failure = error
        }
    }

    var fileDescriptor: CInt { watch?.watch.fileDescriptor ?? -1 }

    /// Drops what was reported, and watches the folder that is there now.
    func renew(_ path: String) -> SystemError? {
        guard let watch else { return failure }
        watch.watch.clear()
        do throws(SystemError) {
            try watch.watch.watch(path)
            return nil
        } catch {
            return error
        }
    }
}

/// An owner of a watch, which an optional property cannot be.
private final class FolderWatchBox {
    let watch: FolderWatch

    init(_ watch: consuming FolderWatch) { self.watch = watch }
}
