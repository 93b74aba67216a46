package import Settings

/// Examines whether an agent with some settings would do its work on this node.
///
/// It changes nothing on the node.
package enum Doctor {
    /// All checks, in the order in which a person would look for the cause of a trouble.
    package static var checks: [any DoctorCheck.Type] {
        [
            // What was set.
            SettingsCheck.self,
            // What the agent may do, and what the machine gives it.
            CapabilityCheck.self, ThreadCheck.self, KernelCheck.self, RingCheck.self,
            RingMemoryCheck.self, LargePacketCheck.self, QueueMemoryCheck.self,
            DescriptorCheck.self,
            // What the node's network is like.
            NetlinkCheck.self, EdgeCheck.self, PodNetworkCheck.self, ForwardingPodsCheck.self,
            SharedSegmentCheck.self,
            DataPathCheck.self, PodTapCheck.self, OtherCapturesCheck.self, TrackingCheck.self,
            ServiceTranslationCheck.self, ServiceNetworkCheck.self,
            // Sensors and clients, and the files and the clock that they depend on.
            SensorCheck.self, ListenerCheck.self, HTTPCheck.self, PasswordFileCheck.self,
            TLSCheck.self, FilterCheck.self, ClockCheck.self,
        ]
    }

    /// Examines the node.
    ///
    /// It waits for what it examines: a moment, or some seconds where sensors do not answer.
    package static func examine(_ settings: ExaminedSettings) -> Examination {
        Examination.read(settings)
    }

    /// The findings of all checks about an examination, in the checks' order.
    package static func findings(_ examination: Examination) -> [Finding] {
        checks.flatMap { $0.findings(examination) }
    }
}
