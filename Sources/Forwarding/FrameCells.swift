import Addressing

/// Memory for copies of frames, in cells of one length.
///
/// It grows with the most frames that have ever been there at once, up to its bound, so that nothing
/// is allocated for a frame that finds a free cell.
struct FrameCells {
    /// The length of a cell, which no frame in it exceeds.
    let byteCount: Int
    private let countMax: Int
    private var memory: [UInt8] = []
    private var free: [Int32] = []

    /// Creates memory without any cell yet.
    init(byteCount: Int, countMax: Int) {
        (self.byteCount, self.countMax) = (byteCount, countMax)
    }

    /// Whether no cell is free, and no further one may be made.
    var isFull: Bool { free.isEmpty && memory.count >= countMax * byteCount }

    /// Copies a frame into a free cell.
    ///
    /// - Returns: The cell; nil if there is none, or the frame is longer than a cell.
    mutating func store(_ bytes: RawSpan) -> Int32? {
        guard bytes.byteCount <= byteCount, !isFull else { return nil }
        let cell = free.popLast() ?? addCell()
        memory.store(bytes, at: Int(cell) * byteCount)
        return cell
    }

    private mutating func addCell() -> Int32 {
        let cell = Int32(memory.count / byteCount)
        memory.append(contentsOf: repeatElement(0, count: byteCount))
        return cell
    }

    /// Frees a cell, whose bytes stay until the next frame is stored.
    mutating func giveBack(_ cell: Int32) { free.append(cell) }

    /// The first bytes of a cell.
    @_lifetime(borrow self)
    func bytes(_ cell: Int32, _ count: Int) -> RawSpan {
        let start = Int(cell) * byteCount
        return memory.wire.extracting(start..<start + count)
    }
}
