import BPF
import Edges
import Filter
import Observation
import Settings

/// Checks whether the agent's filter can be read, and whether the kernel can run it.
enum FilterCheck: DoctorCheck {
    static let id = "filter"
    static let title = "filter"

    static func findings(_ node: Examination) -> [Finding] {
        guard let read = node.filter else { return [] }
        let filter: FilterExpression
        do throws(FilterFile.Failure) {
            filter = try read.get()
        } catch {
            return [
                finding(
                    .failed, "\(error)", meaning: "the agent does not start",
                    remedy: "mend the file; `podwire filter --filter-file FILE` says what it means")
            ]
        }
        let count = filter.program.instructions.count
        let crowded = node.edgesWithoutRoom(for: filter.program)
        guard !crowded.isEmpty else { return [ok("\(count) instructions, which the kernel runs")] }
        return [
            finding(
                .warning,
                "\(count) instructions, which do not fit beside the rule of \(crowded.joined(separator: ", "))",
                meaning:
                    "user space runs it there on a copy of each packet, which takes more of the CPU",
                remedy:
                    "make it shorter: a network takes less than many hosts, a range less than many ports"
            )
        ]
    }
}

extension Examination {
    /// The edges whose programs have no room for a filter.
    fileprivate func edgesWithoutRoom(for filter: Program) -> [String] {
        guard let node else { return [] }
        let rule = NodePublisher(ruleSettings, node: node).snapshot.rule
        let snaplen = settings.capture.restoresWireForm ? nil : UInt32(settings.capture.snaplen)
        return node.edges.filter { edge in
            !EdgeProgram(rule, at: edge.point, filter: filter, snaplen: snaplen).includesFilter
        }.map(\.name)
    }
}
