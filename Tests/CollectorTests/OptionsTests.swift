import Collector
import Testing

@Suite("What a collector is told")
struct OptionsTests {
    @Test("has sizes in powers of two")
    func sizes() {
        let rows: [(String, UInt64?)] = [
            ("1048576", 1 << 20), ("100MiB", 100 << 20), ("100Mi", 100 << 20), ("100M", 100 << 20),
            ("1GB", 1 << 30), ("2K", 2048), ("7B", 7), ("1TiB", 1 << 40), ("", nil), ("MiB", nil),
            ("-1", nil), ("1.5G", nil), ("1X", nil), ("1 MiB", nil), ("9999999999G", nil),
            ("18446744073709551615T", nil), ("1iB", nil),
        ]
        for (text, byteCount) in rows {
            #expect(Quantity.byteCount(text) == byteCount, "\(text)")
        }
    }

    @Test("has times with their units")
    func times() {
        let rows: [(String, UInt64?)] = [
            ("90", 90), ("60s", 60), ("5m", 300), ("1h", 3600), ("1d", 86_400), ("", nil),
            ("s", nil), ("1w", nil), ("99999999999d", nil), ("18446744073709551615d", nil),
        ]
        for (text, seconds) in rows {
            #expect(Quantity.nanoseconds(text) == seconds.map { $0 * 1_000_000_000 }, "\(text)")
        }
    }

    @Test("has a sampling that makes sense")
    func sampling() {
        for text in ["1/2", "1/4294967295", "1ms", "10ms"] {
            var options = CaptureOptions()
            let isTaken = options.sample(text)
            #expect(isTaken, "\(text)")
        }
        for text in ["", "1/1", "1/0", "2/3", "1/", "0ms", "ms", "10", "10s", "1/99999999999"] {
            var options = CaptureOptions()
            let isTaken = options.sample(text)
            #expect(!isTaken, "\(text)")
        }
    }

    @Test("numbers the files that it begins")
    func paths() {
        var options = RecordingOptions(path: "/a.b/pods.pcapng")
        #expect(options.path(number: 1) == "/a.b/pods.pcapng")
        options.fileByteCountMax = 1
        #expect(options.path(number: 1) == "/a.b/pods-00001.pcapng")
        #expect(options.path(number: 123_456) == "/a.b/pods-123456.pcapng")
        for (path, numbered) in [
            ("/a.b/pods", "/a.b/pods-00002"), (".pods", ".pods-00002"),
            ("p.tar.x", "p.tar-00002.x"),
        ] {
            var options = RecordingOptions(path: path)
            options.fileNanosecondsMax = 1
            #expect(options.path(number: 2) == numbered)
        }
    }
}
