/// Frames with the headers that filters ask for, and values of which filters have the same few.
///
/// They are whole, cut anywhere, or have bytes changed.
enum RandomFrame {
    static let hosts: [UInt32] = [
        0x0a01_0203, 0x0a01_0204, 0x0a02_0001, 0xc0a8_0101, 0xe000_0001, 5,
    ]
    static let hosts6: [[UInt8]] = [
        [0xfd, 0, 0, 0x10] + [UInt8](repeating: 0, count: 11) + [1],
        [0xfd, 0, 0, 0x10] + [UInt8](repeating: 0, count: 11) + [2],
        [0xff, 0x02] + [UInt8](repeating: 0, count: 13) + [1],
        [UInt8](repeating: 0, count: 16),
    ]
    static let ports: [UInt16] = [22, 53, 80, 443, 1024, 8080, 65_535]
    static let protocols: [UInt8] = [6, 6, 6, 17, 17, 132, 1, 2, 50, 51, 58, 103, 112, 9, 44]
    static let etherTypes: [UInt16] = [
        0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8035, 0x8100, 0x88a8, 0x9100, 0x8847,
        0x8863, 0x8864, 0x809b, 0x80f3, 0x8137, 0x6003, 0x88cc, 40, 1500, 1501,
    ]
    static let macs: [[UInt8]] = [
        [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        [0x33, 0x33, 0, 0, 0, 1],
    ]

    static func make(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        var frame = ethernet(with: &generator, depth: 0)
        let chance = Int.random(in: 0..<10, using: &generator)
        if chance < 3 {
            frame.removeLast(Int.random(in: 0...frame.count, using: &generator))
        } else if chance < 5, !frame.isEmpty {
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                frame[Int.random(in: 0..<frame.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
        }
        return frame
    }

    private static func pick<Element>(
        _ list: [Element], _ generator: inout some RandomNumberGenerator
    ) -> Element {
        list[Int.random(in: 0..<list.count, using: &generator)]
    }

    private static func bytes(_ number: UInt16) -> [UInt8] {
        [UInt8(number >> 8), UInt8(number & 0xff)]
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        bytes(UInt16(number >> 16)) + bytes(UInt16(truncatingIfNeeded: number))
    }

    private static func ethernet(
        with generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let addresses = pick(macs, &generator) + pick(macs, &generator)
        return addresses + payload(pick(etherTypes, &generator), &generator, depth: depth)
    }

    /// An EtherType and what follows it.
    private static func payload(
        _ etherType: UInt16, _ generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let type = bytes(etherType)
        switch etherType {
        case 0x0800: return type + ipv4(&generator, depth: depth)
        case 0x86dd: return type + ipv6(&generator, depth: depth)
        case 0x0806, 0x8035:
            return type + [0, 1, 8, 0, 6, 4, 0, 1] + pick(macs, &generator)
                + bytes(pick(hosts, &generator)) + pick(macs, &generator)
                + bytes(pick(hosts, &generator))
        case 0x8100, 0x88a8, 0x9100:
            let tag = bytes(UInt16.random(in: 0...3, using: &generator) | 0x2000)
            return type + tag + payload(pick(etherTypes, &generator), &generator, depth: depth)
        case 0x8847: return type + labels(&generator, depth: depth)
        case 0x8864:
            let session = bytes(UInt16.random(in: 0...2, using: &generator))
            let isIPv4 = Bool.random(using: &generator)
            return type + [0x11, 0] + session + [0, 60, 0, isIPv4 ? 0x21 : 0x57]
                + (isIPv4 ? ipv4(&generator, depth: depth) : ipv6(&generator, depth: depth))
        case ...1500: return type + logicalLink(&generator)
        default: return type + some(40, &generator)
        }
    }

    private static func some(
        _ count: Int, _ generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        (0..<count).map { _ in .random(in: 0...255, using: &generator) }
    }

    private static func logicalLink(_ generator: inout some RandomNumberGenerator) -> [UInt8] {
        let heads: [[UInt8]] = [
            [0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37], [0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b],
            [0xaa, 0xaa, 3, 0, 0, 0, 0x80, 0xf3], [0xfe, 0xfe, 3, 0x83, 0, 0, 0, 0x0f],
            [0xfe, 0xfe, 3, 0x81], [0xfe, 0xfe, 3, 0x83, 0, 0, 0, 0x14], [0x42, 0x42, 3],
            [0xe0, 0xe0, 3], [0xff, 0xff], [0xf0, 0xf0, 1], [0xf0, 0xf0, 5], [0xf0, 0xf0, 0],
            [6, 6, 0x7f],
        ]
        return pick(heads, &generator) + some(20, &generator)
    }

    private static func labels(
        _ generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let count = Int.random(in: 1...3, using: &generator)
        var labels: [UInt8] = []
        for index in 1...count {
            let label = UInt32.random(in: 0...2, using: &generator) << 12
            labels += bytes(label | (index == count ? 0x100 : 0) | 64)
        }
        return labels
            + (Bool.random(using: &generator)
                ? ipv4(&generator, depth: depth) : ipv6(&generator, depth: depth))
    }

    private static func ipv4(
        _ generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let optionWords = pick([0, 0, 0, 1, 5], &generator)
        let number = pick(protocols, &generator)
        let fragment = pick([0, 0, 0, 0x4000, 0x2000, 0x2003, 0x0001], &generator) as UInt16
        return [UInt8(0x45 + optionWords), 0, 0, 60, 0, 7] + bytes(fragment) + [64, number, 0, 0]
            + bytes(pick(hosts, &generator)) + bytes(pick(hosts, &generator))
            + some(4 * optionWords, &generator) + transport(number, &generator, depth: depth)
    }

    private static func ipv6(
        _ generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let number = pick(protocols, &generator)
        let inner = pick(protocols, &generator)
        let extra = number == 44 ? [inner, 0, 0, 1, 0, 0, 0, 9] : []
        return [0x60, 0, 0, 0, 0, 40, number, 64] + pick(hosts6, &generator)
            + pick(hosts6, &generator) + extra
            + transport(number == 44 ? inner : number, &generator, depth: depth)
    }

    private static func transport(
        _ number: UInt8, _ generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let (source, destination) = (pick(ports, &generator), pick(ports, &generator))
        switch number {
        case 6:
            let flags = pick([2, 0x12, 0x10, 0x18, 0x11, 4], &generator) as UInt8
            return bytes(source) + bytes(destination) + some(8, &generator) + [0x50, flags]
                + some(20, &generator)
        case 17 where depth < 2 && Int.random(in: 0...2, using: &generator) == 0:
            return tunnel(source, &generator, depth: depth)
        case 17, 132: return bytes(source) + bytes(destination) + some(24, &generator)
        default: return [pick([0, 3, 8, 128, 135], &generator), 0] + some(24, &generator)
        }
    }

    private static func tunnel(
        _ source: UInt16, _ generator: inout some RandomNumberGenerator, depth: Int
    ) -> [UInt8] {
        let isGeneve = Bool.random(using: &generator)
        let network = bytes(UInt32.random(in: 0...2, using: &generator) << 8)
        let head = bytes(source) + bytes(isGeneve ? UInt16(6081) : 4789) + [0, 60, 0, 0]
        guard isGeneve else {
            return head + [8, 0, 0, 0] + network + ethernet(with: &generator, depth: depth + 1)
        }
        let optionWords = pick([0, 0, 1, 3], &generator)
        let isFrame = Bool.random(using: &generator)
        let inside =
            isFrame
            ? ethernet(with: &generator, depth: depth + 1) : ipv4(&generator, depth: depth + 1)
        let version = pick([0, 0, 0, 0x40], &generator) as UInt8
        return head + [version | UInt8(optionWords), 0] + bytes(isFrame ? UInt16(0x6558) : 0x0800)
            + network + some(4 * optionWords, &generator) + inside
    }
}
