// What all primitives share: the device's own OpenSSL library context, its fetched algorithms, owners of OpenSSL's
// objects, and the prepared contexts that wait with a key for their next use. Included by the primitive_*.cc files
// only; nothing else in the simulator sees OpenSSL.
#pragma once

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <memory>
#include <mutex>
#include <vector>

#include "firmware_sim/key.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::sim {

template <auto release>
struct ReleaseWith {
  template <class T>
  void operator()(T* object) const {
    release(object);
  }
};

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, ReleaseWith<EVP_CIPHER_CTX_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, ReleaseWith<EVP_MAC_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, ReleaseWith<EVP_MD_CTX_free>>;
using PKey = std::unique_ptr<EVP_PKEY, ReleaseWith<EVP_PKEY_free>>;
using PKeyContext = std::unique_ptr<EVP_PKEY_CTX, ReleaseWith<EVP_PKEY_CTX_free>>;
using BigNumber = std::unique_ptr<BIGNUM, ReleaseWith<BN_clear_free>>;
using BigNumberContext = std::unique_ptr<BN_CTX, ReleaseWith<BN_CTX_free>>;

// Overloads by context type, for Borrowed below.
inline void Release(EVP_CIPHER_CTX* context) { EVP_CIPHER_CTX_free(context); }
inline void Release(EVP_MAC_CTX* context) { EVP_MAC_CTX_free(context); }
inline void Release(EVP_PKEY_CTX* context) { EVP_PKEY_CTX_free(context); }

// The library context with the default provider. Made at first use and kept until the process ends: a static destructor
// could run while another thread still signs.
OSSL_LIB_CTX* Library();

// Fetched at first use and kept; nullptr for what there is not. A cipher by its mode, key type and length of the key.
const EVP_CIPHER* CipherAlgorithm(spec::Recipe recipe, CK_KEY_TYPE key_type, std::size_t key_bytes);
const EVP_MD* DigestAlgorithm(CK_MECHANISM_TYPE digest);
const EVP_MD* ShakeAlgorithm(CK_MECHANISM_TYPE derivation);
EVP_MAC* MacAlgorithm(spec::Recipe recipe);

// The key as the library wants it: DES keys are spread over the three of triple DES, which is the same cipher. What is
// spread is in `room`, for the caller to wipe.
ByteView CipherKey(const Key& key, std::array<std::uint8_t, 24>& room);

// The failure of an OpenSSL call that has no reason in the caller's input. Empties OpenSSL's error queue.
Failure<Error> LibraryFailure(const char* what);
// The same with the return value that the input deserves.
Failure<Error> LibraryRefusal(CK_RV rv, const char* what);

// Contexts with a finished key schedule, parked with the key. A tag says what a context is prepared for.
class IdleContexts {
 public:
  IdleContexts() = default;
  IdleContexts(const IdleContexts&) = delete;
  IdleContexts& operator=(const IdleContexts&) = delete;
  ~IdleContexts() {
    for (const Idle& idle : idle_) idle.release(idle.context);
  }

  template <class Context>
  Context* Take(std::uint64_t tag) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = idle_.size(); i-- > 0;) {
      if (idle_[i].tag != tag) continue;
      void* found = idle_[i].context;
      idle_[i] = idle_.back();
      idle_.pop_back();
      return static_cast<Context*>(found);
    }
    return nullptr;
  }

  template <class Context>
  void Give(std::uint64_t tag, Context* context) {
    {
      const std::lock_guard lock(mutex_);
      // More than this many at once means more threads than processors worth preparing for.
      if (idle_.size() < 16) {
        idle_.push_back({tag, context, [](void* c) { Release(static_cast<Context*>(c)); }});
        return;
      }
    }
    Release(context);
  }

 private:
  struct Idle {
    std::uint64_t tag;
    void* context;
    void (*release)(void*);
  };
  std::mutex mutex_;
  std::vector<Idle> idle_;
};

// What the primitives keep with a key.
struct Engine {
  PKey pkey;                                 // asymmetric keys only
  std::array<std::uint8_t, 32> rejection{};  // RSA private keys: the secret of implicit rejection
  IdleContexts idle;
};

// A context for one operation: taken from the key or prepared, given back at the end.
template <class Context>
class Borrowed {
 public:
  Borrowed(Engine& engine, std::uint64_t tag) : engine_(&engine), tag_(tag), context_(engine.idle.Take<Context>(tag)) {}
  Borrowed(Borrowed&& other) noexcept
      : engine_(other.engine_), tag_(other.tag_), context_(other.context_), kept_(other.kept_) {
    other.context_ = nullptr;
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  Borrowed& operator=(Borrowed&&) = delete;
  ~Borrowed() {
    if (context_ == nullptr) return;
    if (kept_)
      engine_->idle.Give(tag_, context_);
    else
      Release(context_);
  }
  Context* get() const { return context_; }
  explicit operator bool() const { return context_ != nullptr; }
  void Adopt(Context* context) { context_ = context; }
  // For a context that holds what belongs to one message: it is not parked.
  void UseOnce() { kept_ = false; }
  // Gives up a context that could not be prepared.
  void Drop() {
    if (context_ != nullptr) Release(context_);
    context_ = nullptr;
  }

 private:
  Engine* engine_;
  std::uint64_t tag_;
  Context* context_;
  bool kept_ = true;
};

using Kdf = std::unique_ptr<EVP_KDF, ReleaseWith<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, ReleaseWith<EVP_KDF_CTX_free>>;

// Unsigned big-endian bytes to a number and back; nullptr when memory is short.
BigNumber ToNumber(ByteView bytes);

}  // namespace cmkd::sim
