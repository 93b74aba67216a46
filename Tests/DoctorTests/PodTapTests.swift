import Addressing
import Doctor
import Edges
import Linux
import Netlink
import Settings
import Taps
import Testing

/// What the doctor says of capturing inside pods.
@Suite("The doctor's check of pod taps")
struct PodTapTests {
    private static func examination(
        _ trial: PodTapTrial, tap: String = "pod", namespaceID: Int32 = 3
    ) throws -> Examination {
        let environment = [
            "PODNET": "10.244.0.0/16", "EXTRAHOP_SENSOR_IP": "192.0.2.1", "PODWIRE_TAP": tap,
        ]
        var examination = Examination(ExaminedSettings(options: [:]) { environment[$0] })
        var link = Link(index: 6)
        (link.name, link.kind, link.isUp) = ("v6", "veth", true)
        (link.peerIndex, link.peerNamespace) = (2, namespaceID)
        var table = EdgeTable()
        table.apply(.link(link))
        examination.node = table.node(examination.settings.edges)
        examination.podTaps = .success(trial)
        return examination
    }

    private static func findings(_ examination: Examination) -> [Finding] {
        Doctor.findings(examination).filter { $0.check == "pod-taps" }
    }

    private static var good: PodTapTrial {
        var listing = NamespaceListing()
        listing.files[3] = NamespaceFile(
            path: "/run/netns/cni-1", identity: FileIdentity(device: 4, inode: 5))
        return PodTapTrial(listing: listing)
    }

    @Test("is silent unless pods are to be tapped inside")
    func hostTaps() throws {
        #expect(Self.findings(try Self.examination(Self.good, tap: "host")) == [])
    }

    @Test(
        "is content with an opener that answers and a file for each pod",
        arguments: ["pod", "auto"])
    func allIsWell(tap: String) throws {
        let findings = Self.findings(try Self.examination(Self.good, tap: tap))
        #expect(
            findings.map(\.found) == [
                "the opener answers, and the network namespaces of 1 edge are found"
            ])
        #expect(findings.map(\.grade) == [.ok])
    }

    @Test("names the missing opener and the component that has one")
    func noOpener() throws {
        var trial = Self.good
        trial.openerFailure = .noOpener(
            path: "/run/podwire/opener.sock", SystemError("connect", .noSuchFileOrDirectory))
        let findings = Self.findings(try Self.examination(trial))
        #expect(findings.map(\.grade) == [.warning])
        #expect(findings.first?.found.contains("/run/podwire/opener.sock") == true)
        #expect(findings.first?.remedy?.contains("k8s/components/pod-taps") == true)
    }

    @Test("names the propagation that a mount lacks, before and after it shows")
    func propagation() throws {
        var trial = Self.good
        trial.isPrivateMount = true
        var findings = Self.findings(try Self.examination(trial, namespaceID: 7))
        #expect(findings.map(\.grade) == [.warning])
        #expect(findings.first?.remedy?.contains("HostToContainer") == true)
        trial = Self.good
        trial.listing.problems = [.plainFiles(2, example: "/run/netns/cni-2")]
        findings = Self.findings(try Self.examination(trial, namespaceID: 7))
        #expect(findings.map(\.grade) == [.warning])
        #expect(findings.first?.remedy?.contains("HostToContainer") == true)
    }

    @Test("names the setting for another folder if pods have no file in this one")
    func otherFolder() throws {
        let findings = Self.findings(try Self.examination(Self.good, namespaceID: 7))
        #expect(findings.map(\.grade) == [.warning])
        #expect(
            findings.first?.found
                == "of 1 in 1 edge the network namespace has no file in /run/netns: v6")
        #expect(findings.first?.remedy?.contains("--netns") == true)
    }

    @Test("takes changes that are noticed late for a note")
    func lateChanges() throws {
        var trial = Self.good
        trial.listing.problems = [
            .watch("/run/netns", SystemError("inotify_init1", Errno(rawValue: 24)))
        ]
        #expect(Self.findings(try Self.examination(trial)).map(\.grade) == [.note])
    }

    @Test(
        "tells mounts that propagate from those that do not",
        arguments: [
            ("9 1 0:5 / /run/netns rw - tmpfs tmpfs rw", true),
            ("9 1 0:5 / /run/netns rw shared:3 - tmpfs tmpfs rw", false),
            ("9 1 0:5 / /run/netns ro,nosuid master:3 - tmpfs shared:1 rw", false),
            ("9 1 0:5 / /run/netns ro propagate_from:2 - tmpfs tmpfs rw", true),
            ("9 1 0:5 / /run rw - tmpfs tmpfs rw", false), ("", false), ("1 2 3", false),
            (
                "9 1 0:5 / /run/netns rw shared:3 - tmpfs t rw\n10 9 0:5 / /run/netns rw - tmpfs t rw",
                true
            ),
        ])
    func mounts(text: String, isPrivate: Bool) {
        #expect(PodTapTrial.isPrivate("/run/netns", in: text) == isPrivate)
    }
}
