import Security
import Testing

/// Golden values are those of Python's hashlib.pbkdf2_hmac, of a salt of the bytes 0 to 15.
@Suite("A password's hash")
struct PasswordHashTests {
    private static let salt = "AAECAwQFBgcICQoLDA0ODw=="
    private static let password = "XlmEypBaVSQjizWYccEtwiA2kxgcZYBAF+jF/8AHNfM="

    static let golden: [(password: [UInt8], iterationCount: Int, hash: String)] = [
        (Array("password".utf8), 10_000, password),
        ([], 10_000, "v1G3X0C/7pJstPKcbLnQ6+ZDpXHSk4EJo8PndMh9Bdw="),
        (Array(0...255), 10_000, "9ipI+bPCJQzXgkp0YeGXDmRjPncO7qTqtI+DydTSv2I="),
        (Array("pässwörd".utf8), 20_000, "7clXO+6jq9jGPaL9Ku5XhRuisQ/N2rqHT5m+CzjBnTA="),
        (
            [UInt8](repeating: UInt8(ascii: "x"), count: 1024), 10_000,
            "xPMONfWL2eG0YG8bNnkFAP4AAW1ThGRdK6zz0k1jsGg="
        ),
        (
            Array("correct horse battery staple".utf8), 210_000,
            "tfP6dFnMFLm84erFFC/hWDzb6fAjAPCAs0RvJLiu5xY="
        ),
    ]

    @Test("is the one that others compute", arguments: golden)
    func matchesGolden(password: [UInt8], iterationCount: Int, hash: String) throws {
        let text = "$pbkdf2-sha512$\(iterationCount)$\(Self.salt)$\(hash)"
        let parsed = try #require(PasswordHash(text))
        #expect(parsed.description == text)
        #expect(parsed.matches(password))
        #expect(!parsed.matches(password + [1]))
        #expect(!parsed.matches(Array(password.dropLast()) + [1]))
    }

    @Test("comes back from its text, and is another one each time")
    func roundTrip() throws {
        let password = Array("swordfish".utf8)
        let (one, two) = (try PasswordHash(of: password), try PasswordHash(of: password))
        #expect(one != two)
        #expect(one.description.hasPrefix("$pbkdf2-sha512$210000$"))
        let parsed = try #require(PasswordHash(one.description))
        #expect(parsed == one)
        #expect(parsed.matches(password))
        #expect(!parsed.matches(Array("swordfisH".utf8)))
    }

    static let refused = [
        "", "$", "$$$$", "password",
        // Another scheme, and one that is cut short or goes on.
        "$pbkdf2-sha256$10000$\(salt)$\(password)", "$pbkdf2-sha512$10000$\(salt)",
        "$pbkdf2-sha512$10000$\(salt)$", "x$pbkdf2-sha512$10000$\(salt)$\(password)",
        "$pbkdf2-sha512$10000$\(salt)$\(password)$", "$pbkdf2-sha512$10000$\(salt)$\(password) ",
        // Numbers that are too small, too large, or written in another way.
        "$pbkdf2-sha512$9999$\(salt)$\(password)", "$pbkdf2-sha512$10000001$\(salt)$\(password)",
        "$pbkdf2-sha512$+10000$\(salt)$\(password)", "$pbkdf2-sha512$010000$\(salt)$\(password)",
        "$pbkdf2-sha512$99999999999999999999$\(salt)$\(password)",
        "$pbkdf2-sha512$-1$\(salt)$\(password)", "$pbkdf2-sha512$$\(salt)$\(password)",
        // Base64 of another length, with other characters, spaces, or bits that say nothing.
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0O$\(password)",
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0ODxA=$\(password)",
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0ODw=$\(password)",
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0ODx==$\(password)",
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0OD===$\(password)",
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0O.w==$\(password)",
        "$pbkdf2-sha512$10000$\(salt)$ lmEypBaVSQjizWYccEtwiA2kxgcZYBAF+jF/8AHNfM=",
        "$pbkdf2-sha512$10000$\(salt)$XlmEypBaVSQjizWYccEtwiA2kxgcZYBAF+jF/8AHNf= ",
        "$pbkdf2-sha512$10000$\(salt)$XlmEypBaVSQjizWYccEtwiA2kxgcZYBAF-jF_8AHNfM=",
        "$pbkdf2-sha512$10000$\(salt)$\u{e9}lmEypBaVSQjizWYccEtwiA2kxgcZYBAF+jF/8AHNM=",
    ]

    @Test("has one text only", arguments: refused)
    func refuses(text: String) {
        #expect(PasswordHash(text) == nil)
    }
}
