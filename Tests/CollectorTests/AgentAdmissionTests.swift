import Addressing
import Collector
import Testing
import Time

@Suite("The admission of agents")
struct AgentAdmissionTests {
    private static func address(_ number: Int) -> IPAddress {
        IPAddress(ipv4: 0x0a00_0000 + UInt32(number))
    }

    @Test("takes a few silent connections from each network")
    func networks() {
        var admission = AgentAdmission()
        var link = 0
        func admitted(_ address: IPAddress) -> Bool {
            link += 1
            return admission.admit(address, as: link, now: .zero) == .admitted(evicted: nil)
        }
        let most = AgentAdmission.countMaxPerNetwork
        var count = (0..<512).count { _ in admitted(Self.address(1)) }
        #expect(count == most)
        // The addresses of a /64 share a bound, and the oldest ones make room.
        let six = (0..<512).map { IPAddress(ipv6High: 1, low: UInt64($0)) }
        count = six.count { admitted($0) }
        #expect(count == most)
        let isOtherAdmitted = admitted(Self.address(2))
        #expect(isOtherAdmitted)
        #expect(admission.counts.refused == UInt64(2 * (512 - most) - most))
        #expect(admission.counts.evicted == UInt64(most))
    }

    @Test("lets the one go that is silent longest, and keeps agents from known networks")
    func eviction() {
        var admission = AgentAdmission()
        let agent = Self.address(1)
        let first = admission.admit(agent, as: 0, now: .zero)
        let begins = admission.beginCapture(agent, as: 0) { _ in .zero }
        #expect(first == .admitted(evicted: nil) && begins == .admitted(evicted: nil))
        var pending: [Int] = []
        for link in 1...10_000 {
            guard
                case .admitted(let evicted) = admission.admit(
                    Self.address(link + 1), as: link, now: .zero)
            else {
                Issue.record("\(link) is refused")
                return
            }
            if let evicted {
                #expect(evicted == pending.removeFirst())
                admission.remove(evicted)
            }
            pending.append(link)
            #expect(pending.count <= AgentAdmission.pendingCountMax)
        }
        #expect(admission.counts.evicted == UInt64(10_000 - AgentAdmission.pendingCountMax))
        // The agent comes again, and nobody has to go.
        admission.remove(0)
        let again = admission.admit(agent, as: 20_000, now: .zero)
        #expect(again == .admitted(evicted: nil))
    }

    private static let full = AgentAdmission.Decision.refused(
        "there are \(AgentAdmission.capturingCountMax) agents")

    /// Fills all places, of which some are of one network.
    private static func filled(ofOne count: Int) -> AgentAdmission {
        var admission = AgentAdmission()
        for link in 0..<AgentAdmission.capturingCountMax {
            let address = address(link < count ? 1 : link + 1000)
            let decision = admission.admit(address, as: link, now: .zero)
            let begins = admission.beginCapture(address, as: link) { _ in .zero }
            #expect(decision == .admitted(evicted: nil) && begins == decision)
        }
        return admission
    }

    @Test("ends at the most agents that capture, and has room again when one goes")
    func capturing() {
        var admission = Self.filled(ofOne: 0)
        let refused = admission.admit(Self.address(9999), as: 9999, now: .zero)
        #expect(admission.counts.refused == 1)
        admission.remove(3)
        let admitted = admission.admit(Self.address(9999), as: 9999, now: .zero)
        #expect(refused == Self.full && admitted == .admitted(evicted: nil))
    }

    @Test("has a place for each network while another one has several")
    func places() {
        var admission = Self.filled(ofOne: 400)
        // The links of the network carried something lately, the fewer the later, but two.
        func activeAt(_ link: Int) -> MonotonicTime {
            .zero + .seconds(link == 7 || link == 9 ? 1 : 1000 - link)
        }
        let rich = Self.address(1)
        let more = admission.admit(rich, as: 10_000, now: .zero)
        #expect(more == Self.full)
        var evicted: [Int?] = []
        for link in 10_001..<10_100 {
            let address = Self.address(link + 1000)
            let decision = admission.admit(address, as: link, now: .zero)
            #expect(decision == .admitted(evicted: nil))
            switch admission.beginCapture(address, as: link, activeAt: activeAt) {
            case .admitted(let other): evicted.append(other)
            case .refused(let reason): Issue.record("\(link): \(reason)")
            }
        }
        #expect(evicted.prefix(3) == [7, 9, 399])
        #expect(admission.counts.evicted == 99)
        #expect(evicted.allSatisfy { $0.map { $0 < 400 } ?? false })
    }

    @Test("takes no agent's place for a connection that does not capture")
    func silence() {
        var admission = Self.filled(ofOne: 400)
        for link in 10_000..<10_060 {
            _ = admission.admit(Self.address(link), as: link, now: .zero)
        }
        let again = admission.admit(Self.address(20_000), as: 20_000, now: .zero)
        let begins = admission.beginCapture(Self.address(20_000), as: 20_000) { _ in .zero }
        #expect(begins == .admitted(evicted: 0) && admission.counts.evicted == 1)
        guard case .admitted = again else {
            Issue.record("it is refused")
            return
        }
    }
}
