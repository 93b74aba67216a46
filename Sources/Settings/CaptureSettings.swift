import Formats

/// The settings of one capture.
///
/// Every capture gets them as a whole. A session lowers `snaplen` to what its peer asks for.
package struct CaptureSettings: Sendable {
    /// The most bytes of a packet that are kept.
    package var snaplen: Int
    /// The most memory for the rings of all captures together, bytes.
    package var ringByteCountMax: Int
    /// The memory of the send queue, bytes.
    package var queueByteCountMax: Int
    /// The most bytes of packets and their headers sent in a second; nil for no limit.
    package var bytesPerSecondMax: Int?
    /// What is left out of the packets that are reported.
    package var selection: SelectionSettings
    /// Where the forwarding threads run.
    package var placement: ThreadPlacement
    /// The folder in which Cilium pins its tables; nil if they are not to be asked.
    package var ciliumFolder: String?
    /// Whether calls to services that nothing explains are left out, instead of reported as they are.
    package var leavesOutUnexplained: Bool
    /// Whether frames are sent as a wire would have carried them, or as the kernel has them.
    package var restoresWireForm: Bool

    /// The snapshot lengths that can be set; the longest is libpcap's.
    static let snaplens = 64...262_144
    /// The amounts of memory that can be set, from one mebibyte to one tebibyte.
    private static let byteCounts: ClosedRange<UInt64> = 1 << 20...1 << 40

    init(_ reader: SettingsReader) throws(SettingFailure) {
        snaplen = try reader.one(.snaplen) { text in
            Int(text).flatMap { Self.snaplens.contains($0) ? $0 : nil }
        }
        ringByteCountMax = try reader.one(.ringMemory, Self.byteCount)
        queueByteCountMax = try reader.one(.queueMemory, Self.byteCount)
        bytesPerSecondMax = try reader.one(.rateLimit) { text -> Int?? in
            text == "off" ? .some(nil) : Self.byteCount(text).map { .some($0) }
        }
        ciliumFolder = try reader.one(.ciliumTables, Settings.nameFolder)
        leavesOutUnexplained = try reader.one(.services) {
            ["tracked": false, "untracked": true][$0]
        }
        selection = try SelectionSettings(reader)
        placement = try ThreadPlacement(reader)
        restoresWireForm = try reader.one(.frames) { ["wire": true, "raw": false][$0] }
    }

    private static func byteCount(_ text: String) -> Int? {
        ByteCount(text).flatMap { byteCounts.contains($0.value) ? Int($0.value) : nil }
    }
}
