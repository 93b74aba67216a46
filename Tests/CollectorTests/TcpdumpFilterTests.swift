import BPF
import Collector
import Testing

@Suite("The text of a filter")
struct TcpdumpFilterTests {
    /// What tcpdump -ddd prints for udp over IPv4.
    private static let text = """
        6
        40 0 0 12
        21 0 3 2048
        48 0 0 23
        21 0 1 17
        6 0 0 262144
        6 0 0 0

        """

    private static let instructions = [
        Instruction(.loadHalf, 12), Instruction(.jumpIfEqual, 2048, ifTrue: 0, ifFalse: 3),
        Instruction(.loadByte, 23), Instruction(.jumpIfEqual, 17, ifTrue: 0, ifFalse: 1),
        Instruction(.keep, 262_144), Instruction(.keep, 0),
    ]

    @Test("is read from lines, and from one line with commas")
    func reads() throws {
        #expect(try TcpdumpFilter.program(Self.text).instructions == Self.instructions)
        let line = Self.text.split(separator: "\n").joined(separator: ",")
        #expect(try TcpdumpFilter.program(line).instructions == Self.instructions)
        #expect(try TcpdumpFilter.program(line + ",\r\n").instructions == Self.instructions)
        let padded = "\n  " + Self.text.split(separator: "\n").joined(separator: "\r\n\t ")
        #expect(try TcpdumpFilter.program(padded).instructions == Self.instructions)
    }

    static let refusals: [(text: String, reason: String)] = [
        ("", "it is empty; it takes what tcpdump -ddd prints"),
        ("\n \n", "it is empty; it takes what tcpdump -ddd prints"),
        (
            "(000) ldh [12]",
            "line 1: \"(000) ldh [12]\" is no number of instructions from 1 to 8192; "
                + "it takes what tcpdump -ddd prints"
        ),
        (
            "0",
            "line 1: \"0\" is no number of instructions from 1 to 8192; "
                + "it takes what tcpdump -ddd prints"
        ),
        (
            "\n2\n6 0 0 1\n",
            "line 2 says 2 instructions, and 1 line follows"
        ),
        (
            "1\n6 0 0",
            "line 2: \"6 0 0\" is no instruction, which is four decimal numbers: code, jt, jf and k"
        ),
        (
            "2,6 0 0 1,6 256 0 0",
            "line 1, entry 3: \"6 256 0 0\" is no instruction, which is four decimal numbers: "
                + "code, jt, jf and k"
        ),
        (
            "1\n0x6 0 0 0",
            "line 2: \"0x6 0 0 0\" is no instruction, which is four decimal numbers: code, jt, jf "
                + "and k"
        ),
        ("2\n21 0 5 0\n6 0 0 0", "line 2: instruction 0: jumps past the end"),
        ("1\n40 0 0 12", "the last instruction does not end the program"),
        ("2\n255 0 0 0\n6 0 0 0", "line 2: instruction 0: 0xff is not an opcode"),
    ]

    @Test("is refused with the place and the reason", arguments: 0..<refusals.count)
    func refuses(row: Int) {
        let (text, reason) = Self.refusals[row]
        #expect { try TcpdumpFilter.program(text) } throws: { "\($0)" == reason }
    }
}
