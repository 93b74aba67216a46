/// A format of capture files, by the name that people and `--format` have for it.
package enum CaptureFormat: String, CaseIterable, Sendable {
    case pcapng
    case pcap

    /// Its encoder.
    package var encoder: any CaptureEncoder {
        switch self {
        case .pcapng: PcapngEncoder()
        case .pcap: PcapEncoder()
        }
    }
}
