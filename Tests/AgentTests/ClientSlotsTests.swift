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

        func logIn() -> Bool { slot.logIn() != .refused }
        var canLogIn: Bool { slot.canLogIn }
        func setCapturing(_ isCapturing: Bool) { slot.setCapturing(isCapturing) }

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
        var clients = try (0..<ClientSlots.limits.countMaxPerAddress).compactMap { _ in
            try admit(slots, one)
        }
        #expect(clients.count == ClientSlots.limits.countMaxPerAddress)
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

    @Test("let a bounded number capture, and one more when one has left")
    func full() throws {
        let slots = try ClientSlots()
        var clients: [Client] = []
        for number in 1...PassiveSettings.clientCountMax {
            clients.append(try #require(try admit(slots, try address(number))))
            #expect(clients[number - 1].logIn())
            clients[number - 1].setCapturing(true)
        }
        let late = try #require(try admit(slots, try address(200)))
        #expect(!late.canLogIn && !late.logIn())
        #expect(try clients.allSatisfy { try !$0.isEvicted })
        clients.removeFirst()
        #expect(late.canLogIn && late.logIn())
    }

    @Test("tell the oldest one without a capture to go where one address has most of them")
    func idle() throws {
        let slots = try ClientSlots()
        var clients: [Client] = []
        for _ in 1...PassiveSettings.clientCountMax {
            clients.append(try #require(try admit(slots, try address(1))))
            #expect(clients[clients.count - 1].logIn())
        }
        clients[0].setCapturing(true)
        let own = try #require(try admit(slots, try address(1)))
        #expect(!own.canLogIn && !own.logIn())
        let other = try #require(try admit(slots, try address(2)))
        #expect(other.canLogIn && other.logIn())
        #expect(try clients.map { try $0.isEvicted }.firstIndex(of: true) == 1)
        #expect(try clients.count { try $0.isEvicted } == 1)
    }

    @Test("keep a client that logs in though it was told to go")
    func late() throws {
        let slots = try ClientSlots()
        let first = try #require(try admit(slots, try address(0)))
        let others = try (1...ClientSlots.limits.pendingCountMax).map {
            try #require(try admit(slots, try address($0)))
        }
        #expect(try first.isEvicted && others.allSatisfy { try !$0.isEvicted })
        #expect(first.logIn())
        #expect(try !first.isEvicted)
    }
}
