// What is in the store, byte by byte, and the bounds of it. Numbers are big-endian everywhere. Times are seconds since
// 1970, signed, in eight bytes. Schema 1.
//
// clang-format off
// One LMDB tree (the unnamed database, no flags); the first byte of a key says which database of ours it belongs to.
//
//   database         key after that byte                      value
//   0x01 meta        (nothing)                                "cmkdstor" | schema | 0x01 | store id 16 | sealed Meta
//   0x02 regions     (nothing)                                sealed Regions
//   0x10 token       token 16                                 sealed Token
//   0x20 object      serial 8                                 sealed Object
//   0x21 of token    token 16 | serial 8                      mark
//   0x22 term        token 16 | tag of term 16 | serial 8     mark
//   0x23 count       token 16                                 sealed Count
//   0x30 cmk         cmk 16                                   sealed Cmk
//   0x31 of token    token 16 | cmk 16                        mark
//   0x32 name        token 16 | tag of name 16 | cmk 16       mark
//   0x33 due         time 8, its sign bit inverted | cmk 16   mark
//   0x34 clients     cmk 16 | version 8                       sealed Clients
//   0x40 request     tag of request tag 16                    sealed Request
//   0x41 expiry      time 8, its sign bit inverted | tag 16   mark
//
// Sealed value: schema 1 byte | database 1 byte | Sealer::Seal(associated, record).
//   associated: store id 16 | schema 1 | database 1 | the whole key. So a record is bound to its place and its store.
// Mark: Sealer::Tag(0x02 | store id 16 | the whole key): an entry of an index is ours, or is found out.
// Tag of a term:        Sealer::Tag(0x03 | store id | token | kind 4 | value)
// Tag of a name:        Sealer::Tag(0x04 | store id | token | name)
// Tag of a request tag: Sealer::Tag(0x05 | store id | request tag)
//   so that keys show no label, no identifier and not even that two tokens use the same one.
//
// Fingerprint of an entry: Sealer::Tag(0x01 | store id | key length 2 | key | value length 4 | the value's first 16 and
// last 16 bytes, or all of it up to 32). The exclusive or of all of them but those of Meta and Regions is in Meta: an
// entry taken out, put back from an older copy or brought in from elsewhere is found when the store is opened. (The tags
// are never shown, so nobody can choose entries whose sum stays the same.) Regions has the same sum of each stretch of
// keys, so that a part can be held against it when it is first read. Both are of one LMDB transaction.
//
// Records. Each begins with its layout version: 1, or the number of the last "version N" line that follows, whose fields
// come after those of the versions before (of a CMK's version, after those of that version). All are read, the newest is
// written. "block" is a length in 4 bytes and that many bytes; "text" is a
// block; "opt X" is 0, or 1 and X; "list X" is a count in 4 bytes and that many X.
//
//   Meta     1 | created 8 | generation 8 | LMDB transaction 8 | highest time 8 | next object serial 8 | next slot 8
//              | entries 8 | fingerprint 16
//     version 2  last wall time 8 | last boot time 8 | boot id 16 | observed 8 | jumped 1 | jumped at 8 | suspect since 8
//   Regions  1 | LMDB transaction 8 | list region (first key block | entries 8 | fingerprint 16), ascending; the first
//              begins with nothing
//   Token    1 | slot 8 | label text | serial text | profile 1 | bounds 1 | hsm text | pin SO | pin user | flags 4
//              | created 8 | list epoch (number 4 | hsm reference block | state 1) | next epoch 4 | opt window 8
//     version 2  opt epoch due 8
//     version 3  opt version quiet 8 | opt disable first 1
//     version 4  list mirror (hsm text | fingerprint block)
//     pin      verifier block | failures 4 | generation 4 | retry after 8
//   Object   1 | token 16 | opt cmk 16 | opt version 4 | private 1 | list attribute (type 8 | value block)
//              | list term (kind 4 | value block)
//   Count    1 | objects 8
//   Cmk      1 | token 16 | name text | description text | origin 1 | spec text | state 1 | class 1 | profile 1
//              | rotatable 1 | deletion protected 1 | created 8 | opt activation 8 | opt expiry 8 | opt next rotation 8
//              | opt deletion scheduled 8 | opt deletion date 8 | opt destruction started 8 | opt destroyed 8
//              | opt state before deletion 1 | rotation period 8 | current 4 | list version | request tag block
//     version  number 4 | state 1 | created 8 | opt retired 8 | material kind 1 | epoch 4 | blob block | public block
//              | uses 8
//     version 2  opt observed when scheduled 8 | opt warned 8 | list alias text | list tag (name text | value text)
//              | usage limit 8 | processes compromised 1 | generation 4 | opt predecessor 16 | list import
//       of version  bytes 8 | opt last used 8 | opt protects until 8 | opt expires 8 | fingerprint block | exposed 1
//     version 3  opt announced 8 | opt announced until 8 | announced window 8 | opt owner 4 | list consumer text
//     import   id 16 | expires 8 | algorithm 1 | material kind 1 | epoch 4 | blob block | public block
//   Clients  1 | list client (uid 4 | protects 8 | processes 8 | bytes 8 | first 8 | last 8)
//   Request  1 | tag block | body digest block | list serial 8 | expires 8
//
// The id of a token, object and CMK is in its key only.
// clang-format on
#pragma once

#include <cstddef>
#include <cstdint>

#include "keystore/cmk/cmk.h"

namespace cmkd::store {

inline constexpr std::uint8_t kStoreSchema = 1;
// Layout versions: what is written. Those before are read, too.
inline constexpr std::uint8_t kRecordVersion = 1;
inline constexpr std::uint8_t kMetaVersion = 2;
inline constexpr std::uint8_t kTokenVersion = 4;
inline constexpr std::uint8_t kCmkVersion = 3;
inline constexpr char kMagic[] = "cmkdstor";
inline constexpr std::size_t kMagicBytes = 8;

enum class Database : std::uint8_t {
  kMeta = 0x01,
  kRegions = 0x02,
  kToken = 0x10,
  kObject = 0x20,
  kObjectOfToken = 0x21,
  kTerm = 0x22,
  kObjectCount = 0x23,
  kCmk = 0x30,
  kCmkOfToken = 0x31,
  kCmkName = 0x32,
  kCmkDue = 0x33,
  kClientUses = 0x34,
  kRequest = 0x40,
  kRequestExpiry = 0x41,
};

// The first byte of what Sealer::Tag is given: one for each purpose.
enum class TagUse : std::uint8_t { kFingerprint = 1, kMark = 2, kTerm = 3, kName = 4, kRequest = 5 };

// Bounds of fields. Records that keep to them stay below kRecordBytesMax.
inline constexpr std::size_t kKeyBytesMax = 64;
inline constexpr std::size_t kHsmNameBytesMax = 255;
inline constexpr std::size_t kVerifierBytesMax = 1024;
inline constexpr std::size_t kHsmReferenceBytesMax = 1024;
inline constexpr std::size_t kMirrorsMax = 8;
inline constexpr std::size_t kEpochsMax = 65'536;
inline constexpr std::size_t kAttributesMax = 512;
inline constexpr std::size_t kAttributeBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kTermsMax = 64;
inline constexpr std::size_t kTermBytesMax = std::size_t{1} << 16;
inline constexpr std::size_t kNameBytesMax = 1024;
inline constexpr std::size_t kDescriptionBytesMax = 8192;
inline constexpr std::size_t kSpecBytesMax = 64;
inline constexpr std::size_t kVersionsMax = 4096;
inline constexpr std::size_t kMaterialBytesMax = std::size_t{1} << 16;
inline constexpr std::size_t kRequestTagBytesMax = 64;
inline constexpr std::size_t kAliasesMax = 50;
inline constexpr std::size_t kTagsMax = 50;
inline constexpr std::size_t kTagNameBytesMax = 128;
inline constexpr std::size_t kTagValueBytesMax = 256;
inline constexpr std::size_t kFingerprintBytesMax = 64;
inline constexpr std::size_t kImportSlotsMax = 8;
inline constexpr std::size_t kConsumersMax = 64;
inline constexpr std::size_t kConsumerBytesMax = 128;
inline constexpr std::size_t kClientsMax = cmk::kClientsKept + 1;
inline constexpr std::size_t kRequestObjectsMax = 64;
inline constexpr std::size_t kRecordBytesMax = std::size_t{16} << 20;

}  // namespace cmkd::store
