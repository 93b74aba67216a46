import Linux
import Testing
import Time

@Suite("A mailbox")
struct MailboxTests {
    private enum Message: Equatable, Sendable {
        case stop
        case set(key: Int, Int)

        var key: Int? { if case .set(let key, _) = self { key } else { nil } }
    }

    private static func isReadable(_ mailbox: Mailbox<Message>) throws -> Bool {
        let ready = try poll([0: (mailbox.fileDescriptor, .readable)], until: .zero)
        return ready[0].contains(.readable)
    }

    @Test("has its messages in order, and is readable while there are some")
    func order() throws {
        let mailbox = try Mailbox<Message>(countMax: 8)
        #expect(try !Self.isReadable(mailbox) && mailbox.takeAll() == [])
        #expect(mailbox.send(.set(key: 1, 1)) && mailbox.send(.stop))
        #expect(mailbox.count == 2)
        #expect(try Self.isReadable(mailbox))
        #expect(mailbox.takeAll() == [.set(key: 1, 1), .stop])
        #expect(try !Self.isReadable(mailbox) && mailbox.takeAll() == [])
        #expect(mailbox.send(.stop))
        #expect(try Self.isReadable(mailbox))
    }

    @Test("drops what is too much, and says so")
    func bound() throws {
        let mailbox = try Mailbox<Message>(countMax: 2)
        #expect((1...4).map { mailbox.send(.set(key: $0, 0)) } == [true, true, false, false])
        #expect(mailbox.takeAll() == [.set(key: 1, 0), .set(key: 2, 0)])
        #expect(mailbox.send(.stop))
    }

    @Test("lets a message replace older ones with its key, even when it is full")
    func replacing() throws {
        let mailbox = try Mailbox<Message>(countMax: 2)
        #expect(mailbox.send(.set(key: 1, 1), replacing: \.key))
        #expect(mailbox.send(.set(key: 2, 2), replacing: \.key))
        #expect(mailbox.send(.set(key: 1, 3), replacing: \.key))
        #expect(!mailbox.send(.set(key: 3, 4), replacing: \.key))
        #expect(mailbox.takeAll() == [.set(key: 2, 2), .set(key: 1, 3)])
    }

    @Test("lets a message that waits stand for later ones with its key")
    func unlessWaiting() throws {
        let mailbox = try Mailbox<Message>(countMax: 4)
        #expect(mailbox.send(.set(key: 1, 1), unlessWaiting: \.key))
        #expect(!mailbox.send(.set(key: 1, 2), unlessWaiting: \.key))
        #expect(mailbox.send(.stop, unlessWaiting: \.key))
        #expect(mailbox.takeAll() == [.set(key: 1, 1), .stop])
        #expect(mailbox.send(.set(key: 1, 3), unlessWaiting: \.key))
    }

    @Test("returns without a message when the time has come")
    func deadline() throws {
        let mailbox = try Mailbox<Message>(countMax: 4)
        #expect(mailbox.takeAll(waitingUntil: .zero) == [])
        mailbox.send(.stop)
        #expect(mailbox.takeAll(waitingUntil: nil) == [.stop])
    }

    @Test("loses nothing that several threads send while one takes")
    func threads() throws {
        let (threadCount, messageCount) = (4, 2000)
        let mailbox = try Mailbox<Message>(countMax: threadCount * messageCount)
        var threads: [TransferBox<Thread>] = []
        for key in 0..<threadCount {
            threads.append(
                TransferBox(
                    try Thread {
                        for value in 0..<messageCount { mailbox.send(.set(key: key, value)) }
                    }))
        }
        var received: [Int: [Int]] = [:]
        var count = 0
        while count < threadCount * messageCount {
            for case .set(let key, let value) in mailbox.takeAll(waitingUntil: nil) {
                received[key, default: []].append(value)
                count += 1
            }
        }
        for thread in threads { thread.take()?.join() }
        #expect(received.count == threadCount)
        #expect(received.values.allSatisfy { $0 == Array(0..<messageCount) })
        #expect(mailbox.takeAll() == [])
    }
}
