import Glibc
import KernelSupport
import Linux
import Netlink
import Taps
import Testing
import Time

@Suite("A folder of network namespaces", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct NamespaceFolderTests {
    @Test("lists each namespace under the id that the host's end of its interface has")
    func ids() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            for number in 1...3 {
                try pods.addPod("p\(number)", host: "v\(number)", hostIndex: UInt32(100 + number))
            }
            try pods.addNamespace("lonely")
            var folder = try NamespaceFolder(pods.path)
            let listing = folder.read()
            for number in 1...3 {
                let id = try namespaceID(of: "v\(number)")
                let file = try #require(listing.files[id])
                #expect(file.path == pods.file("p\(number)") && file.name == "p\(number)")
                let inode = try output(of: "stat -L -c %i \(file.path)").dropLast()
                #expect(String(file.identity.inode) == inode)
            }
            #expect(listing.files.count == 3)
            #expect(listing.unnumbered.map(\.name) == ["lonely"])
            #expect(listing.problems == [] && !listing.isUnsettled)
            // With an id of its own it can be asked about.
            var assigning = try NamespaceFolder(pods.path, assignsIDs: true)
            let all = assigning.read()
            #expect(all.files.count == 4 && all.unnumbered == [] && all.problems == [])
            let id = try #require(all.files.first { $0.value.name == "lonely" }).key
            var netlink = try NetlinkSocket()
            #expect(try netlink.links(inNamespace: id).map(\.name) == ["lo"])
            #expect(folder.read().files == all.files)
        }
    }

    @Test("leaves out its own namespace, and lists one with two names once")
    func names() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("b", host: "v1", hostIndex: 101)
            try shell(
                """
                cd \(pods.path) && touch a own && mount --bind b a &&
                mount --bind /proc/thread-self/ns/net own
                """)
            var folder = try NamespaceFolder(pods.path)
            let listing = folder.read()
            #expect(listing.files.values.map(\.name) == ["a"])
            #expect(listing.unnumbered == [] && listing.problems == [])
        }
    }

    @Test("reports files that stay plain, and not those that have just come")
    func plainFiles() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            try shell("cd \(pods.path) && echo text >plain && touch empty && mkdir folder")
            var folder = try NamespaceFolder(pods.path)
            var listing = folder.read()
            #expect(listing.problems == [] && listing.isUnsettled)
            listing = folder.readSettled(by: .now + .seconds(60))
            #expect(listing.problems == [.plainFiles(3, example: pods.file("empty"))])
            #expect(listing.problems[0].advice.contains("HostToContainer"))
            #expect(listing.files.count == 1)
            try shell("cd \(pods.path) && rm -r plain empty folder")
            #expect(folder.read().problems == [])
        }
    }

    @Test("reports a file that cannot be opened when it stays so")
    func unreadableFile() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            // Opening a socket's file fails for everybody, even for root.
            let listener = try SequencedListener(at: pods.file("socket"))
            var folder = try NamespaceFolder(pods.path)
            var listing = folder.read()
            #expect(listing.problems == [] && listing.isUnsettled)
            listing = folder.readSettled(by: .now + .seconds(60))
            let error = SystemError("open \(pods.file("socket"))", .noSuchAddressOrDevice)
            #expect(listing.problems == [.file(pods.file("socket"), error)])
            #expect(listener.fileDescriptor >= 0)
        }
    }

    @Test("tells files that it has not looked at from those that are gone")
    func unknownFiles() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            try pods.addPod("p2", host: "v2", hostIndex: 102)
            var folder = try NamespaceFolder(pods.path)
            let files = folder.read().files.values.sorted { $0.path < $1.path }
            try #require(files.map(\.name) == ["p1", "p2"])
            // Opening a socket's file fails for everybody, even for root.
            let listener = try SequencedListener(at: "\(pods.path).socket")
            try shell("mount --bind \(pods.path).socket \(files[0].path)")
            try pods.remove("p2")
            var listing = folder.read()
            #expect(listing.unknownPaths == [files[0].path] && listing.files.isEmpty)
            #expect(!listing.lacks(files[0]) && listing.lacks(files[1]))
            try shell("umount \(files[0].path) && rm -f \(pods.path).socket")
            #expect(folder.read().files.values.map(\.name) == ["p1"])
            // In the order of names, the pod's file is beyond those that are looked at.
            let countMax = NamespaceFolder.fileCountMax
            try shell("cd \(pods.path) && seq -f a%g \(countMax) | xargs touch")
            listing = folder.read()
            #expect(
                listing.problems.contains(.tooManyFiles(pods.path, countMax: countMax)))
            #expect(listing.files.isEmpty && !listing.lacks(files[0]) && listing.lacks(files[1]))
            try pods.remove("p1")
            #expect(folder.read().lacks(files[0]))
            withExtendedLifetime(listener) {}
        }
    }

    @Test("does not take another kind of namespace for one of the network")
    func otherNamespaces() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try shell("cd \(pods.path) && touch uts && mount --bind /proc/self/ns/uts uts")
            var folder = try NamespaceFolder(pods.path)
            let listing = folder.read()
            #expect(listing.files.isEmpty && listing.unnumbered == [] && listing.isUnsettled)
        }
    }

    @Test("says which folder cannot be read, and finds it when it is there")
    func missingFolder() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            var folder = try NamespaceFolder(pods.file("later"))
            let error = SystemError("open \(pods.file("later"))", .noSuchFileOrDirectory)
            #expect(folder.read().problems == [.folder(pods.file("later"), error)])
            try shell("mkdir \(pods.file("later"))")
            #expect(folder.read().problems == [])
            try shell("touch \(pods.file("later"))/new")
            #expect(try isReadable(folder))
        }
    }

    @Test("wakes its reader when a name comes or goes, and not otherwise")
    func changes() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            var folder = try NamespaceFolder(pods.path)
            _ = folder.read()
            #expect(try !isReadable(folder))
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            #expect(try isReadable(folder))
            #expect(folder.read().files.count == 1)
            #expect(try !isReadable(folder))
            try pods.remove("p1")
            #expect(try isReadable(folder))
            #expect(folder.read() == NamespaceListing())
            #expect(try !isReadable(folder))
        }
    }

    @Test("lists what is left while files come and go")
    func changesWhileListing() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("steady", host: "v1", hostIndex: 101)
            try shell(
                """
                (for turn in $(seq 40); do
                    touch \(pods.path)/a; unshare --net=\(pods.path)/a true
                    umount -l \(pods.path)/a; rm \(pods.path)/a
                done; touch \(pods.path)/end) & true
                """)
            var folder = try NamespaceFolder(pods.path)
            var hasEnded = false
            var turns = 0
            while !hasEnded {
                hasEnded = unsafe access(pods.file("end"), F_OK) == 0
                let listing = folder.read()
                #expect(listing.files.values.map(\.name) == ["steady"])
                #expect(listing.problems == [])
                turns += 1
            }
            #expect(turns > 10)
            #expect(folder.read().unnumbered == [])
        }
    }

    private func isReadable(_ folder: borrowing NamespaceFolder) throws -> Bool {
        try poll([(folder.fileDescriptor, .readable)], milliseconds: 0)[0].contains(.readable)
    }

    /// The id of the namespace of an interface's other end, as ip(8) has it.
    private func namespaceID(of interface: String) throws -> Int32 {
        let text = try output(
            of: "ip -j link show \(interface) | grep -o '\"link_netnsid\":[0-9]*' | cut -d: -f2")
        return try #require(Int32(text.dropLast()))
    }
}
