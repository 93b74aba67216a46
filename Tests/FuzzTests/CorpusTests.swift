import FuzzTargets
import Linux
import Testing

/// The corpus of the guided fuzzer: inputs that take different paths, and those of faults that are
/// mended.
@Suite("The fuzzer's corpus")
struct CorpusTests {
    private static let folder =
        #filePath.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 }
        + "/Fuzz/corpus"

    @Test("breaks no law of its target", arguments: FuzzTarget.all.map(\.name))
    func corpus(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let files = try fileNames(in: "\(Self.folder)/\(name)").filter { !$0.hasPrefix(".") }
        #expect(files.count >= 5)
        for file in files {
            let path = "\(Self.folder)/\(name)/\(file)"
            let bytes = try readFile(path, byteCountMax: target.byteCountMax)
            #expect(throws: Never.self, "\(path)") { try target.check(bytes) }
        }
    }

    @Test("has a folder for each target, and no other")
    func folders() throws {
        let folders = try fileNames(in: Self.folder).filter { !$0.hasPrefix(".") }
        #expect(folders.sorted() == FuzzTarget.all.map(\.name).sorted())
    }
}
