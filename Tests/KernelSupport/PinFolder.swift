import Linux

/// Runs a body with a folder in which bpftool(8) can pin maps, and removes folder and maps.
package func withPinFolder(_ body: (String) throws -> Void) throws {
    let folder = try output(of: "mktemp -d").filter { !$0.isNewline }
    defer { try? shell("umount -l \(folder); rmdir \(folder)") }
    try shell("mount -t bpf none \(folder)")
    try body(folder)
}

/// Bytes as bpftool(8) takes them.
package func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return "hex "
        + bytes.map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined(separator: " ")
}
