import Addressing
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

    @Test("makes room by moving what is left, and refuses more than its bound")
    func room() throws {
        var queue = try ByteQueue(byteCountMax: 8)
        Self.append([1, 2, 3, 4, 5, 6], to: &queue)
        let hasRoom = (queue.makeRoom(for: 2), queue.makeRoom(for: 3))
        #expect(hasRoom == (true, false))
        queue.removeFirst(5)
        let hasRoomThen = (queue.makeRoom(for: 7), queue.makeRoom(for: 8))
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
}
