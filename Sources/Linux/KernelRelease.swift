import Glibc

/// A release of Linux: `6.1` of `6.1.0-18-amd64`.
///
/// Distributions bring single features of later releases to earlier ones. A release therefore says
/// what may be missing, not what is.
package struct KernelRelease: Comparable, Sendable, CustomStringConvertible {
    /// The first number.
    package let major: Int
    /// The second number.
    package let minor: Int

    /// A release by its numbers.
    package init(_ major: Int, _ minor: Int) { (self.major, self.minor) = (major, minor) }

    /// Parses what `uname -r` prints, or returns nil if it does not begin with two numbers.
    package init?(_ text: String) {
        let numbers = text.split(whereSeparator: { !$0.isWholeNumber }).prefix(2).compactMap {
            Int($0)
        }
        guard numbers.count == 2, text.first?.isWholeNumber == true else { return nil }
        self.init(numbers[0], numbers[1])
    }

    /// The release that runs here, or nil if it cannot be told.
    package static var current: KernelRelease? {
        var names = utsname()
        // Safety: the call fills the structure with texts that end within their fields.
        guard unsafe uname(&names) == 0 else { return nil }
        let text = unsafe withUnsafeBytes(of: &names.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return KernelRelease(text)
    }

    /// Whether the first release is older.
    package static func < (left: Self, right: Self) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    /// Both numbers: `"6.1"`.
    package var description: String { "\(major).\(minor)" }
}
