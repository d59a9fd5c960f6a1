// What signatures with asymmetric keys have in common: the message is hashed or gathered, then one call makes or checks
// the signature. Included by primitive_*.cc only.
#pragma once

#include <algorithm>

#include "firmware_sim/der.h"
#include "firmware_sim/primitive_factories.h"
#include "firmware_sim/rehearsal.h"

namespace cmkd::sim {

class PublicKeySignature : public Signature {
 public:
  explicit PublicKeySignature(std::unique_ptr<Digest> digest) : digest_(std::move(digest)) {}

  Status Update(ByteView in) override {
    if (digest_ != nullptr) return digest_->Update(in);
    gathered_.insert(gathered_.end(), in.begin(), in.end());
    return {};
  }
  Fallible<std::size_t> Sign(MutableBytes out) override {
    RETURN_IF_ERROR(FinishMessage());
    ASSIGN_OR_RETURN(const std::size_t bytes, SignMessage(message(), out));
    if (Rehearsal* const rehearsal = Rehearsal::Current()) rehearsal->AtSignature(out.first(bytes));
    if (TellsItsKeyWhenWrong() && !VerifyMessage(message(), out.first(bytes)).ok()) {
      Wipe(out.first(bytes));
      return Fail(CKR_DEVICE_ERROR, "the signature just made does not verify", kFaultyComputation);
    }
    return bytes;
  }
  Status Verify(ByteView signature) override {
    RETURN_IF_ERROR(FinishMessage());
    return VerifyMessage(message(), signature);
  }

 protected:
  // `message` is the digest where the mechanism has one.
  virtual Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) = 0;
  virtual Status VerifyMessage(ByteView message, ByteView signature) = 0;
  // One wrong signature is enough to compute the key: it is looked at before it leaves the device.
  virtual bool TellsItsKeyWhenWrong() const { return false; }

 private:
  Status FinishMessage() { return digest_ == nullptr ? Status{} : digest_->Final(hash_); }
  ByteView message() const {
    return digest_ == nullptr ? ByteView(gathered_) : ByteView(hash_).first(digest_->bytes());
  }

  std::unique_ptr<Digest> digest_;
  Bytes gathered_;
  std::array<std::uint8_t, 64> hash_{};
};

// PKCS#11 has signatures on curves as two numbers of `half` bytes each; the library has SEQUENCE { r, s }.
inline Fallible<std::size_t> DerToHalves(ByteView encoded, std::size_t half, MutableBytes out) {
  der::Reader outer(encoded);
  der::Reader numbers = outer.Enter(der::kSequence);
  const ByteView r = numbers.Integer();
  const ByteView s = numbers.Integer();
  if (!numbers.AtEnd() || r.size() > half || s.size() > half) return LibraryFailure("signature encoding");
  std::memset(out.data(), 0, 2 * half);
  std::copy(r.begin(), r.end(), out.begin() + static_cast<std::ptrdiff_t>(half - r.size()));
  std::copy(s.begin(), s.end(), out.begin() + static_cast<std::ptrdiff_t>(2 * half - s.size()));
  return 2 * half;
}
// The other way, into `room`; empty when that is too small.
inline ByteView HalvesToDer(ByteView signature, MutableBytes room) {
  const std::size_t half = signature.size() / 2;
  der::Writer writer(room);
  writer.Integer(signature.subspan(half));
  writer.Integer(signature.first(half));
  writer.Wrap(der::kSequence, 0);
  return writer.ok() ? writer.written() : ByteView();
}

// The digest that a row hashes with, or none.
inline Fallible<std::unique_ptr<Digest>> RowDigest(const spec::MechanismRow& row) {
  if (row.digest == 0) return std::unique_ptr<Digest>();
  return MakeDigest(row.digest);
}

}  // namespace cmkd::sim
