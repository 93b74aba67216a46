package import Linux

/// What keeps the agent from finding pods' network namespaces, with what to do about it.
package enum NamespaceProblem: Hashable, Sendable, CustomStringConvertible {
    /// The folder cannot be listed.
    case folder(String, SystemError)
    /// Files that are no network namespaces, though runtimes keep nothing else there: their number,
    /// and the path of one.
    case plainFiles(Int, example: String)
    /// A file that cannot be opened or asked about.
    case file(String, SystemError)
    /// The folder has more files than are looked at.
    case tooManyFiles(String, countMax: Int)
    /// The kernel reports no changes of the folder, so they are noticed late.
    case watch(String, SystemError)

    /// The kinds of problems.
    enum Kind {
        case folder, plainFiles, file, tooManyFiles, watch
    }

    /// The problem's kind: whatever the files, the same is to be done about it.
    var kind: Kind {
        switch self {
        case .folder: .folder
        case .plainFiles: .plainFiles
        case .file: .file
        case .tooManyFiles: .tooManyFiles
        case .watch: .watch
        }
    }

    /// What is wrong.
    package var description: String {
        switch self {
        case .folder(let path, let error):
            "the folder of network namespaces \(path) cannot be read: \(error)"
        case .plainFiles(let count, let example):
            "\(count) file(s) such as \(example) should be network namespaces and are plain files"
        case .file(let path, let error):
            "the network namespace \(path) cannot be looked at: \(error)"
        case .tooManyFiles(let path, let countMax):
            "\(path) has more than \(countMax) files; the others are left out"
        case .watch(let path, let error):
            "changes of \(path) are noticed late: \(error)"
        }
    }

    /// What to do about it.
    package var advice: String {
        switch self {
        case .folder:
            "mount the runtime's folder of network namespaces there (hostPath), or name the right "
                + "one with PODWIRE_NETNS: /run/netns, with Docker /run/docker/netns"
        case .plainFiles:
            "mount the folder with mountPropagation: HostToContainer, so that namespaces made later "
                + "are seen"
        case .file:
            "let the agent's container read the folder: as root, and where SELinux or AppArmor is in "
                + "force with a profile that permits it"
        case .tooManyFiles:
            "remove the files that runtimes have left behind"
        case .watch:
            "raise the node's fs.inotify.max_user_instances and fs.inotify.max_user_watches"
        }
    }
}
