// The cases are written once; the operation says which functions they call.
#include "conformance/output_operation.h"

#include <algorithm>

namespace cmkd::conformance {
namespace {

using List = CK_FUNCTION_LIST_3_2;

template <auto member>
CK_RV WithKey(const Module& p11, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
  return (p11.list().*member)(session, mechanism, key);
}
CK_RV WithoutKey(const Module& p11, CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE) {
  return p11->C_DigestInit(session, mechanism);
}
template <auto member>
CK_RV Transforms(const Module& p11, CK_SESSION_HANDLE session, ByteView part, Bytes& out) {
  Bytes room(part.size() + 512);
  CK_ULONG length = room.size();
  const CK_RV rv = (p11.list().*member)(session, Ptr(part), part.size(), room.data(), &length);
  if (rv == CKR_OK) out.insert(out.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(length));
  return rv;
}
template <auto member>
CK_RV Takes(const Module& p11, CK_SESSION_HANDLE session, ByteView part, Bytes&) {
  return (p11.list().*member)(session, Ptr(part), part.size());
}

constexpr CK_BYTE kUntouched = 0xEE;
constexpr std::size_t kGuard = 32;

// A buffer that shows writing beyond the room given.
class Guarded {
 public:
  explicit Guarded(std::size_t room) : room_(room), bytes_(room + kGuard, kUntouched) {}
  CK_BYTE* data() { return bytes_.data(); }
  Bytes First(std::size_t size) const {
    return {bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(std::min(size, room_))};
  }
  bool intact() const {
    return std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(room_), bytes_.end(),
                       [](auto b) { return b == kUntouched; });
  }

 private:
  std::size_t room_;
  Bytes bytes_;
};

// What the cases of one mechanism share.
struct Run {
  const OutputOperation& op;
  Trial& t;
  Subject s;

  CK_RV Init() { return Init(t.session); }
  CK_RV Init(CK_SESSION_HANDLE session) { return op.init(t.p11, session, s.mechanism, s.key); }
  CK_RV Single(CK_BYTE* out, CK_ULONG* length) {
    return (t.p11.list().*op.single)(t.session, Ptr(s.input), s.input.size(), out, length);
  }
  CK_RV Final(CK_BYTE* out, CK_ULONG* length) { return (t.p11.list().*op.final)(t.session, out, length); }
  CK_RV Update(ByteView part, Bytes& out) { return op.update(t.p11, t.session, part, out); }
  bool Begins() { return t.Expect(Init(), {CKR_OK}, op.init_name); }
  // The operation, which is active, can be brought to its right end.
  bool Ends(std::size_t size) {
    Guarded out(size);
    CK_ULONG length = size;
    if (!t.Expect(Single(out.data(), &length), {CKR_OK}, op.single_name)) return false;
    t.Check(out.intact(), "nothing is written beyond the output");
    return IsRight(out.First(length));
  }
  bool IsRight(const Bytes& output) {
    return t.Check(s.output.empty() || output == s.output, "the output is the right one");
  }
  bool IsOver() {
    Bytes out(s.input.size() + 2048);
    CK_ULONG length = out.size();
    return t.Expect(Single(out.data(), &length), {CKR_OPERATION_NOT_INITIALIZED}, op.single_name);
  }
};

void GivesTheOutput(Run& r) {
  Bytes out;
  if (r.t.Expect(RunWhole(r.t, r.op, r.s, out), {CKR_OK}, r.op.single_name)) r.IsRight(out);
}

void LengthQuery(Run& r) {
  if (!r.Begins()) return;
  for (int i = 0; i < 2; ++i) {
    CK_ULONG length = i == 0 ? 0 : 1;  // what stands there does not matter
    if (!r.t.Expect(r.Single(nullptr, &length), {CKR_OK}, r.op.single_name)) return;
    if (!r.t.Check(length >= r.s.output.size(), "the length asked for is enough")) return;
    if (i == 1 && r.Ends(length)) r.IsOver();
  }
}

void BufferTooSmall(Run& r) {
  Bytes whole;
  if (!r.t.Expect(RunWhole(r.t, r.op, r.s, whole), {CKR_OK}, r.op.single_name)) return;
  if (whole.empty() || !r.Begins()) return;
  CK_ULONG needed = 0;
  for (const std::size_t room : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
    Guarded out(room);
    CK_ULONG length = room;
    // A decryption may ask for more than it will use, and a length of 0 with a buffer is not a question.
    if (!r.t.Expect(r.Single(out.data(), &length), {CKR_BUFFER_TOO_SMALL}, r.op.single_name)) return;
    r.t.Check(out.intact(), "nothing is written beyond the buffer");
    r.t.Check(length >= whole.size(), "CKR_BUFFER_TOO_SMALL comes with the length needed");
    needed = length;
  }
  if (r.Ends(std::max(needed, whole.size()))) r.IsOver();
}

void ExactBuffer(Run& r) {
  Bytes whole;
  if (!r.t.Expect(RunWhole(r.t, r.op, r.s, whole), {CKR_OK}, r.op.single_name)) return;
  if (r.Begins()) r.Ends(whole.size());
}

void EndsOperation(Run& r) {
  if (r.Begins() && r.Ends(r.s.input.size() + 2048)) r.IsOver();
}

void NullLength(Run& r) {
  Bytes out(r.s.input.size() + 2048);
  if (r.Begins()) r.t.Expect(r.Single(out.data(), nullptr), {CKR_ARGUMENTS_BAD}, r.op.single_name);
}

void NullInput(Run& r) {
  Bytes out(2048);
  CK_ULONG length = out.size();
  if (!r.Begins()) return;
  // With a length that is not 0; otherwise it is an empty input.
  r.t.Expect((r.t.p11.list().*r.op.single)(r.t.session, nullptr, 16, out.data(), &length),
             {CKR_ARGUMENTS_BAD, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID}, r.op.single_name);
}

void OperationActive(Run& r) {
  if (!r.Begins()) return;
  if (!r.t.Expect(r.Init(), {CKR_OPERATION_ACTIVE}, r.op.init_name)) return;
  r.Ends(r.s.input.size() + 2048);
}

void NullMechanismCancels(Run& r) {
  if (!r.Begins()) return;
  // Since 3.0; modules of before refuse a NULL mechanism.
  const CK_RV rv = r.op.init(r.t.p11, r.t.session, nullptr, r.s.key);
  if (r.t.p11.version().major < 3) {
    r.t.Expect(rv, {CKR_ARGUMENTS_BAD, CKR_OPERATION_ACTIVE, CKR_MECHANISM_INVALID}, r.op.init_name);
  } else if (r.t.Expect(rv, {CKR_OK, CKR_OPERATION_CANCEL_FAILED}, r.op.init_name) && rv == CKR_OK) {
    r.IsOver();
  }
}

void FailedInit(Run& r) {
  const CK_OBJECT_HANDLE key = r.s.key;
  CK_MECHANISM unknown{CKM_VENDOR_DEFINED | 0x7654321, nullptr, 0};
  if (!r.t.Expect(r.op.init(r.t.p11, r.t.session, &unknown, key), {CKR_MECHANISM_INVALID}, r.op.init_name)) return;
  if (r.IsOver() && r.Begins()) r.Ends(r.s.input.size() + 2048);
}

void BadParameter(Run& r) {
  Bytes odd(7, 1);
  CK_MECHANISM wrong{r.s.mechanism->mechanism, odd.data(), odd.size()};
  if (!r.t.Expect(r.op.init(r.t.p11, r.t.session, &wrong, r.s.key), {CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD},
                  r.op.init_name))
    return;
  r.IsOver();
}

void InvalidKey(Run& r) {
  r.t.Expect(r.op.init(r.t.p11, r.t.session, r.s.mechanism, 0), {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID},
             r.op.init_name);
  r.t.Expect(r.op.init(r.t.p11, r.t.session, r.s.mechanism, r.s.key + 0x123456),
             {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID}, r.op.init_name);
  r.IsOver();
}

// ---- In parts

void NotInParts(Run& r) {
  Bytes out;
  if (!r.Begins()) return;
  const CK_RV rv = r.Update(r.s.input, out);
  r.t.Check(rv != CKR_OK || out.empty(), "a mechanism of one part gives nothing in parts");
}

bool FeedAll(Run& r, std::size_t part, Bytes& out) {
  for (std::size_t at = 0; at < r.s.input.size(); at += part) {
    const std::size_t size = std::min(part, r.s.input.size() - at);
    if (!r.t.Expect(r.Update(ByteView(r.s.input).subspan(at, size), out), {CKR_OK}, r.op.update_name)) return false;
  }
  return true;
}

void FinishInto(Run& r, Bytes& out) {
  CK_ULONG length = 0;
  if (!r.t.Expect(r.Final(nullptr, &length), {CKR_OK}, r.op.final_name)) return;
  Guarded last(length);
  if (!r.t.Expect(r.Final(last.data(), &length), {CKR_OK}, r.op.final_name)) return;
  r.t.Check(last.intact(), "nothing is written beyond the output");
  const Bytes bytes = last.First(length);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void PartsEqualWhole(Run& r) {
  for (const std::size_t part : {std::size_t{1}, r.s.part, r.s.part * 2 + 5, r.s.input.size()}) {
    Bytes out;
    if (part == 0 || !r.Begins() || !FeedAll(r, part, out)) return;
    FinishInto(r, out);
    if (!r.IsRight(out)) return;
  }
}

void FinalEndsOperation(Run& r) {
  Bytes out;
  if (!r.Begins() || !FeedAll(r, r.s.part, out)) return;
  FinishInto(r, out);
  CK_ULONG length = 4096;
  out.resize(length);
  r.t.Expect(r.Final(out.data(), &length), {CKR_OPERATION_NOT_INITIALIZED}, r.op.final_name);
}

void FinalTooSmall(Run& r) {
  Bytes out;
  if (!r.Begins() || !FeedAll(r, r.s.part, out)) return;
  CK_ULONG needed = 0;
  if (!r.t.Expect(r.Final(nullptr, &needed), {CKR_OK}, r.op.final_name)) return;
  if (needed == 0) return;
  Guarded none(0);
  CK_ULONG length = 0;
  const CK_RV rv = r.Final(none.data(), &length);
  // Where nothing is left to give, no room is enough.
  if (!r.t.Expect(rv, {CKR_BUFFER_TOO_SMALL, CKR_OK}, r.op.final_name)) return;
  r.t.Check(none.intact(), "nothing is written beyond the buffer");
  if (rv == CKR_OK) return (void)(r.t.Check(length == 0, "CKR_OK without room means no output") && r.IsRight(out));
  FinishInto(r, out);
  r.IsRight(out);
}

void SingleAfterUpdate(Run& r) {
  Bytes out;
  const std::size_t part = std::min(r.s.part, r.s.input.size());
  if (!r.Begins() || !r.t.Expect(r.Update(ByteView(r.s.input).first(part), out), {CKR_OK}, r.op.update_name)) return;
  Bytes room(r.s.input.size() + 2048);
  CK_ULONG length = room.size();
  r.t.ExpectRefusal(r.Single(room.data(), &length), r.op.single_name);
}

void PartsNotInitialised(Run& r) {
  Bytes out(4096);
  CK_ULONG length = out.size();
  r.t.Expect(r.Update(r.s.input, out), {CKR_OPERATION_NOT_INITIALIZED}, r.op.update_name);
  r.t.Expect(r.Final(out.data(), &length), {CKR_OPERATION_NOT_INITIALIZED}, r.op.final_name);
}

using Body = void (*)(Run&);

}  // namespace

const OutputOperation kEncryption = {"C_EncryptInit",
                                     "C_Encrypt",
                                     "C_EncryptUpdate",
                                     "C_EncryptFinal",
                                     WithKey<&List::C_EncryptInit>,
                                     &List::C_Encrypt,
                                     Transforms<&List::C_EncryptUpdate>,
                                     &List::C_EncryptFinal};
const OutputOperation kDecryption = {"C_DecryptInit",
                                     "C_Decrypt",
                                     "C_DecryptUpdate",
                                     "C_DecryptFinal",
                                     WithKey<&List::C_DecryptInit>,
                                     &List::C_Decrypt,
                                     Transforms<&List::C_DecryptUpdate>,
                                     &List::C_DecryptFinal};
const OutputOperation kDigesting = {"C_DigestInit",
                                    "C_Digest",
                                    "C_DigestUpdate",
                                    "C_DigestFinal",
                                    WithoutKey,
                                    &List::C_Digest,
                                    Takes<&List::C_DigestUpdate>,
                                    &List::C_DigestFinal};
const OutputOperation kSigning = {"C_SignInit",
                                  "C_Sign",
                                  "C_SignUpdate",
                                  "C_SignFinal",
                                  WithKey<&List::C_SignInit>,
                                  &List::C_Sign,
                                  Takes<&List::C_SignUpdate>,
                                  &List::C_SignFinal};
const OutputOperation kSigningRecover = {
    "C_SignRecoverInit",  "C_SignRecover", nullptr, nullptr, WithKey<&List::C_SignRecoverInit>,
    &List::C_SignRecover, nullptr,         nullptr};
const OutputOperation kVerifyingRecover = {
    "C_VerifyRecoverInit",  "C_VerifyRecover", nullptr, nullptr, WithKey<&List::C_VerifyRecoverInit>,
    &List::C_VerifyRecover, nullptr,           nullptr};

CK_RV RunWhole(Trial& t, const OutputOperation& operation, const Subject& subject, Bytes& output) {
  CK_RV rv = operation.init(t.p11, t.session, subject.mechanism, subject.key);
  if (rv != CKR_OK) return rv;
  CK_ULONG length = 0;
  const auto single = t.p11.list().*operation.single;
  rv = single(t.session, Ptr(subject.input), subject.input.size(), nullptr, &length);
  if (rv != CKR_OK) return rv;
  output.resize(length);
  Bytes never_null(length + 1);
  rv = single(t.session, Ptr(subject.input), subject.input.size(), never_null.data(), &length);
  if (rv != CKR_OK) return rv;
  never_null.resize(length);
  output = never_null;
  return CKR_OK;
}

CK_RV RunOnce(Trial& t, const OutputOperation& operation, const Subject& subject, Bytes& output) {
  const CK_RV rv = operation.init(t.p11, t.session, subject.mechanism, subject.key);
  if (rv != CKR_OK) return rv;
  output.assign(subject.input.size() + 4096, 0);
  CK_ULONG length = output.size();
  const CK_RV done =
      (t.p11.list().*operation.single)(t.session, Ptr(subject.input), subject.input.size(), output.data(), &length);
  output.resize(done == CKR_OK ? length : 0);
  return done;
}

void AddOutputCases(Plan& plan, const OutputOperation& operation, const std::string& mechanism,
                    const Prepare& prepare) {
  const auto add = [&](const char* function, const char* name, Body body) {
    plan.AddFor(mechanism, function, name, [&operation, prepare, body](Trial& t) {
      Run run{operation, t, {}};
      if (prepare(t, run.s)) body(run);
    });
  };
  add(operation.single_name, "gives-the-output", GivesTheOutput);
  add(operation.single_name, "length-query", LengthQuery);
  add(operation.single_name, "buffer-too-small", BufferTooSmall);
  add(operation.single_name, "exact-buffer", ExactBuffer);
  add(operation.single_name, "ends-the-operation", EndsOperation);
  add(operation.single_name, "null-length", NullLength);
  add(operation.single_name, "null-input", NullInput);
  add(operation.init_name, "operation-active", OperationActive);
  add(operation.init_name, "null-mechanism", NullMechanismCancels);
  add(operation.init_name, "failed-init-leaves-nothing", FailedInit);
  add(operation.init_name, "bad-parameter", BadParameter);
  if (operation.init_name != kDigesting.init_name) add(operation.init_name, "invalid-key", InvalidKey);
  if (operation.update_name == nullptr) return;
  const auto add_parts = [&](const char* function, const char* name, Body body) {
    plan.AddFor(mechanism, function, name, [&operation, prepare, body](Trial& t) {
      Run run{operation, t, {}};
      if (!prepare(t, run.s)) return;
      if (!run.s.in_parts)
        return body == PartsEqualWhole ? NotInParts(run) : t.NotOffered("the mechanism is of one part");
      body(run);
    });
  };
  add_parts(operation.update_name, "parts-equal-the-whole", PartsEqualWhole);
  add_parts(operation.update_name, "not-initialised", PartsNotInitialised);
  add_parts(operation.final_name, "ends-the-operation", FinalEndsOperation);
  add_parts(operation.final_name, "buffer-too-small", FinalTooSmall);
  add_parts(operation.single_name, "after-a-part", SingleAfterUpdate);
}

}  // namespace cmkd::conformance
