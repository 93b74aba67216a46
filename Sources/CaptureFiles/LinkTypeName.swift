/// The names of link types, as tcpdump has them for `-y` and prints them.
package enum LinkTypeName {
    /// The name of a number in capture files: `"EN10MB"`, or `"LINKTYPE_147"` if it has none here.
    ///
    /// It has letters, digits and `_` only, so it can be a part of a file's name.
    package static func text(_ linkType: UInt16) -> String {
        names[linkType] ?? "LINKTYPE_\(linkType)"
    }

    /// What can be captured from on Linux (pcap-linktype(7)).
    private static let names: [UInt16: String] = [
        1: "EN10MB", 101: "RAW", 105: "IEEE802_11", 113: "LINUX_SLL", 127: "IEEE802_11_RADIO",
        189: "USB_LINUX", 195: "IEEE802_15_4", 201: "BLUETOOTH_HCI_H4_WITH_PHDR",
        220: "USB_LINUX_MMAPPED", 227: "CAN_SOCKETCAN", 228: "IPV4", 229: "IPV6", 239: "NFLOG",
        242: "IPOIB", 253: "NETLINK", 254: "BLUETOOTH_LINUX_MONITOR", 271: "VSOCK",
        276: "LINUX_SLL2",
    ]
}
