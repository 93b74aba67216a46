import Formats
import Testing

@Suite("A byte count")
struct ByteCountTests {
    static let forms: [(text: String, value: UInt64)] = [
        ("1048576", 1 << 20), ("100MiB", 100 << 20), ("100Mi", 100 << 20), ("100M", 100 << 20),
        ("100 MiB", 100 << 20), ("256 MiB", 256 << 20), ("1GB", 1 << 30), ("3 GB", 3 << 30),
        ("2K", 2048), ("7B", 7), ("0", 0), ("1TiB", 1 << 40), ("1024T", 1 << 50),
    ]

    @Test(
        "is read in powers of two, with a space before its unit or without",
        arguments: 0..<forms.count)
    func reads(row: Int) {
        let (text, value) = Self.forms[row]
        #expect(ByteCount(text)?.value == value, "\(text)")
    }

    @Test(
        "is refused where it is none, or more than a pebibyte",
        arguments: [
            "", "MiB", " MiB", "-1", "+1", "1.5G", "1X", "1 cat", "1 ", "1MiB ", " 1MiB", "1iB",
            "1025T", "9999999999G", "18446744073709551615T", "99999999999999999999", "\u{0661}K",
        ])
    func refuses(text: String) {
        #expect(ByteCount(text) == nil)
    }

    static let shown: [(value: UInt64, text: String)] = [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
        (1_048_575, "1023.9 KiB"), (3 << 20, "3.0 MiB"), (UInt64.max, "15.9 EiB"),
    ]

    @Test(
        "has a text without decimals where that is exact and short",
        arguments: [
            (0, "0 B"), (64 << 20, "64 MiB"), (1104 << 20, "1104 MiB"), (1 << 40, "1 TiB"),
            (23_401_234 << 10, "22.3 GiB"), (1000, "1000 B"), (10_000, "9.7 KiB"),
            (1 << 63, "8 EiB"),
        ] as [(UInt64, String)])
    func exact(value: UInt64, text: String) { #expect(ByteCount(value).text == text) }

    @Test("is shown with its largest unit", arguments: 0..<shown.count)
    func shows(row: Int) {
        let (value, text) = Self.shown[row]
        #expect(ByteCount(value).description == text)
    }
}
