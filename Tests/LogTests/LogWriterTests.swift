import Glibc
import Linux
import Log
import Testing
import Time

@Suite("A log's writer")
struct LogWriterTests {
    /// A pipe: what is written to `input` can be read from `output`.
    private struct Pipe {
        let output: CInt
        let input: CInt

        init() throws {
            var numbers: [CInt] = [0, 0]
            // Safety: the call writes two numbers.
            try call("pipe") { unsafe pipe(&numbers) }
            (output, input) = (numbers[0], numbers[1])
        }

        /// Reads until there are `count` lines, or nothing comes for a second.
        func lines(_ count: Int) -> [String] {
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            while bytes.count(where: { $0 == 10 }) < count,
                (try? poll([(output, .readable)], milliseconds: 1000))?[0].isEmpty == false
            {
                // Safety: the call writes at most as many bytes as there is room for.
                let readCount = unsafe read(output, &chunk, chunk.count)
                guard readCount > 0 else { break }
                bytes += chunk[..<readCount]
            }
            return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }

    @Test("writes lines in order, and flushes")
    func order() throws {
        let pipe = try Pipe()
        let writer = try LogWriter(to: pipe.input)
        for number in 0..<1000 { writer.write { _ in "line \(number)\n" } }
        writer.flush(until: .now + .seconds(5))
        #expect(pipe.lines(1000) == (0..<1000).map { "line \($0)" })
    }

    @Test("waits for nobody, and says how many lines were lost")
    func fullPipe() throws {
        let pipe = try Pipe()
        let writer = try LogWriter(to: pipe.input)
        let text = String(repeating: ".", count: 90)
        let count = 20_000
        for number in 0..<count { writer.write { "\(number) \($0) \(text)\n" } }
        writer.flush(until: .now + .milliseconds(10))
        let lines = pipe.lines(count)
        #expect(lines.count < count && lines.count * 90 < 3 * LogWriter.byteCountMax)
        // Each line says how many are missing right before it.
        var next = 0
        for line in lines {
            let words = line.split(separator: " ")
            let (number, lostCount) = (Int(words[0]), Int(words[1]))
            #expect(number == next + (lostCount ?? 0))
            next = (number ?? 0) + 1
        }
        writer.write { "last \($0)\n" }
        #expect(pipe.lines(1) == ["last \(count - next)"])
    }

    @Test("writes to what does not wait by itself, too")
    func nonBlocking() throws {
        let pipe = try Pipe()
        _ = fcntl(pipe.input, F_SETFL, O_NONBLOCK)
        let writer = try LogWriter(to: pipe.input)
        for number in 0..<2000 {
            writer.write { _ in "\(number) " + String(repeating: ".", count: 90) + "\n" }
        }
        #expect(pipe.lines(2000).count == 2000)
    }

    @Test("counts lines that cannot be written")
    func closedPipe() throws {
        signal(SIGPIPE, SIG_IGN)
        let pipe = try Pipe()
        let writer = try LogWriter(to: pipe.input)
        close(pipe.output)
        writer.write { _ in "one\ntwo\n" }
        writer.flush(until: .now + .seconds(5))
        var lostCount = 0
        writer.write {
            lostCount = $0
            return "three\n"
        }
        #expect(lostCount == 2)
    }
}
