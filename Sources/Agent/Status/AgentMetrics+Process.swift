import Linux
import Metrics

/// The process, under the names that the client libraries of Prometheus give such figures.
///
/// Dashboards for any program show them: restarts by the start time, leaks by memory and descriptors.
extension AgentMetrics {
    static let process: [Metric] = [
        figure("cpu_seconds_total", .counter, "Seconds that the agent's threads have run.") {
            $0.figures.map { Sample($0.cpuSeconds) }
        },
        figure("resident_memory_bytes", .gauge, "Bytes of memory that the agent has.") {
            $0.figures.map { Sample($0.residentByteCount) }
        },
        figure("virtual_memory_bytes", .gauge, "Bytes of the agent's address space.") {
            $0.figures.map { Sample($0.virtualByteCount) }
        },
        figure("start_time_seconds", .gauge, "When the agent started, in seconds since 1970.") {
            $0.figures.map { Sample($0.startSeconds) }
        },
        figure("threads", .gauge, "Threads of the agent.") {
            $0.figures.map { Sample($0.threadCount) }
        },
        figure("open_fds", .gauge, "Descriptors that the agent has open.") { _ in
            ProcessFigures.readDescriptorCount().map { Sample($0) }
        },
        figure("max_fds", .gauge, "Descriptors that the agent may have open.") { _ in
            ProcessFigures.descriptorCountMax.map { Sample($0) }
        },
    ]

    /// A family without a sample where the kernel does not say.
    private static func figure(
        _ name: String, _ kind: Exposition.Kind, _ help: String,
        _ sample: @escaping @Sendable (AgentMetrics) -> Sample?
    ) -> Metric {
        Metric(family: .init("process_\(name)", kind, help)) { metrics in
            sample(metrics).map { [$0] } ?? []
        }
    }
}
