import Addressing
import Agent
import Linux
import Security
import Settings
import Testing
import Time

@Suite("The slots for clients")
struct ClientSlotsTests {
    private func address(_ number: Int) throws -> IPAddress {
        try #require(IPAddress("192.0.2.\(number)"))
    }

    /// A box for a slot, since arrays hold no noncopyable values.
    private final class Client {
        let slot: ClientSlot

        init(_ slot: consuming ClientSlot) { self.slot = slot }

        func logIn() -> Bool { slot.logIn() }

        var isEvicted: Bool {
            get throws {
                try !poll([(slot.evictionDescriptor, .readable)], milliseconds: 0)[0].isEmpty
            }
        }
    }

    private func admit(_ slots: ClientSlots, _ address: IPAddress) throws -> Client? {
        switch try slots.admit(address, now: .zero) {
        case .admitted(let slot, _): Client(slot)
        case .refused: nil
        }
    }

    @Test("admit a few from one address, until one of them logs in or leaves")
    func perAddress() throws {
        let slots = try ClientSlots()
        let (one, other) = (try address(1), try address(2))
        var clients = try (0..<ClientSlots.limits.countMaxPerNetwork).compactMap { _ in
            try admit(slots, one)
        }
        #expect(clients.count == ClientSlots.limits.countMaxPerNetwork)
        #expect(try admit(slots, one) == nil)
        #expect(try admit(slots, other) != nil)
        #expect(clients[0].logIn())
        clients.append(try #require(try admit(slots, one)))
        #expect(try admit(slots, one) == nil)
        clients.removeLast()
        #expect(try admit(slots, one) != nil)
    }

    @Test("evict the one that has been silent for longest where too many have not logged in")
    func eviction() throws {
        let slots = try ClientSlots()
        var clients: [Client] = []
        for number in 1...ClientSlots.limits.pendingCountMax {
            clients.append(try #require(try admit(slots, try address(number))))
        }
        #expect(try clients.allSatisfy { try !$0.isEvicted })
        // A client that has logged in is no stranger, and makes room.
        #expect(clients[0].logIn())
        clients.append(try #require(try admit(slots, try address(100))))
        #expect(try clients.allSatisfy { try !$0.isEvicted })
        clients.append(try #require(try admit(slots, try address(101))))
        #expect(try clients.map { try $0.isEvicted }.firstIndex(of: true) == 1)
        #expect(try clients.count { try $0.isEvicted } == 1)
    }

    @Test("tell each client to go once, and refuse more while too many are going")
    func bound() throws {
        let slots = try ClientSlots()
        var clients: [Client] = []
        for number in 0..<100 {
            if let client = try admit(slots, try address(number)) { clients.append(client) }
        }
        let limits = ClientSlots.limits
        #expect(clients.count == limits.pendingCountMax + limits.leavingCountMax)
        #expect(try clients.prefix(limits.leavingCountMax).allSatisfy { try $0.isEvicted })
        #expect(try clients.count { try $0.isEvicted } == limits.leavingCountMax)
        clients.removeFirst()
        #expect(try admit(slots, try address(100)) != nil)
    }

    @Test("let a bounded number log in, and one more when one has left")
    func full() throws {
        let slots = try ClientSlots()
        var clients: [Client] = []
        for number in 1...PassiveSettings.clientCountMax {
            #expect(!slots.isFull)
            clients.append(try #require(try admit(slots, try address(number))))
            #expect(clients[number - 1].logIn())
        }
        #expect(slots.isFull)
        let late = try #require(try admit(slots, try address(200)))
        #expect(!late.logIn())
        clients.removeFirst()
        #expect(!slots.isFull && late.logIn())
    }
}
