import PacketRing
import Settings

/// Checks whether a ring can be opened as the agent opens them.
enum RingCheck: DoctorCheck {
    static let id = "rings"
    static let title = "rings"

    static func findings(_ node: Examination) -> [Finding] {
        switch node.ring {
        case nil: []
        case .opened(let byteCount): [ok("a ring of \(byteCount >> 10) KiB can be opened")]
        case .failed(let failure): [finding(failure)]
        }
    }

    private static func finding(_ failure: Ring.Failure) -> Finding {
        let remedy =
            switch failure {
            case .noMemory: "leave the node more memory: a ring needs it in large pieces"
            case .unsupportedOffload: "use a newer kernel, or set \(Setting.frames.option) raw"
            default: "check that the kernel has AF_PACKET, and that the security profile allows it"
            }
        return finding(
            .failed, "no ring can be opened: \(failure)", meaning: "the agent captures nothing",
            remedy: remedy)
    }
}
