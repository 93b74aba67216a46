package import Linux
package import PacketRing

import BPF

/// What the kernel can do.
package enum KernelCheck {
    /// What its release says about features that cannot be tried.
    package static func findings(_ release: KernelRelease?, restoresWireForm: Bool) -> [Finding] {
        guard let release else { return [.ok(name, "its release is not known")] }
        var findings: [Finding] = []
        if release < .supported {
            findings.append(
                Finding(
                    .warning, name, "Linux \(release)",
                    meaning:
                        "podwire is tried with Linux \(KernelRelease.supported) and later only",
                    remedy: "use a newer kernel"))
        }
        if release < .zeroWindowTimeout {
            findings.append(
                Finding(
                    .note, name,
                    "Linux \(release) may wait for long for a sensor that reads nothing",
                    meaning: """
                        one that is there and reads nothing is given up after a minute only since \
                        Linux \(KernelRelease.zeroWindowTimeout), unless the distribution has brought \
                        this to its kernel
                        """,
                    remedy: "nothing, if your sensors read"))
        }
        if restoresWireForm, release < .datagramSegmentation {
            findings.append(
                Finding(
                    .note, name,
                    "Linux \(release) may not be able to say how datagrams are to be cut",
                    meaning: KernelRelease.datagramLoss,
                    remedy: """
                        Linux \(KernelRelease.datagramSegmentation) can say it; and \
                        \(Setting.frames.option) raw has them as they are
                        """))
        }
        return findings.isEmpty ? [.ok(name, "Linux \(release)")] : findings
    }

    private static let name = "kernel"

    /// Opens a ring as the agent does, on an interface where it can do no harm.
    static func ring(on interface: UInt32, tellsOffload: Bool) -> Finding {
        do throws(Ring.Failure) {
            let ring = try Ring(
                on: interface, .keepNothing, shape: RingBudget.smallest, tellsOffload: tellsOffload)
            return .ok("rings", "one of \(ring.byteCount >> 10) KiB can be opened")
        } catch {
            return Self.finding(error)
        }
    }

    package static func finding(_ error: Ring.Failure) -> Finding {
        let remedy =
            switch error {
            case .noMemory: "leave the node more memory, which a ring needs in large pieces"
            case .unsupportedOffload: "use a newer kernel, or give \(Setting.frames.option) raw"
            default: "see that the kernel has AF_PACKET and that no security profile forbids it"
            }
        return Finding(
            .failed, "rings", "none can be opened: \(error)",
            meaning: "the agent captures nothing", remedy: remedy)
    }
}

extension KernelRelease {
    static let supported = KernelRelease(5, 10)

    /// Since when a peer's closed window counts for `TCP_USER_TIMEOUT` as silence does.
    static let zeroWindowTimeout = KernelRelease(5, 11)

    /// Since when a `virtio_net_hdr` has a word for it (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    static let datagramSegmentation = KernelRelease(6, 2)

    /// Since when a pod's device counts what `bpf_redirect_peer` gives it.
    static let redirectCounters = KernelRelease(6, 7)

    /// What becomes of them before that.
    static let datagramLoss = """
        datagrams that a pod sends many at a time (UDP_SEGMENT, as for QUIC) are then missing, and \
        counted as dropped_by_ring
        """
}
