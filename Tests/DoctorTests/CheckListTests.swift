import Doctor
import Linux
import Netlink
import Settings
import Testing

/// What all checks have in common.
@Suite("The doctor's checks")
struct CheckListTests {
    @Test("have an id each, which is their title in the form of an anchor")
    func ids() {
        let ids = Doctor.checks.map { $0.id }
        #expect(Set(ids).count == ids.count)
        for check in Doctor.checks { #expect(Self.anchor(check.title) == check.id) }
    }

    @Test("have a section each in the documentation, in their order")
    func sections() throws {
        let folders = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let page = "/\(folders)/Sources/podwire/podwire.docc/DoctorChecks.md"
        let text = String(decoding: try readFile(page, byteCountMax: 1 << 20), as: UTF8.self)
        let anchors = text.split(separator: "\n").filter { $0.hasPrefix("## ") }
            .map { Self.anchor(String($0.dropFirst(3))) }
        #expect(anchors == Doctor.checks.map { $0.id })
    }

    /// The anchor of a heading, as GitHub makes it.
    private static func anchor(_ heading: String) -> String {
        String(heading.lowercased().map { $0 == " " ? "-" : $0 })
    }

    @Test("find little in a node of which nothing was read, and all of it has its check's name")
    func nothing() throws {
        let settings = ExaminedSettings(options: [.podNetworks: "10.244.0.0/16"]) { _ in nil }
        let findings = Doctor.findings(Examination(settings))
        let titles = Dictionary(uniqueKeysWithValues: Doctor.checks.map { ($0.id, $0.title) })
        for finding in findings {
            #expect(titles[finding.check] == finding.title)
            let isComplete = finding.meaning != nil && finding.remedy != nil
            #expect(isComplete == (finding.grade != .ok), "\(finding)")
        }
        let failed = findings.filter { $0.grade == .failed }.map(\.check)
        #expect(failed == ["capabilities", "sensor"])
    }

    @Test("say what fails with netlink, and judge nothing about a node that cannot be read")
    func netlink() throws {
        let settings = ExaminedSettings(options: [.podNetworks: "10.244.0.0/16"]) { _ in nil }
        var node = Examination(settings)
        let error = SystemError("socket", .addressFamilyNotSupported)
        for failure in [NetlinkFailure.listing(error), .subscription(error)] {
            node.netlinkFailure = failure
            let findings = Doctor.findings(node)
            #expect(findings.contains { $0.check == "netlink" && $0.grade == .failed })
            #expect(!findings.contains { $0.check == "edges" || $0.check == "pod-networks" })
        }
    }
}
