import Addressing
import Filter
import Linux
import Log
package import Logging

extension Settings {
    /// The settings in the agent's first log line, by the names of their options.
    ///
    /// A setting that is seldom used is there only if it has another value than its default.
    package var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = [
            "edges": "\(edges.scope.rawValue)", "device": "\(device)",
            "sensors": "\(Self.list(sensors))", "pod_networks": "\(Self.list(podNetworks))",
            "service_networks": "\(Self.list(serviceNetworks))",
            "ring_memory": .number(capture.ringByteCountMax),
            "queue_memory": .number(capture.queueByteCountMax),
        ]
        if !uncovered.isEmpty { metadata["uncovered"] = "\(Self.list(uncovered))" }
        if !edges.included.isEmpty { metadata["included"] = "\(Self.list(edges.included))" }
        if !edges.excluded.isEmpty { metadata["excluded"] = "\(Self.list(edges.excluded))" }
        if taps.mode != .host { metadata["tap"] = "\(taps.mode.rawValue)" }
        if sensorPolicy != .all { metadata["sensor_policy"] = "\(sensorPolicy.rawValue)" }
        if !deduplicates { metadata["dedup"] = "off" }
        if capture.leavesOutUnexplained { metadata["services"] = "untracked" }
        if capture.ciliumFolder == nil { metadata["cilium_tables"] = "off" }
        if !capture.restoresWireForm { metadata["frames"] = "raw" }
        if let filter = capture.selection.filter { metadata["filter"] = "\(filter.text)" }
        if let file = capture.selection.filterFile { metadata["filter_file"] = "\(file)" }
        if let count = capture.selection.flowSampleCount { metadata["flow_sample"] = "1/\(count)" }
        if let count = capture.selection.cutoffByteCount { metadata["cutoff"] = .number(count) }
        return metadata
    }

    private static func list(_ items: [some CustomStringConvertible]) -> String {
        items.map(\.description).joined(separator: ",")
    }
}
