import Collector
import Testing

@Suite("What a collector is told")
struct OptionsTests {
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
            options.fileTimeMax = .seconds(1)
            #expect(options.path(number: 2) == numbered)
        }
    }
}
