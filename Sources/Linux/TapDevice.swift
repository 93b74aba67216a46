import CLinux
import Glibc

/// A TAP device on which frames appear as received, and which the node's own stack leaves alone.
///
/// It is there as long as its owner. It has no IP address, no IPv6 and no ARP. IPv4 packets that
/// appear there come from where no route leads, so that the kernel drops them too if they are for
/// everyone; those for other hosts it drops anyway, since their MAC addresses are not the device's.
package struct TapDevice: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The interface's name.
    package let name: String

    /// The longest packet of an interface, which is the most that a TAP device can have.
    package static let mtu = 65_535 - frameByteCounts.lowerBound
    /// The lengths of frames: an Ethernet header, and a packet behind it.
    package static let frameByteCounts = 14...65_535

    /// The longest name of an interface (`IFNAMSIZ` of netdevice(7)).
    private static let nameByteCountMax = 15

    /// Returns what is wrong with a name for an interface; nil if nothing is.
    package static func fault(inName name: String) -> String? {
        if name.isEmpty { return "an interface has a name" }
        guard name.utf8.count <= nameByteCountMax else {
            return "an interface's name has at most \(nameByteCountMax) bytes"
        }
        let isPlain = name.utf8.allSatisfy { byte in
            (0x21...0x7e).contains(byte) && !"/:%".utf8.contains(byte)
        }
        guard isPlain else {
            return "an interface's name has letters, digits, and signs other than / : %"
        }
        // They would be folders of /proc/sys with another meaning.
        guard ![".", "..", "all", "default"].contains(name) else {
            return "an interface cannot have that name"
        }
        return nil
    }

    /// Makes the device and switches it on.
    ///
    /// - Throws: `EBUSY` if there is an interface of that name, `EPERM` without CAP_NET_ADMIN.
    package init(named name: String) throws(SystemError) {
        let descriptor: Descriptor
        do throws(SystemError) {
            descriptor = try Descriptor("make the interface \(name)") {
                unsafe clinux_open_tap(name)
            }
        } catch {
            throw SystemError(error.operation + Self.remedy(error.errno), error.errno)
        }
        try Self.silence(name)
        try call("switch the interface \(name) on") {
            unsafe clinux_raise_silent_link(name, CInt(Self.mtu))
        }
        self.descriptor = descriptor
        self.name = name
    }

    private static func remedy(_ errno: Errno) -> String {
        switch errno {
        case .notPermitted, .permissionDenied:
            ", which needs CAP_NET_ADMIN, and in a container the device /dev/net/tun"
        case .busy:
            ", whose name an interface has already: choose another, or delete that one"
        case .noSuchFileOrDirectory, .noSuchDevice, .noSuchAddressOrDevice:
            ", which needs /dev/net/tun: load the module tun, or give the container that device"
        default: ""
        }
    }

    /// Has the kernel's own stack neither speak nor answer there, before the device is on.
    private static func silence(_ name: String) throws(SystemError) {
        // Without IPv6 nothing is said at the start, and what arrives is dropped.
        try set("ipv6", name, "disable_ipv6", "1")
        // The way back to any sender leads elsewhere, so nothing that arrives is for this node.
        try set("ipv4", name, "rp_filter", "1")
        try set("ipv4", name, "forwarding", "0")
    }

    private static func set(
        _ family: String, _ name: String, _ setting: String, _ value: String
    ) throws(SystemError) {
        let path = "/proc/sys/net/\(family)/conf/\(name)/\(setting)"
        do throws(SystemError) {
            let file = try Descriptor("write \(path)") { unsafe open(path, O_WRONLY | O_CLOEXEC) }
            try writeAll(value.utf8, to: file.fileDescriptor, path)
        } catch {
            // A kernel without IPv6 has nothing to switch off.
            guard error.errno != .noSuchFileOrDirectory || family != "ipv6" else { return }
            throw SystemError(
                error.operation + ", without which this node would answer what appears there",
                error.errno)
        }
    }

    /// Has a frame appear at the interface (write(2)), and never waits.
    ///
    /// - Returns: Nil, or why it does not appear: `EIO` while the interface is off, `EBADFD` after it
    ///   has been deleted.
    package func write(_ frame: RawSpan) -> Errno? {
        while true {
            // Safety: the kernel reads the span, which stays in place for the call.
            let count = unsafe frame.withUnsafeBytes { bytes in
                unsafe Glibc.write(descriptor.fileDescriptor, bytes.baseAddress, bytes.count)
            }
            if count >= 0 { return nil }
            let errno = Errno.current
            if errno != .interrupted { return errno }
        }
    }
}
