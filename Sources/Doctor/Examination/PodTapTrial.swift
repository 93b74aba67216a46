import Linux
import Settings
package import Taps
import Time

/// What an agent needs to capture inside pods: their namespaces' files, and the opener.
package struct PodTapTrial: Sendable {
    /// The files of the pods' network namespaces.
    package var listing: NamespaceListing
    /// Whether the folder is a mount that does not show what the node mounts there later.
    package var isPrivateMount: Bool
    /// Why the opener cannot be asked; nil if it answers.
    package var openerFailure: PodSocketFailure?

    /// A trial by its parts.
    package init(
        listing: NamespaceListing, isPrivateMount: Bool = false,
        openerFailure: PodSocketFailure? = nil
    ) {
        (self.listing, self.isPrivateMount) = (listing, isPrivateMount)
        self.openerFailure = openerFailure
    }

    /// The longest wait for files that are about to become namespaces.
    private static let settlingTimeMax = Duration.seconds(2)

    /// Looks into the folder and asks the opener.
    ///
    /// It waits: up to two seconds for files that are no namespaces, and one for the opener.
    static func read(_ settings: TapSettings) throws(SystemError) -> Self {
        let folder = settings.namespaceFolder
        var files = try NamespaceFolder(folder)
        let listing = files.readSettled(by: .now + settlingTimeMax)
        let mounts = try? readFile("/proc/thread-self/mountinfo", byteCountMax: 4 << 20)
        var trial = Self(
            listing: listing,
            isPrivateMount: isPrivate(folder, in: String(decoding: mounts ?? [], as: UTF8.self)))
        do throws(PodSocketFailure) {
            try PodSocketClient(path: settings.opener).probe(
                forPodInterfaces: settings.includesPodInterfaces)
        } catch {
            trial.openerFailure = error
        }
        return trial
    }

    /// Whether a folder is a mount of its own that takes part in no propagation (proc(5), mountinfo).
    ///
    /// The fifth field of a line is the place; the optional fields from the seventh on, up to a dash,
    /// are there if mounts propagate. The last mount at a place covers the others.
    package static func isPrivate(_ folder: String, in mounts: String) -> Bool {
        let lines = mounts.split(separator: "\n").map { $0.split(separator: " ") }
        guard let mount = lines.last(where: { $0.count > 6 && $0[4] == folder }) else {
            return false
        }
        let propagation = mount[6...].prefix { $0 != "-" }
        return !propagation.contains { $0.hasPrefix("shared:") || $0.hasPrefix("master:") }
    }
}
