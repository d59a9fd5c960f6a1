// See parameters.h.
#include "tests/firmware_sim/parameters.h"

#include <cstdlib>
#include <string>

#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {

using spec::ParameterKind;

ParameterFromText::ParameterFromText(CK_MECHANISM_TYPE type, std::string_view text) : mechanism_{type, nullptr, 0} {
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find('|', from), text.size());
    parts_.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  // The randoms of TLS that all its answers have: 0 … 31 and 32 … 63.
  Bytes client(32), server(32);
  for (std::size_t i = 0; i < 32; ++i) {
    client[i] = static_cast<std::uint8_t>(i);
    server[i] = static_cast<std::uint8_t>(32 + i);
  }
  const CK_SSL3_RANDOM_DATA randoms{Keep(client), 32, Keep(server), 32};
  switch (spec::FindMechanism(type)->parameter) {
    case ParameterKind::kIv16:
    case ParameterKind::kIv8:
    case ParameterKind::kOptionalIv8:
      mechanism_.pParameter = Part(0, mechanism_.ulParameterLen);
      if (mechanism_.ulParameterLen == 0) mechanism_.pParameter = nullptr;
      break;
    case ParameterKind::kUlong:
    case ParameterKind::kMacGeneral:
    case ParameterKind::kHashBits: New<CK_ULONG>() = Number(0); break;
    case ParameterKind::kAesCtr: {
      auto& ctr = New<CK_AES_CTR_PARAMS>();
      ctr.ulCounterBits = 128;
      const Bytes block = FromHex(parts_[0]);
      std::copy(block.begin(), block.end(), ctr.cb);
      break;
    }
    case ParameterKind::kCcm: {
      auto& ccm = New<CK_CCM_PARAMS>();
      ccm.pNonce = Part(0, ccm.ulNonceLen);
      ccm.pAAD = Part(1, ccm.ulAADLen);
      ccm.ulMACLen = Number(2);
      break;
    }
    case ParameterKind::kChacha20: {
      auto& chacha = New<CK_CHACHA20_PARAMS>();
      chacha.pBlockCounter = Part(0, chacha.blockCounterBits);
      chacha.pNonce = Part(1, chacha.ulNonceBits);
      chacha.blockCounterBits *= 8;
      chacha.ulNonceBits *= 8;
      break;
    }
    case ParameterKind::kStringData: {
      auto& data = New<CK_KEY_DERIVATION_STRING_DATA>();
      data.pData = Part(0, data.ulLen);
      break;
    }
    case ParameterKind::kTlsMaster: New<CK_SSL3_MASTER_KEY_DERIVE_PARAMS>() = {randoms, nullptr}; break;
    case ParameterKind::kTls12Master: New<CK_TLS12_MASTER_KEY_DERIVE_PARAMS>() = {randoms, nullptr, Named(0)}; break;
    case ParameterKind::kTls12Extended:
      New<CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS>() = {Named(0), randoms.pClientRandom, 32, nullptr};
      break;
    case ParameterKind::kTlsKdf: {
      const std::string_view label = "EXPORTER-cmkd", context = "ctx";
      New<CK_TLS_KDF_PARAMS>() = {Named(0), Keep(ToBytes(AsBytes(label))),   label.size(),
                                  randoms,  Keep(ToBytes(AsBytes(context))), context.size()};
      break;
    }
    case ParameterKind::kTlsMac: New<CK_TLS_MAC_PARAMS>() = {Named(0), Number(1), Number(2)}; break;
    case ParameterKind::kSp800Kdf: FillSp800(false, type == CKM_SP800_108_COUNTER_KDF); break;
    case ParameterKind::kSp800Feedback: FillSp800(true, false); break;
    default: break;
  }
}

// The answers' input: a counter of 16 bits, "label", a zero, "context" and the length in 16 bits; for the other modes
// the iteration variable before it, and the IV 0 … 15.
void ParameterFromText::FillSp800(bool feedback, bool counter) {
  struct Held {
    CK_SP800_108_COUNTER_FORMAT counter{CK_FALSE, 16};
    CK_SP800_108_DKM_LENGTH_FORMAT length{CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, CK_FALSE, 16};
    CK_PRF_DATA_PARAM parts[5];
    Bytes fixed = ToBytes(AsBytes(std::string_view("label\0context", 13)));
    Bytes iv;
  };
  auto held = std::make_shared<Held>();
  CK_ULONG n = 0;
  if (!counter) held->parts[n++] = {CK_SP800_108_ITERATION_VARIABLE, nullptr, 0};
  held->parts[n++] = {counter ? CK_SP800_108_ITERATION_VARIABLE : CK_SP800_108_COUNTER, &held->counter,
                      sizeof held->counter};
  held->parts[n++] = {CK_SP800_108_BYTE_ARRAY, held->fixed.data(), held->fixed.size()};
  held->parts[n++] = {CK_SP800_108_DKM_LENGTH, &held->length, sizeof held->length};
  for (std::uint8_t i = 0; i < 16; ++i) held->iv.push_back(i);
  if (feedback) {
    New<CK_SP800_108_FEEDBACK_KDF_PARAMS>() = {Named(0), n, held->parts, 16, held->iv.data(), 0, nullptr};
  } else {
    New<CK_SP800_108_KDF_PARAMS>() = {Named(0), n, held->parts, 0, nullptr};
  }
  kept_.push_back(held);
}

CK_BYTE* ParameterFromText::Keep(const Bytes& bytes) {
  auto held = std::make_shared<Bytes>(bytes);
  kept_.push_back(held);
  return held->data();
}

CK_BYTE* ParameterFromText::Part(std::size_t i, CK_ULONG& length) {
  const Bytes bytes = FromHex(parts_.at(i));
  length = bytes.size();
  return Keep(bytes);
}

CK_ULONG ParameterFromText::Number(std::size_t i) const {
  return std::strtoul(std::string(parts_.at(i)).c_str(), nullptr, 10);
}

CK_MECHANISM_TYPE ParameterFromText::Named(std::size_t i) const {
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (row.name.substr(4) == parts_.at(i)) return row.type;
  }
  return 0;
}

}  // namespace cmkd::sim
