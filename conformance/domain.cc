// RFC 3526 section 3 (2048 bits, generator 2) and RFC 5114 section 2.3 (2048 bits with a subgroup of 256).
#include "conformance/domain.h"

namespace cmkd::conformance {
namespace {

constexpr std::string_view kModp2048 =
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
    "15728e5a8aacaa68ffffffffffffffff";

constexpr std::string_view kPrime =
    "87a8e61db4b6663cffbbd19c651959998ceef608660dd0f25d2ceed4435e3b00e00df8f1d61957d4faf7df4561b2aa30"
    "16c3d91134096faa3bf4296d830e9a7c209e0c6497517abd5a8a9d306bcf67ed91f9e6725b4758c022e0b1ef4275bf7b"
    "6c5bfc11d45f9088b941f54eb1e59bb8bc39a0bf12307f5c4fdb70c581b23f76b63acae1caa6b7902d52526735488a0e"
    "f13c6d9a51bfa4ab3ad8347796524d8ef6a167b5a41825d967e144e5140564251ccacb83e6b486f6b3ca3f7971506026"
    "c0b857f689962856ded4010abd0be621c3a3960a54e710c375f26375d7014103a4b54330c198af126116d2276e11715f"
    "693877fad7ef09cadb094ae91e1a1597";
constexpr std::string_view kSubprime = "8cf83642a709a097b447997640129da299b1a47d1eb3750ba308b0fe64f5fbd3";
constexpr std::string_view kBase =
    "3fb32c9b73134d0b2e77506660edbd484ca7b18f21ef205407f4793a1a0ba12510dbc15077be463fff4fed4aac0bb555"
    "be3a6c1b0c6b47b1bc3773bf7e8c6f62901228f8c28cbb18a55ae31341000a650196f931c77a57f2ddf463e5e9ec144b"
    "777de62aaab8a8628ac376d282d6ed3864e67982428ebc831d14348f6f2f9193b5045af2767164e1dfc967c1fb3f2e55"
    "a4bd1bffe83b9c80d052b985d182ea0adb2a3b7313d3fe14c8484b1e052588b9b7d2bbd2df016199ecd06e1557cd0915"
    "b3353bbb64e0ec377fd028370df92b52c7891428cdc67eb6184b523d1db246c32f63078490f00ef8d647d148d4795451"
    "5e2327cfef98c582664b4c0f6cc41659";

std::uint8_t Nibble(char digit) { return static_cast<std::uint8_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

Bytes Number(std::string_view hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(Nibble(hex[i]) << 4 | Nibble(hex[i + 1])));
  return bytes;
}

}  // namespace

Template DomainOf(CK_KEY_TYPE type) {
  Template domain;
  if (type == CKK_DH) domain.Raw(CKA_PRIME, Number(kModp2048)).Raw(CKA_BASE, {2});
  if (type == CKK_DSA || type == CKK_X9_42_DH)
    domain.Raw(CKA_PRIME, Number(kPrime)).Raw(CKA_SUBPRIME, Number(kSubprime)).Raw(CKA_BASE, Number(kBase));
  return domain;
}

}  // namespace cmkd::conformance
