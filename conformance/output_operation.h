// What C_Encrypt, C_Decrypt, C_Digest, C_Sign, C_SignRecover and C_VerifyRecover have in common: begun by an Init, done
// by one call with a variable-length output (PKCS#11 3.2 sections 5.2 and 5.8 to 5.14), and most of them also in parts.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "conformance/plan.h"

namespace cmkd::conformance {

struct OutputOperation {
  using Single = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG*);
  using Final = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG*);

  const char* init_name;
  const char* single_name;
  const char* update_name;  // nullptr: never in parts
  const char* final_name;
  std::function<CK_RV(const Module&, CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE)> init;
  Single CK_FUNCTION_LIST_3_2::*single;
  // One part in; what comes out is appended.
  std::function<CK_RV(const Module&, CK_SESSION_HANDLE, ByteView, Bytes&)> update;
  Final CK_FUNCTION_LIST_3_2::*final;
};

extern const OutputOperation kEncryption, kDecryption, kDigesting, kSigning, kSigningRecover, kVerifyingRecover;

// One thing to do with an operation.
struct Subject {
  CK_MECHANISM* mechanism = nullptr;
  CK_OBJECT_HANDLE key = 0;
  Bytes input;
  Bytes output;                 // what must come out; empty when that is not known beforehand
  bool in_parts = true;         // the mechanism can be fed in parts
  std::size_t part = 16;        // parts of this size fit it
  std::shared_ptr<void> keeps;  // whatever the mechanism points to
};
// Makes the subject when the case runs; false when that is not possible, which the trial then says.
using Prepare = std::function<bool(Trial&, Subject&)>;

// The cases that hold for each mechanism of such an operation.
void AddOutputCases(Plan& plan, const OutputOperation& operation, const std::string& mechanism, const Prepare& prepare);

// The whole operation in one call, with the length asked for first.
CK_RV RunWhole(Trial& t, const OutputOperation& operation, const Subject& subject, Bytes& output);
// The same with a buffer that is surely large enough.
CK_RV RunOnce(Trial& t, const OutputOperation& operation, const Subject& subject, Bytes& output);

}  // namespace cmkd::conformance
