import Forwarding
import Observation
import PacketRing
import RPCAP
import Testing
import Time

@Suite("The program of a ring")
struct InstalledProgramTests {
    private static let begin = MonotonicTime(nanoseconds: 3_000_000_000)
    private static let retirementMax = Duration.milliseconds(42)
    private static let deciding: EdgeProgram = {
        let plan = AddressPlan(
            podNetworks: [], serviceNetworks: [], uncovered: [], nodeAddresses: [], sensors: [],
            localPodAddresses: [])
        let point = ObservationPoint(
            interfaceIndex: 1, podMAC: nil, domain: ObservationPoint.Domain([]))
        return ProgramPlan(
            Rule(plan), ViewForm(filter: nil, frameByteCountMax: 1500, sampling: .none),
            restoresWireForm: true
        ).program(at: point)
    }()

    /// Checks that a program decides only when packets of the one before it are out of the ring.
    private static func checkThatOlderPacketsHaveTheirTime(
        in installed: inout InstalledProgram, since time: Duration
    ) {
        installed.noteDrained(now: begin + time + .milliseconds(41))
        #expect(!installed.decides)
        installed.noteDrained(now: begin + time + .milliseconds(42))
        #expect(installed.decides)
    }

    @Test("says nothing of packets that may have come under another one")
    func opened() {
        var installed = InstalledProgram(
            Self.deciding, retirementMax: Self.retirementMax, now: Self.begin)
        #expect(Self.deciding.decides && Self.deciding.includesFilter)
        #expect(!installed.decides && !installed.includesFilter)
        installed.noteDrained(now: Self.begin + .milliseconds(41))
        #expect(!installed.decides)
        installed.noteDrained(now: Self.begin + .milliseconds(42))
        #expect(!installed.decides && installed.includesFilter)
        installed.markCurrent(1)
        #expect(installed.decides)
    }

    @Test("decides at once if the one before decided as much")
    func replaced() {
        var installed = InstalledProgram(
            Self.deciding, retirementMax: Self.retirementMax, now: Self.begin)
        installed.markCurrent(1)
        installed.noteDrained(now: Self.begin + .seconds(1))
        installed.replace(
            with: Self.deciding, retirementMax: Self.retirementMax, now: Self.begin + .seconds(2))
        installed.markCurrent(2)
        #expect(installed.decides)
        installed.replace(
            with: .undecided, retirementMax: Self.retirementMax, now: Self.begin + .seconds(3))
        #expect(!installed.decides)
        installed.replace(
            with: Self.deciding, retirementMax: Self.retirementMax, now: Self.begin + .seconds(4))
        #expect(!installed.decides)
        Self.checkThatOlderPacketsHaveTheirTime(in: &installed, since: .seconds(4))
    }

    @Test("decides nothing while it may hold what a program punted that knew less")
    func outdated() {
        var installed = InstalledProgram(
            Self.deciding, retirementMax: Self.retirementMax, now: Self.begin)
        installed.markCurrent(1)
        installed.noteDrained(now: Self.begin + .seconds(1))
        #expect(installed.decides)
        // The kernel may have no room for the next program.
        installed.markStale()
        installed.noteDrained(now: Self.begin + .seconds(2))
        #expect(!installed.decides)
        installed.replace(
            with: Self.deciding, retirementMax: Self.retirementMax, now: Self.begin + .seconds(3))
        installed.markCurrent(2)
        Self.checkThatOlderPacketsHaveTheirTime(in: &installed, since: .seconds(3))
    }

    @Test("decides all the time if the program for the other point is the same")
    func same() {
        var installed = InstalledProgram(
            Self.deciding, retirementMax: Self.retirementMax, now: Self.begin)
        installed.markCurrent(1)
        installed.noteDrained(now: Self.begin + .seconds(1))
        installed.markStale()
        installed.markCurrent(2)
        #expect(installed.decides)
    }

    @Test("is that of a version of the plan, until the edge moves")
    func version() {
        var installed = InstalledProgram(
            Self.deciding, retirementMax: Self.retirementMax, now: Self.begin)
        #expect(installed.planVersion == 0)
        installed.markCurrent(7)
        #expect(installed.planVersion == 7)
        installed.markStale()
        #expect(installed.planVersion == 0)
    }
}
