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
        let begins = admission.beginCapture(agent, as: 0)
        #expect(first == .admitted(evicted: nil) && begins)
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

    @Test("ends at the most agents that capture, and has room again when one goes")
    func capturing() {
        var admission = AgentAdmission()
        for link in 0..<AgentAdmission.capturingCountMax {
            let address = Self.address(link)
            let decision = admission.admit(address, as: link, now: .zero)
            let begins = admission.beginCapture(address, as: link)
            #expect(decision == .admitted(evicted: nil) && begins)
        }
        #expect(admission.isFull)
        let refused = admission.admit(Self.address(9999), as: 9999, now: .zero)
        admission.remove(3)
        let admitted = admission.admit(Self.address(9999), as: 9999, now: .zero)
        #expect(refused == .refused("there are 512") && admitted == .admitted(evicted: nil))
    }
}
