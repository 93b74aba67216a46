import CBuild

/// The commit of the program's sources, as the build was told; nil if it was not.
///
/// A plus sign behind it stands for files that differ from the commit.
package var sourceCommit: String? {
    // Safety: the text is a constant of the program.
    let text = unsafe String(cString: cbuild_commit())
    return text.isEmpty ? nil : text
}
