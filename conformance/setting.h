// What a case about one mechanism begins with: how to try it, and a key that fits.
#pragma once

#include <memory>

#include "conformance/keys.h"
#include "conformance/samples.h"
#include "conformance/trial.h"

namespace cmkd::conformance {

struct Setting {
  std::shared_ptr<Sample> sample;
  MadeKey key;
};

// What the key is made for, so that a use (CKF_ENCRYPT, CKF_SIGN, …) is all that it may do.
inline Purpose PurposeOf(CK_FLAGS use) {
  if (use == CKF_SIGN_RECOVER) return Purpose::kRecover;
  return (use & (CKF_ENCRYPT | CKF_DECRYPT)) != 0 ? Purpose::kCipher : Purpose::kSign;
}

// The mechanism and its key, when the case begins. False ends the case as not offered.
inline bool Set(Trial& t, const Offer& offer, CK_FLAGS use, Setting& setting) {
  setting.sample = MakeSample(offer, use);
  const auto key = t.keys.Get(setting.sample->key_type, PurposeOf(use));
  if (!key.ok()) {
    t.NotOffered(key.error());
    return false;
  }
  setting.key = *key;
  return true;
}

}  // namespace cmkd::conformance
