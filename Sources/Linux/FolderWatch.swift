import CLinux
import Glibc

/// A watch over the names in a folder (inotify(7)).
package struct FolderWatch: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// Opens a watch that watches nothing yet.
    ///
    /// - Throws: `EMFILE` if the processes of this user watch too much (`fs.inotify.max_user_instances`).
    package init() throws(SystemError) {
        descriptor = try Descriptor("inotify_init1") {
            inotify_init1(CInt(IN_CLOEXEC) | CInt(IN_NONBLOCK))
        }
    }

    /// The descriptor, for a poll set: readable when a name has come or gone, until `clear`.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Watches a folder, or the one that is now at the path if another was.
    ///
    /// Watching the same folder again changes nothing.
    package func watch(_ folder: String) throws(SystemError) {
        let events =
            UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM) | UInt32(IN_MOVED_TO)
            | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF) | UInt32(IN_UNMOUNT)
            | UInt32(IN_ONLYDIR)
        // Safety: the call reads the path up to its end.
        try call("inotify_add_watch \(folder)") {
            unsafe inotify_add_watch(descriptor.fileDescriptor, folder, events)
        }
    }

    /// Drops the events that wait: their reader looks at the whole folder anyway.
    package func clear() {
        var bytes = [UInt8](repeating: 0, count: 16 << 10)
        // At most what the kernel queues by default (fs.inotify.max_queued_events), in bounded parts.
        for _ in 0..<64 {
            // Safety: the call writes at most as many bytes as the array has.
            guard unsafe read(descriptor.fileDescriptor, &bytes, bytes.count) > 0 else { return }
        }
    }
}
