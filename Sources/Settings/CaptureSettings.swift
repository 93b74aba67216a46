/// The settings of one capture.
///
/// Every capture gets them as a whole. A session lowers `snaplen` to what its peer asks for.
package struct CaptureSettings: Sendable {
    /// The most bytes of a packet that are kept.
    package var snaplen: Int
    /// The most memory for all rings of the capture, bytes.
    package var ringByteCountMax: Int
    /// The memory of the send queue, bytes.
    package var queueByteCountMax: Int
    /// The most bytes of packets and their headers sent in a second; nil for no limit.
    package var bytesPerSecondMax: Int?
    /// Where the forwarding threads run.
    package var placement: ThreadPlacement
    /// Whether frames are sent as a wire would have carried them, or as the kernel has them.
    package var restoresWireForm: Bool

    init(_ reader: SettingsReader) throws(SettingFailure) {
        snaplen = try reader.one(.snaplen) { text in
            Int(text).flatMap { (64...262_144).contains($0) ? $0 : nil }
        }
        ringByteCountMax = try reader.one(.ringMemory, Settings.byteCount)
        queueByteCountMax = try reader.one(.queueMemory, Settings.byteCount)
        bytesPerSecondMax = try reader.one(.rateLimit) { text -> Int?? in
            text == "off" ? .some(nil) : Settings.byteCount(text).map { .some($0) }
        }
        placement = try ThreadPlacement(reader)
        restoresWireForm = try reader.one(.frames) { ["wire": true, "raw": false][$0] }
    }
}
