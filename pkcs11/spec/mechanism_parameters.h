// The layouts of mechanism parameters, as data: which fields a parameter struct has, where its pointers lead and how
// long the buffers behind them are. The wire codec walks the fields, CheckParameter() judges them; no struct is taken
// apart by hand anywhere else. No crypto here: what the values mean to a cipher is for the simulator.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::spec {

// Bounds of what a caller may hand in with a mechanism. Larger ones are refused before anything is allocated.
inline constexpr std::size_t kParameterBufferBytesMax = 1u << 20;  // one inner buffer (AAD is the only long one)
inline constexpr std::size_t kParameterStructBytesMax = 2048;      // a parameter without pointers, or the struct itself
inline constexpr std::size_t kIvBytesMax = 1u << 16;
inline constexpr std::size_t kAdditionalKeysMax = 32;  // of one SP 800-108 derivation

enum class FieldKind : std::uint8_t {
  kUlong,               // a CK_ULONG in the struct
  kByte,                // a CK_BYTE or CK_BBOOL in the struct
  kFixedBytes,          // `size` bytes inside the struct
  kBytesWithLength,     // a pointer, and at length_offset a CK_ULONG that counts the bytes behind it
  kBytesWithBitLength,  // the same, counted in bits: the bytes are rounded up
  kBytesOfFixedLength,  // a pointer to `size` bytes; the struct has no length for it
  kRoom,                // a pointer to room that the token fills, and at length_offset one to a CK_ULONG: how much
  kKeyHandle,           // a CK_OBJECT_HANDLE in the struct: a key of the caller's, or 0
  kStruct,              // a pointer to a struct of `size` bytes with `fields` of its own
  kStructArray,         // a pointer, and at length_offset a CK_ULONG that counts such structs, at most `limit`
  kTemplate,            // a pointer, and at length_offset a CK_ULONG that counts the CK_ATTRIBUTEs, at most `limit`
};

// Which side gives the bytes. For C_EncryptMessage the token may write the IV and writes the tag; for C_DecryptMessage
// all fields are read only. A kInOut buffer is carried in both directions.
enum class Direction : std::uint8_t { kIn, kOut, kInOut };

struct ParameterField {
  FieldKind kind;
  std::string_view name;            // the standard's
  std::uint16_t offset;             // of the value, or of the pointer
  std::uint16_t length_offset = 0;  // of the CK_ULONG that goes with a pointer; not listed as a field of its own
  std::uint16_t size = 0;           // of kFixedBytes and kBytesOfFixedLength
  std::uint32_t limit = 0;          // most bytes behind a pointer
  Direction direction = Direction::kIn;
  const ParameterField* fields = nullptr;  // of kStruct and kStructArray
  std::uint16_t field_count = 0;

  std::span<const ParameterField> inner() const { return {fields, field_count}; }
};

struct ParameterLayout {
  std::size_t bytes;  // ulParameterLen of this layout
  std::span<const ParameterField> fields;
  bool flat;  // the parameter is its bytes: no struct, no pointers, fields is empty (also when `bytes` is 0: no
              // parameter)
};

// The layout that a parameter of this kind and this length has, or nullptr when the kind has no such length.
// CK_GCM_PARAMS has two: with ulIvBits (48 bytes) and, as in 2.20 and as SunPKCS11 sends it on a second try, without
// (40 bytes). For kBytes the returned layout is flat and its `bytes` is not the length given: take ulParameterLen, at
// most kParameterStructBytesMax. Any thread; the layout lives for ever.
const ParameterLayout* LayoutFor(ParameterKind kind, std::size_t parameter_bytes);

// The layout of a per-message parameter of C_EncryptMessage and its kin; the length alone tells the three of
// PKCS#11 3.0 apart: CK_GCM_MESSAGE_PARAMS (48), CK_CCM_MESSAGE_PARAMS (56), CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS
// (24). nullptr for any other length.
const ParameterLayout* MessageLayout(std::size_t parameter_bytes);

// Reads what a field says, from a struct that starts at `parameter` and is as long as its layout. No pointer is
// followed.
CK_ULONG FieldUlong(const void* parameter, const ParameterField& field);       // kUlong, kByte
const void* FieldPointer(const void* parameter, const ParameterField& field);  // the three pointer kinds
std::size_t FieldBufferBytes(const void* parameter,
                             const ParameterField& field);  // bytes behind the pointer; limit + 1 if more
// How many structs are behind the pointer of kStruct (0 or 1) or kStructArray, or attributes behind that of kTemplate;
// limit + 1 if more.
std::size_t FieldStructCount(const void* parameter, const ParameterField& field);

// Whether pParameter of this mechanism may be used: length, NULL pointers, bounds, and values that the standard or this
// project allows (GCM tags of 96 to 128 bits, IVs of 1 to 65,536 bytes, known hashes, mask generation and key
// derivation functions, counters of 1 to 128 bits). Buffers behind pointers must be readable. Errors:
// CKR_MECHANISM_PARAM_INVALID. Any thread.
Status CheckParameter(const MechanismRow& row, const CK_MECHANISM& mechanism);

// The same for a per-message parameter. `encrypting` says whether the token writes the IV and the tag.
Status CheckMessageParameter(const MechanismRow& row, const void* parameter, std::size_t parameter_bytes,
                             bool encrypting);

// A GCM parameter of either layout, unpacked. The views point to the caller's memory. Call only after CheckParameter().
struct GcmParameter {
  ByteView iv;
  ByteView aad;
  CK_ULONG tag_bits;
};
GcmParameter ReadGcm(const CK_MECHANISM& mechanism);

// The same for CCM. `data_bytes` is what the caller announced, of the plaintext or the ciphertext.
struct CcmParameter {
  ByteView nonce;
  ByteView aad;
  std::size_t data_bytes;
  std::size_t mac_bytes;
};
CcmParameter ReadCcm(const CK_MECHANISM& mechanism);

// The encryption context of the managed mechanism; empty without a parameter.
ByteView ReadContext(const CK_MECHANISM& mechanism);

// Bytes of a MAC that CK_MAC_GENERAL_PARAMS asks for; 0 without a parameter.
std::size_t ReadMacGeneral(const CK_MECHANISM& mechanism);

// Bytes of SHA-512/t for the t of a parameter of kHashBits, or the length that a MAC of it is to have; for other rows
// those of the row's digest.
std::size_t ReadHashBits(const MechanismRow& row, const CK_MECHANISM& mechanism);

// CK_TLS_MAC_PARAMS, or what the two mechanisms for TLS 1.0 imply. `hash` is 0 for the PRF of TLS 1.0 and 1.1.
struct TlsMacParameter {
  CK_MECHANISM_TYPE hash;
  std::size_t mac_bytes;
  bool server;
};
TlsMacParameter ReadTlsMac(const MechanismRow& row, const CK_MECHANISM& mechanism);

// Where a checked parameter of a derivation has the handle of a key beside the base key: the other half of
// CKM_CONCATENATE_BASE_AND_KEY, the salt of HKDF, keys as parts of SP 800-108's input. `used` is false where the
// mechanism does not look at it: HKDF may have a salt of another kind, or none.
struct OtherKeyPlace {
  CK_OBJECT_HANDLE* handle;
  bool used;
};
std::vector<OtherKeyPlace> OtherKeysIn(const MechanismRow& row, const CK_MECHANISM& mechanism);

// Whether a key derivation function (CKD_…) is the one of SP 800-56C, in which the counter comes first; the others are
// those of X9.63.
bool IsSp800Kdf(CK_ULONG kdf);

// What C_DeriveKey writes through a parameter of this row, in the order of the wire: the version of a TLS master
// secret, the four handles and two IVs of TLS key material, the output of the TLS PRF, the handles of the additional
// keys of SP 800-108. Each is empty where the caller has no room for it. Of the caller's struct only; no length comes
// from anywhere else.
std::array<MutableBytes, kAdditionalKeysMax> ResultsIn(const MechanismRow& row, const CK_MECHANISM& mechanism);

// The additional keys that an SP 800-108 parameter asks for, at most kAdditionalKeysMax; empty for other rows, and
// where the pointer is NULL. Errors are CheckParameter's: after it each has a place for its handle, and a template of
// bounded length without a NULL that has one.
std::span<const CK_DERIVED_KEY> AdditionalKeysIn(const MechanismRow& row, const CK_MECHANISM& mechanism);

// The parameter of TLS key material, of either version: `hash` is 0 for the function of TLS 1.0 and 1.1. Lengths are
// bytes; CKM_TLS12_KEY_SAFE_DERIVE makes no IVs. Call only after CheckParameter().
struct TlsKeyMaterialParameter {
  CK_MECHANISM_TYPE hash;
  std::size_t mac_bytes, key_bytes, iv_bytes;
  CK_SSL3_RANDOM_DATA randoms;
  CK_SSL3_KEY_MAT_OUT* out;
};
TlsKeyMaterialParameter ReadTlsKeyMaterial(const MechanismRow& row, const CK_MECHANISM& mechanism);

// The HMAC or CMAC mechanism that SP 800-108 names as its pseudorandom function, or PBKDF2 by its own numbers; 0 if it
// is not known here.
CK_MECHANISM_TYPE Pbkdf2Digest(CK_ULONG prf);
bool IsSp800Prf(CK_MECHANISM_TYPE prf);

// The digest mechanism that a mask generation function (CKG_MGF1_…) or a key derivation function (CKD_…_KDF) runs on; 0
// if it is not known here. CKD_NULL runs on none and gives 0 too.
CK_MECHANISM_TYPE MgfDigest(CK_RSA_PKCS_MGF_TYPE mgf);
CK_MECHANISM_TYPE KdfDigest(CK_ULONG kdf);

}  // namespace cmkd::spec
