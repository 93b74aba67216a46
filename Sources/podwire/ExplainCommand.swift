import Agent
import ArgumentParser
import BPF
import Collector
import Frames
import Kernel
import Observation

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Says which edge reports a packet, and by which step of the rule.",
        discussion: """
            A packet is described by its protocol, its source and its destination; a capture file's \
            packets are counted by the steps that decide about them; and an edge's BPF program is \
            listed as the kernel gets it. All of it as seen from this node. Examples:

              podwire explain tcp 10.244.1.2:40000 10.244.2.3:80
              podwire explain --file pods.pcapng --edge veth08b350d0
              podwire explain --program veth08b350d0

            It takes the agent's settings, as options or as variables. Pods' own addresses, and \
            what becomes of calls to services, need CAP_NET_ADMIN.
            """)

    @Argument(help: "PROTOCOL SOURCE DESTINATION; with ports, ADDRESS:PORT or [IPV6]:PORT.")
    var packet: [String] = []

    @Option(help: "A pcap or pcapng file, recorded at edges of this node.")
    var file: String?

    @Option(help: "The edge that the file is from, where its MAC addresses do not tell.")
    var edge: String?

    @Option(help: "An edge whose BPF program to list.")
    var program: String?

    @Option(help: "Networks that pods have their addresses in, comma-separated. (PODNET)")
    var podNetwork: String?

    @Option(help: "Networks of service addresses, comma-separated. (SVCNET)")
    var serviceNetwork: String?

    @Option(
        help:
            "Addresses and networks inside the pod networks that no agent covers. (PODWIRE_UNCOVERED)"
    )
    var uncovered: String?

    @Option(help: "Sensors whose feed is not reported, by address. (EXTRAHOP_SENSOR_IP)")
    var sensor: String?

    func validate() throws {
        let count = [!packet.isEmpty, file != nil, program != nil].count { $0 }
        guard count == 1 else {
            throw ValidationError("give one of: a packet, --file, or --program")
        }
        guard edge == nil || file != nil else {
            throw ValidationError("--edge belongs to --file")
        }
    }

    func run() throws {
        let settings = try readSettings()
        do {
            let described = packet.isEmpty ? nil : try DescribedPacket(words: packet)
            var explainer = try Explainer(settings)
            if let blindness = explainer.blindness {
                let missing = NodeAgent.MissingCapability(capability: .netAdmin)
                writeToStandardError("podwire explain: \(blindness): \(missing)\n")
            }
            if let described {
                writeToStandardOutput(Self.text(described, &explainer))
            } else if let program {
                try list(program, explainer)
            } else if let file {
                try explain(file, explainer)
            }
        } catch let error as DescribedPacket.Failure {
            writeToStandardError("podwire explain: \(error)\n")
            throw Exit.usage
        } catch let code as ExitCode {
            throw code
        } catch {
            writeToStandardError("podwire explain: \(error)\n")
            throw Exit.systemError
        }
    }

    private func readSettings() throws -> Settings {
        let values: [(Setting, String?)] = [
            (.podNetworks, podNetwork), (.serviceNetworks, serviceNetwork),
            (.uncovered, uncovered), (.sensors, sensor),
        ]
        let options = Dictionary(
            uniqueKeysWithValues: values.compactMap { setting, value in
                value.map { (setting, $0) }
            })
        do throws(SettingFailure) {
            return try Settings(
                options: options, needsSensor: false, environment: environmentVariable)
        } catch {
            writeToStandardError("podwire explain: \(error)\n")
            throw Exit.usage
        }
    }

    private func place(_ name: String, _ explainer: borrowing Explainer) throws -> Place {
        guard let place = explainer.place(named: name) else {
            writeToStandardError(
                "podwire explain: \(name) is no edge of this node: see `podwire edges`\n")
            throw Exit.usage
        }
        return place
    }
}

extension ExplainCommand {
    private static func text(
        _ packet: DescribedPacket, _ explainer: inout Explainer
    ) -> String {
        let ends = [("source", packet.source), ("destination", packet.destination)].map {
            [$0, $1.description, explainer.role(of: $1.address)]
        }
        let views = explainer.explain(packet)
        var text = "\(packet)\n\n" + Columns.text(["END", "ADDRESS", "IS A"], ends) + "\n"
        if views.isEmpty {
            text += "No pod's edge sees it.\n"
        } else {
            let rows = views.map { view in
                [
                    view.edge, view.isEgress ? "egress" : "ingress",
                    view.decision.isReported ? "yes" : "no",
                    view.isDecidedByKernel ? "kernel" : "user space", reason(view),
                ]
            }
            text += Columns.text(["EDGE", "DIRECTION", "REPORTED", "DECIDED IN", "WHY"], rows)
        }
        return text
    }

    private static func reason(_ view: Explainer.View) -> String {
        guard let translation = view.translation else { return view.decision.step.description }
        let port = translation.newPort == 0 ? "" : " port \(translation.newPort)"
        return "\(view.decision.step.description), \(translation.newAddress)\(port)"
    }

    private func list(_ name: String, _ explainer: borrowing Explainer) throws {
        let program = try explainer.program(at: place(name, explainer)).program
        let lines = program.listing
        let width = lines.map(\.instruction.count).max() ?? 0
        let text = lines.enumerated().map { index, line in
            let number = "\(index)"
            let padding = String(repeating: " ", count: 4 - min(4, number.count))
            let gap = String(repeating: " ", count: width - line.instruction.count)
            return "\(padding)\(number)  \(line.instruction)\(gap)  ; \(line.note)\n"
        }
        writeToStandardOutput(text.joined())
    }

    private func explain(_ path: String, _ explainer: consuming Explainer) throws {
        let place = try edge.map { name in try self.place(name, explainer) }
        var reader = try CaptureReader(path: path)
        var explanation = FileExplanation(explainer, at: place)
        while let frame = try reader.next() {
            explanation.add(frame.bytes, nanoseconds: frame.nanoseconds)
        }
        writeToStandardOutput(Self.text(explanation, passedOver: reader.passedOverCount))
    }

    private static func text(
        _ explanation: borrowing FileExplanation, passedOver: Int
    ) -> String {
        let total = explanation.frameCount
        let rows = explanation.counts.sorted { ($1.value, "\($0.key)") < ($0.value, "\($1.key)") }
            .map { row, count in
                [
                    "\(count)", percentage(count, of: total), row.isReported ? "yes" : "no",
                    row.isDecidedByKernel ? "kernel" : "user space", row.step.description,
                ]
            }
        var text = Columns.text(["PACKETS", "SHARE", "REPORTED", "DECIDED IN", "WHY"], rows)
        let settled = explanation.settledCount
        text += "\n\(total) packets, \(settled) of them settled in user space "
        text += "(\(percentage(settled, of: total)))\n"
        if explanation.strangerCount > 0 {
            text += "\(explanation.strangerCount) have no MAC address of a pod of this node: "
            text += "--edge says where they were recorded\n"
        }
        if passedOver > 0 { text += "\(passedOver) are no Ethernet frames\n" }
        return text
    }

    private static func percentage(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "0 %" }
        let tenths = (part * 1000 + whole / 2) / whole
        return "\(tenths / 10).\(tenths % 10) %"
    }
}
