import Addressing
import Testing

@Suite("A hash that stays the same")
struct StableHashTests {
    /// By the published FNV-1a of these bytes, and the finalizer of SplitMix64.
    @Test("is the same in all versions")
    func values() {
        #expect(StableHash.of("") == 0xf52a_15e9_a9b5_e89b)
        #expect(StableHash.of("a") == 0x02c0_bdbf_4814_20f8)
        #expect(StableHash.of("foobar") == 0x404d_a9e3_b740_78c2)
        #expect(StableHash.of("node-1", "10.0.0.1:2003") == 0x8455_1db1_ea02_8cc1)
        #expect(StableHash.of("ab", "c") == 0x0a52_c632_fce1_f7d1)
        #expect(StableHash.of("a", "bc") == 0x54cb_1647_adbe_0435)
    }
}
