// What signatures with asymmetric keys have in common: the message is hashed or gathered, then one call makes or checks
// the signature. Included by primitive_*.cc only.
#pragma once

#include "firmware_sim/primitive_factories.h"

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
    return SignMessage(message(), out);
  }
  Status Verify(ByteView signature) override {
    RETURN_IF_ERROR(FinishMessage());
    return VerifyMessage(message(), signature);
  }

 protected:
  // `message` is the digest where the mechanism has one.
  virtual Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) = 0;
  virtual Status VerifyMessage(ByteView message, ByteView signature) = 0;

 private:
  Status FinishMessage() { return digest_ == nullptr ? Status{} : digest_->Final(hash_); }
  ByteView message() const {
    return digest_ == nullptr ? ByteView(gathered_) : ByteView(hash_).first(digest_->bytes());
  }

  std::unique_ptr<Digest> digest_;
  Bytes gathered_;
  std::array<std::uint8_t, 64> hash_{};
};

// The digest that a row hashes with, or none.
inline Fallible<std::unique_ptr<Digest>> RowDigest(const spec::MechanismRow& row) {
  if (row.digest == 0) return std::unique_ptr<Digest>();
  return MakeDigest(row.digest);
}

}  // namespace cmkd::sim
