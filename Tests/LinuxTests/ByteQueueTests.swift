import Addressing
import FuzzSupport
import Linux
import Testing

@Suite("A queue of bytes")
struct ByteQueueTests {
    private static func append(_ bytes: [UInt8], to queue: inout ByteQueue) {
        queue.append(bytes.wire)
    }

    @Test("has its bytes in order, and those put in front of them first")
    func order() throws {
        var queue = try ByteQueue(byteCountMax: 16, headroomByteCount: 4)
        Self.append([3, 4], to: &queue)
        Self.append([5, 6], to: &queue)
        var first = try ByteQueue(byteCountMax: 16)
        Self.append([1, 2], to: &first)
        queue.prepend(&first)
        let bytes = queue.bytes.array
        #expect(bytes == [1, 2, 3, 4, 5, 6] && first.byteCount == 0)
        queue.removeLast(1)
        queue.removeFirst(2)
        let rest = queue.bytes.array
        #expect(rest == [3, 4, 5])
    }

    @Test("has room as soon as something is sent, and refuses more than its bound")
    func room() throws {
        var queue = try ByteQueue(byteCountMax: 8)
        Self.append([1, 2, 3, 4, 5, 6], to: &queue)
        let hasRoom = (queue.hasRoom(for: 2), queue.hasRoom(for: 3))
        #expect(hasRoom == (true, false))
        queue.removeFirst(1)
        let hasRoomAgain = (queue.hasRoom(for: 3), queue.hasRoom(for: 4))
        #expect(hasRoomAgain == (true, false))
        queue.removeFirst(4)
        let hasRoomThen = (queue.hasRoom(for: 7), queue.hasRoom(for: 8))
        #expect(hasRoomThen == (true, false))
        Self.append([7], to: &queue)
        let bytes = queue.bytes.array
        #expect(bytes == [6, 7])
    }

    @Test("is sent piece by piece, and says whether nothing is left")
    func send() throws {
        var queue = try ByteQueue(byteCountMax: 8)
        Self.append([1, 2, 3, 4, 5], to: &queue)
        var sent: [UInt8] = []
        var limits = [2, 0, 3]
        func take(_ bytes: RawSpan) -> Int {
            let count = min(limits.removeFirst(), bytes.byteCount)
            sent += bytes.array.prefix(count)
            return count
        }
        let isEmpty = (queue.send(by: take), queue.send(by: take))
        #expect(isEmpty == (false, true) && sent == [1, 2, 3, 4, 5])
    }

    /// How an operation of the random test changes a queue.
    private enum Operation: CaseIterable {
        case append, extend, removeFirst, removeLast, send, prepend, change
    }

    @Test(
        "behaves as an array does, however often it goes around",
        arguments: 1...3 as ClosedRange<UInt64>)
    func model(seed: UInt64) throws {
        var generator = RandomNumbers(seed)
        let (byteCountMax, headroomByteCount) = (3 * 4096 + 77, 500)
        var queue = try ByteQueue(
            byteCountMax: byteCountMax, headroomByteCount: headroomByteCount)
        var model: [UInt8] = []
        for _ in 0..<300 {
            let size = Int.random(in: 0...5000, using: &generator)
            let fresh = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let some = min(size, model.count)
            let hasRoom = queue.hasRoom(for: size)
            #expect(hasRoom == (model.count + size <= byteCountMax))
            switch Operation.allCases.randomElement(using: &generator) ?? .append {
            case .append where hasRoom:
                Self.append(fresh, to: &queue)
                model += fresh
            case .extend:
                guard var span = queue.extendIfPossible(by: size) else { break }
                for index in fresh.indices {
                    span.storeBytes(of: fresh[index], toByteOffset: index, as: UInt8.self)
                }
                model += fresh
            case .removeFirst:
                queue.removeFirst(some)
                model.removeFirst(some)
            case .removeLast:
                queue.removeLast(some)
                model.removeLast(some)
            case .send:
                var rest = some
                let isEmpty = queue.send { bytes in
                    defer { rest = 0 }
                    return min(rest, bytes.byteCount)
                }
                model.removeFirst(some)
                #expect(isEmpty == model.isEmpty)
            case .prepend where size <= headroomByteCount:
                var other = try ByteQueue(byteCountMax: headroomByteCount)
                Self.append(fresh, to: &other)
                queue.prepend(&other)
                model = fresh + model
                #expect(other.byteCount == 0)
            case .change where some > 0:
                var last = queue.last(some)
                last.storeBytes(of: 42, toByteOffset: 0, as: UInt8.self)
                model[model.count - some] = 42
            case .append, .prepend, .change: break
            }
            let bytes = queue.bytes.array
            #expect(bytes == model)
        }
    }
}
