import Linux
import Settings

/// Checks what the kernel's release says about features that cannot be tried.
enum KernelCheck: DoctorCheck {
    static let id = "kernel"
    static let title = "kernel"

    static func findings(_ node: Examination) -> [Finding] {
        guard let release = node.kernel else { return [ok("its release is not known")] }
        let findings = [
            unsupported(release), zeroWindow(release),
            node.settings.capture.restoresWireForm ? segmentation(release) : nil,
        ].compactMap { $0 }
        return findings.isEmpty ? [ok("Linux \(release)")] : findings
    }

    private static func unsupported(_ release: KernelRelease) -> Finding? {
        guard release < .supported else { return nil }
        return finding(
            .warning, "Linux \(release)",
            meaning: "podwire is tested with Linux \(KernelRelease.supported) and later only",
            remedy: "use a newer kernel")
    }

    private static func zeroWindow(_ release: KernelRelease) -> Finding? {
        guard release < .zeroWindowTimeout else { return nil }
        return finding(
            .note, "Linux \(release) may wait long for a sensor that does not read",
            meaning: """
                a sensor that stays connected and does not read is given up after a minute only \
                since Linux \(KernelRelease.zeroWindowTimeout), unless the distribution has \
                backported this
                """,
            remedy: "nothing, if your sensors read")
    }

    private static func segmentation(_ release: KernelRelease) -> Finding? {
        guard release < .datagramSegmentation else { return nil }
        return finding(
            .note, "Linux \(release) may be unable to describe UDP GSO packets",
            meaning: KernelRelease.datagramLoss,
            remedy: """
                use Linux \(KernelRelease.datagramSegmentation) or later, or \
                \(Setting.frames.option) raw, which takes such packets as they are
                """)
    }
}
